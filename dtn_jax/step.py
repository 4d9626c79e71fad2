"""One training step, a chunk of them, and one scoring step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax import optimizers
from dtn_jax.input import batch_axis
from dtn_jax.input.pipeline import Batch
from dtn_jax.losses import inflation, losses, read_positive_weights, row_weights
from dtn_jax.models import dropout
from dtn_jax.state import State
from dtn_jax.tables import embedding, exchange, row_optimizers

Metrics = dict[str, jax.Array]


class Weights(NamedTuple):
    """What rows count: `tasks [B, T]` in each task's loss, `rows [B]` in auxiliary losses."""

    tasks: jax.Array
    rows: jax.Array


def make_train_step(
    config: ConfigDict,
    model: nn.Module,
    plan: embedding.TablePlan,
    total_steps: int,
    mesh: jax.sharding.Mesh | None = None,
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """Returns the pure function `(state, batch) -> (state, metrics)`.

    Tables are split over the axis `table` of `mesh`; without one every device has all rows.
    `metrics["losses"]` is `[T]`; with `debug.check_ids`, `metrics["bad_ids"]` counts `[L]` ids
    out of range.
    """
    schema, parts = plan.schema, config.train.accumulate
    rate_factor = optimizers.schedule(config.optim, total_steps)
    directions = optimizers.dense_directions(config.optim)
    _, update_table = optimizers.table_updater(config.optim)
    if mesh is None:
        rows_of = exchange.replicated(update_table)
    else:
        rows_of = exchange.sharded(update_table, mesh)
    positive_weights = read_positive_weights(config.loss.positive_weights, schema)

    def loss(params, gathered, state: State, batch: Batch, weights):
        with dropout.rates({n: getattr(state.hyper, n) for n in ("dropout", "embedding_dropout")}):
            outputs, updates = model.apply(
                {"params": params, "batch_stats": state.model_state},
                embedding.to_inputs(plan, gathered, batch),
                train=True,
                rngs={"dropout": jax.random.fold_in(state.key, state.step)},
                mutable=["batch_stats"],
            )
        by_task = losses(outputs.logits, batch.labels, weights.tasks, schema, positive_weights)
        stacked = jnp.stack([by_task[n] for n in schema.task_names])
        aux = sum(jnp.sum(weights.rows * a) for a in outputs.aux.values())
        total = jnp.sum(stacked * state.hyper.task_weights) + aux
        return total, (stacked, updates.get("batch_stats", {}))

    gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)

    def gradients(gathered, state: State, batch: Batch):
        """Of the whole batch: by parameter, by looked-up row; the losses; the new statistics."""
        weights = make_weights(batch)
        if parts == 1:
            return gradient(state.params, gathered, state, batch, weights)
        split = jax.tree.map(lambda a: batch_axis.split(a, parts), (gathered, batch, weights))

        def one_part(sums, index):
            gathered, batch, weights = jax.tree.map(lambda a: a[index], split)
            with batch_axis.part(index, parts):
                (dense, rows), (by_task, _) = gradient(
                    state.params, gathered, state, batch, weights
                )
            return jax.tree.map(jnp.add, sums, (dense, by_task)), rows

        shapes = jax.eval_shape(gradient, state.params, gathered, state, batch, weights)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (shapes[0][0], shapes[1][0]))
        (dense, by_task), rows = jax.lax.scan(one_part, zeros, jnp.arange(parts))
        rows = jax.tree.map(batch_axis.join, rows)
        return (dense, rows), (by_task, state.model_state)

    def make_weights(batch: Batch) -> Weights:
        given = batch.sample_weight if config.loss.sample_weights else None
        real = batch.row_mask.astype(jnp.result_type(float))
        return Weights(
            tasks=row_weights(batch.labels, batch.label_mask, batch.row_mask, given, schema),
            rows=real / jnp.maximum(batch_axis.total(real.sum()), 1),
        )

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        rows = embedding.row_ids(plan, batch)
        gathered = embedding.gather(state.tables, rows, rows_of.look_up)
        (dense, by_row), (task_losses, model_state) = gradients(gathered, state, batch)
        dense, task_losses = batch_axis.total((dense, task_losses))

        factor = rate_factor(state.step)
        moves, opt_state = directions.update(dense, state.opt_state, state.params)
        params = optimizers.apply_dense(
            state.params, moves, factor * state.hyper.learning_rate, state.hyper.weight_decay
        )
        tables, slots = {}, {}
        scalars = row_optimizers.Scalars(
            factor * state.hyper.table_learning_rate, state.hyper.table_l2, state.step
        )
        for name, table in state.tables.items():
            tables[name], slots[name] = rows_of.update(
                table,
                state.slots[name],
                rows[name].reshape(-1),
                gathered[name].reshape(-1, table.shape[1]),
                by_row[name].reshape(-1, table.shape[1]),
                scalars,
            )
        metrics = {"losses": task_losses}
        if config.debug.check_ids:
            metrics["bad_ids"] = batch_axis.total(embedding.ids_out_of_range(plan, batch))
        new_state = state.replace(
            step=state.step + 1,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            tables=tables,
            slots=slots,
        )
        return new_state, metrics

    return step


def make_train_chunk(step, chunk_steps: int):
    """Returns `(state, chunk, count) -> (state, metrics)`: the first `count` steps of a chunk.

    The count is traced, so that one compiled program serves every chunk, whether it ends at its
    full length, a checkpoint, a validation or the epoch's end. Metrics have a leading axis of
    `chunk_steps`, of which the first `count` entries are set.
    """

    def train_chunk(state: State, chunk: Batch, count) -> tuple[State, Metrics]:
        def batch(i):
            return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, i, keepdims=False), chunk)

        def body(i, carry):
            state, kept = carry
            state, metrics = step(state, batch(i))
            return state, jax.tree.map(lambda all_, one: all_.at[i].set(one), kept, metrics)

        shapes = jax.eval_shape(step, state, batch(0))[1]
        empty = jax.tree.map(lambda s: jnp.zeros((chunk_steps, *s.shape), s.dtype), shapes)
        return jax.lax.fori_loop(0, count, body, (state, empty))

    return train_chunk


def make_score_step(
    model: nn.Module,
    plan: embedding.TablePlan,
    mesh: jax.sharding.Mesh | None = None,
    positive_weights: Mapping[str, float] | None = None,
):
    """Returns `(state, batch) -> logits [B, T]` in float32, in the schema's task order.

    Where positives weighed w in the loss, its optimum is the logit plus log w: that is taken off
    again, so that scores are of probabilities and may be divided by each other (spaces.py).
    `mesh` is as in `make_train_step`.
    """
    moved = inflation(positive_weights or {}, plan.schema)
    moved = np.array([moved[name] for name in plan.schema.task_names], np.float32)
    look_up = exchange.sharded_look_up(mesh) if mesh else exchange.take

    def score(state: State, batch: Batch) -> jax.Array:
        gathered = embedding.gather(state.tables, embedding.row_ids(plan, batch), look_up)
        outputs = model.apply(
            {"params": state.params, "batch_stats": state.model_state},
            embedding.to_inputs(plan, gathered, batch),
            train=False,
        )
        logits = jnp.stack([outputs.logits[n] for n in plan.schema.task_names], axis=1)
        return logits - moved[None] if moved.any() else logits

    return score

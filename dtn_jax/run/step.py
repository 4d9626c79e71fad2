"""One training step, a chunk of them, and one scoring step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.balancing import read_balancer, seam
from dtn_jax.data.epochs import batch_axis
from dtn_jax.interface import SHARED, Batch
from dtn_jax.losses import finite
from dtn_jax.losses.by_task import TaskLoss, predictions
from dtn_jax.losses.rows import make_weights
from dtn_jax.run import optimizers
from dtn_jax.run.gradients import make_gradients
from dtn_jax.run.state import State
from dtn_jax.tables import exchange, lookup, row_optimizers
from dtn_jax.tables.plan import TablePlan
from dtn_jax.tables.updater import table_updater

Metrics = dict[str, jax.Array]
Routed = dict[str, Any]  # by packed array, as its exchange has it
MOVED = "params", "model_state", "opt_state", "iterate", "balancing"  # by a step, beside tables
AUX = "aux/"  # before an auxiliary loss in a step's metrics
BALANCING = 1  # folded into a step's key for what a balancer draws; dropout draws from the key


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """A training step, `(state, batch) -> (state, metrics)`, and its two parts.

    Attributes:
      route: `batch -> routed`: which rows the batch asks of which device. That depends on ids
        alone, so it can be done while the step before is still at work.
      advance: `(state, batch, routed) -> (state, metrics)`: the rest of the step.
    """

    route: Callable[[Batch], Routed]
    advance: Callable[[State, Batch, Routed], tuple[State, Metrics]]

    def __call__(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        """The whole step: the new state, and the metrics of the batch."""
        return self.advance(state, batch, self.route(batch))


def make_train_step(
    config: ConfigDict,
    model: nn.Module,
    plan: TablePlan,
    total_steps: int,
    mesh: jax.sharding.Mesh | None = None,
    first: int = 0,
) -> TrainStep:
    """Returns the pure function `(state, batch) -> (state, metrics)`.

    Tables are split over the axis `table` of `mesh`; without one every device has all rows.
    `metrics["losses"]` is `[T]`; `metrics["aux/NAME"]` is an auxiliary loss, the mean of its rows;
    `metrics["nonfinite"]` marks the losses and gradients that are not finite, and a balancer at
    fault, by `finite.names`; with `train.skip_nonfinite`, such a step leaves the state as it was
    but counts itself. With a balancer, `metrics["task_weights"]` is what it multiplies each task
    by, `[T]`, and where it reads gradients, `metrics["task_gram"]` has their products, `[T, T]`.
    The rates' schedule begins at the `state.step` of `first`.
    """
    tasks = plan.schema.tasks
    rate_factor = optimizers.schedule(config.optim, total_steps)
    directions = optimizers.dense_directions(config.optim)
    updater = table_updater(config.optim, plan.platform)
    exchanges = exchange.exchanges(plan, updater, mesh, config.parallel.message_rows)
    balancer = read_balancer(config.loss, plan.views, SHARED)
    gradients_of = make_gradients(config, model, plan, balancer)

    def route(batch: Batch) -> Routed:
        return lookup.route(lookup.row_ids(plan, batch), exchanges)

    def advance(before: State, batch: Batch, routed: Routed) -> tuple[State, Metrics]:
        state = before.to_train()
        gathered, requests = lookup.ask(plan, state.tables, routed, exchanges)

        task_weights, weights = (
            state.hyper.task_weights,
            make_weights(config.loss, batch, plan.schema),
        )
        if balancer:
            key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), BALANCING)
            rows = batch_axis.total(jnp.sum(weights.tasks > 0, axis=0))
            learned = state.params.get(seam.LEARNED, {})
            balancing = seam.Balancing(balancer, tasks, learned, state.balancing, key, rows)

        def scale(losses):
            if not balancer:
                return task_weights
            return task_weights * balancing.weights(
                None if losses is None else task_weights * losses
            )

        gradients = gradients_of(state, gathered, batch, weights, scale)
        bad_rows = finite.bad_rows(gradients.rows)
        parts = gradients.dense, gradients.losses, gradients.aux, bad_rows
        dense, task_losses, aux, bad_rows = batch_axis.total(parts)
        by_row, balanced = gradients.rows, state.balancing
        metrics = {"losses": task_losses, "nonfinite": finite.marks(task_losses, dense, bad_rows)}
        metrics |= {f"{AUX}{name}": loss for name, loss in aux.items()}
        if balancer:
            losses = task_weights * task_losses
            dense = balancing.with_learned_gradient(dense, losses)
            metrics["task_weights"] = balancing.weights(losses)
            gram, c = None, jnp.ones(())
            if gradients.by_task is not None:
                view = plan.views.index(SHARED)
                of_several = seam.of_several(batch_axis.total(gradients.dense_by_task))
                gram = seam.gram_of(gradients.by_task) + seam.gram_of_dense(of_several)
                metrics["task_gram"] = gram
                c = balancing.coefficients(gram, losses)
                embedded = seam.combined(by_row["embedding"], gradients.by_task, view, c)
                by_row = {**by_row, "embedding": embedded}
                dense = seam.combined_dense(dense, of_several, c)
                metrics["task_weights"] *= c
            balanced = balancing.next_state(losses, gram, state.step)
            faults = balancing.at_fault(metrics["nonfinite"], losses, c, balanced, dense)
            metrics["nonfinite"] = jnp.append(metrics["nonfinite"], faults)

        factor = rate_factor(state.step - first if first else state.step)
        moves, opt_state = directions.update(dense, state.opt_state, state.params)
        params = optimizers.apply_dense(
            state.params, moves, factor * state.hyper.learning_rate, state.hyper.weight_decay
        )
        iterate = state.iterate
        if iterate:
            average = before.params, iterate["weight"]
            params, iterate = optimizers.averaged(*average, params, config.train.average)
        tables, slots = {}, {}
        skip = metrics["nonfinite"].any() if config.train.skip_nonfinite else None
        scalars = row_optimizers.Scalars(
            factor * state.hyper.table_learning_rate, state.hyper.table_l2, state.step, skip
        )
        for name, table in state.tables.items():
            by_id = by_row[name].reshape(-1, plan.arrays[name].width)
            given = table, state.slots[name], requests[name], by_id, scalars
            tables[name], slots[name] = exchanges[name].update(*given)
        new_state = state.replace(
            step=state.step + 1,
            params=params,
            model_state=gradients.model_state,
            opt_state=opt_state,
            tables=tables,
            slots=slots,
            iterate=iterate,
            balancing=balanced,
        )
        if skip is not None:
            # Rows of tables have not moved, but by an optimizer of whole tables.
            moved = (*MOVED, "tables", "slots") if config.optim.tables == "dense" else MOVED
            old, new = ({name: getattr(s, name) for name in moved} for s in (before, new_state))
            kept = jax.tree.map(lambda old, new: jnp.where(skip, old, new), old, new)
            new_state = new_state.replace(**kept)
        return new_state, metrics

    return TrainStep(route, advance)


def make_train_chunk(step: TrainStep, chunk_steps: int):
    """Returns `(state, chunk, count) -> (state, metrics)`: the first `count` steps of a chunk.

    Each step routes the ids of the batch after it: those collectives wait for nothing that the
    step computes. The first batch is routed before the loop, and the last step's work is dropped.

    The count is traced, so that one compiled program serves every chunk, whether it ends at its
    full length, a checkpoint, a validation or the epoch's end. Metrics have a leading axis of
    `chunk_steps`, of which the first `count` entries are set.
    """

    def train_chunk(state: State, chunk: Batch, count) -> tuple[State, Metrics]:
        def batch(i):
            return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, i, keepdims=False), chunk)

        def body(carry):
            i, routed, state, kept = carry
            state, metrics = step.advance(state, batch(i), routed)
            kept = jax.tree.map(lambda all_, one: all_.at[i].set(one), kept, metrics)
            routed = step.route(batch(jnp.minimum(i + 1, chunk_steps - 1)))
            return i + 1, routed, state, kept

        shapes = jax.eval_shape(step, state, batch(0))[1]
        empty = jax.tree.map(lambda s: jnp.zeros((chunk_steps, *s.shape), s.dtype), shapes)
        start = jnp.zeros((), jnp.int32), step.route(batch(0)), state, empty
        return jax.lax.while_loop(lambda carry: carry[0] < count, body, start)[2:]

    return train_chunk


def make_score_step(
    model: nn.Module,
    plan: TablePlan,
    losses: Sequence[TaskLoss],
    mesh: jax.sharding.Mesh | None = None,
):
    """Returns `(state, batch) -> logits [B, T]` in float32, in the schema's task order.

    Those of a regression task are predictions, in its label's unit: `losses` are all tasks', by
    `read_losses`. `mesh` is as in `make_train_step`.
    """
    look_ups = exchange.look_ups(plan, mesh)

    def score(state: State, batch: Batch) -> jax.Array:
        gathered = lookup.gather(state.tables, lookup.row_ids(plan, batch), look_ups)
        outputs = model.apply(
            {"params": state.params, "batch_stats": state.model_state},
            lookup.to_inputs(plan, gathered, batch),
            train=False,
        )
        return predictions(outputs.logits, losses, batch.ids)

    return score

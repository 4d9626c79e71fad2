"""The gradients of a batch: of all rows at once or part by part, summed or by task as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.data.epochs import batch_axis
from dtn_jax.interface import Batch, Label
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import task_losses
from dtn_jax.losses.pairwise import pairwise_losses, read_pairwise
from dtn_jax.losses.rows import row_weights
from dtn_jax.models import dropout
from dtn_jax.run.state import State
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Float
from dtn_jax.tables import lookup
from dtn_jax.tables.plan import TablePlan


class Weights(NamedTuple):
    """What rows count: `tasks [B, T]` in each task's loss, `rows [B]` in auxiliary losses, which
    read `labels`."""

    tasks: Array
    rows: Array
    labels: dict[str, Label]


class Gradients(NamedTuple):
    """Of Σ_t scale_t L_t and the auxiliary losses, on this device's rows.

    Attributes:
      dense: by parameter; devices' add up.
      rows: by looked-up row, as `lookup.gather` gives them.
      by_task: `[B, T, L, D]`, of each scale_t L_t with respect to the rows of one view; None where
        it is not asked for.
      losses: L_t; devices' add up.
      aux: the auxiliary losses by name; devices' add up.
      model_state: the normalisation statistics after the batch.
    """

    dense: dict
    rows: dict[str, Array]
    by_task: Array | None
    losses: Float[Array, " T"]
    aux: dict[str, Array]
    model_state: dict


Gradient = Callable[[State, dict[str, Array], Batch, Weights, Array], Gradients]


def make_gradients(
    config: ConfigDict, model: nn.Module, plan: TablePlan, view: int | None = None
) -> Callable[[State, dict[str, Array], Batch, Array], Gradients]:
    """Returns `(state, gathered, batch, scale [T]) -> Gradients`.

    Args:
      config: of the run; with `train.accumulate` a batch is stepped through in parts, and the
        numbers are the same.
      model: the architecture.
      plan: of its tables.
      view: the place of the view for whose rows gradients are taken by task too; None for none.
    """
    forward = make_forward(config, model, plan)
    gradient = summed(forward) if view is None else by_task_too(forward, view)
    if config.train.accumulate > 1:
        gradient = in_parts(gradient, config.train.accumulate)

    def gradients(state: State, gathered, batch: Batch, scale) -> Gradients:
        return gradient(state, gathered, batch, make_weights(config, plan, batch), scale)

    return gradients


def make_weights(config: ConfigDict, plan: TablePlan, batch: Batch) -> Weights:
    """What a batch's rows count."""
    given = batch.in_loss() if config.loss.sample_weights else None
    real = batch.row_mask.astype(jnp.result_type(float))
    return Weights(
        tasks=row_weights(batch.labels, batch.label_mask, batch.row_mask, given, plan.schema),
        rows=real / jnp.maximum(batch_axis.total(real.sum()), 1),
        labels=labels_of(batch, plan.schema),
    )


def labels_of(batch: Batch, schema: Schema) -> dict[str, Label]:
    """Of each task, the labels of a batch, and what they are in all of it."""
    known = batch.label_mask & batch.row_mask[:, None]
    positives = batch_axis.total(jnp.sum(known & (batch.labels == 1), axis=0))
    rows = batch_axis.total(jnp.sum(batch.row_mask))

    def everywhere(total: Array) -> Array:
        return jnp.broadcast_to(total.astype(batch.labels.dtype), batch.row_mask.shape)

    return {
        task: Label(batch.labels[:, t], known[:, t], everywhere(positives[t]), everywhere(rows))
        for t, task in enumerate(schema.task_names)
    }


def make_forward(config: ConfigDict, model: nn.Module, plan: TablePlan):
    """Returns `(params, gathered, state, batch, weights, scale) -> ((scaled losses [T], auxiliary
    loss), (losses [T], auxiliary losses by name, statistics))`."""
    chosen = read_losses(config.loss, plan.schema)
    pairwise = read_pairwise(config, plan.schema)

    def forward(params, gathered, state: State, batch: Batch, weights: Weights, scale):
        with dropout.rates({n: getattr(state.hyper, n) for n in ("dropout", "embedding_dropout")}):
            inputs = lookup.to_inputs(plan, gathered, batch).replace(labels=weights.labels)
            outputs, updates = model.apply(
                {"params": params, "batch_stats": state.model_state},
                inputs,
                train=True,
                rngs={"dropout": jax.random.fold_in(state.key, state.step)},
                mutable=["batch_stats"],
            )
        rows = batch.labels, weights.tasks
        losses = task_losses(outputs.logits, *rows, chosen, batch.ids)
        if pairwise:
            names = plan.schema.task_names
            losses += pairwise_losses(outputs.logits, *rows, batch.group, names, pairwise)
        aux = {name: jnp.sum(weights.rows * a) for name, a in outputs.aux.items()}
        kept = losses, aux, updates.get("batch_stats", {})
        return (losses * scale, sum(aux.values())), kept

    return forward


def summed(forward) -> Gradient:
    """One backward pass, of the sum of all losses."""

    def loss(*arguments):
        (scaled, aux), kept = forward(*arguments)
        return jnp.sum(scaled) + aux, kept

    def gradient(state: State, gathered, *rest) -> Gradients:
        with_kept = jax.grad(loss, argnums=(0, 1), has_aux=True)
        (dense, rows), kept = with_kept(state.params, gathered, state, *rest)
        return Gradients(dense, rows, None, *kept)

    return gradient


def by_task_too(forward, view: int) -> Gradient:
    """A backward pass of the sum, and one a task to the rows of a view; one forward pass."""

    def gradient(state: State, gathered, *rest) -> Gradients:
        def losses(params, gathered):
            (scaled, aux), kept = forward(params, gathered, state, *rest)
            return (scaled, jnp.asarray(aux, scaled.dtype)), kept

        (scaled, aux), pull, kept = jax.vjp(losses, state.params, gathered, has_aux=True)

        def of_task(unit: Float[Array, " T"]):
            return pull((unit, jnp.zeros_like(aux)))[1]["embedding"][:, view]

        dense, rows = pull((jnp.ones_like(scaled), jnp.ones_like(aux)))
        by_task = jax.vmap(of_task, out_axes=1)(jnp.eye(len(scaled), dtype=scaled.dtype))
        return Gradients(dense, rows, by_task, *kept)

    return gradient


def in_parts(gradient: Gradient, parts: int) -> Gradient:
    """The same gradients from a batch's parts, one after another: the memory of one at a time."""

    def gradients(state: State, gathered, batch: Batch, weights: Weights, scale) -> Gradients:
        split = jax.tree.map(lambda a: batch_axis.split(a, parts), (gathered, batch, weights))

        def one_part(sums, index):
            with batch_axis.part(index, parts):
                found = gradient(state, *jax.tree.map(lambda a: a[index], split), scale)
            sums = jax.tree.map(jnp.add, sums, (found.dense, found.losses, found.aux))
            return sums, (found.rows, found.by_task)

        shapes = jax.eval_shape(gradient, state, gathered, batch, weights, scale)
        added = (shapes.dense, shapes.losses, shapes.aux)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), added)
        (dense, losses, aux), by_row = jax.lax.scan(one_part, zeros, jnp.arange(parts))
        rows, by_task = jax.tree.map(batch_axis.join, by_row)
        return Gradients(dense, rows, by_task, losses, aux, state.model_state)

    return gradients

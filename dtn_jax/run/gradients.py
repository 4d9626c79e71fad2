"""The gradients of a batch: of all rows at once or part by part, summed or by task as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.balancing.balancer import Balancer
from dtn_jax.data.epochs import batch_axis
from dtn_jax.interface import SHARED, Batch
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import task_losses
from dtn_jax.losses.pairwise import pairwise_losses, read_pairwise
from dtn_jax.losses.rows import Weights
from dtn_jax.models import dropout
from dtn_jax.run.state import State
from dtn_jax.shapes import Array, Float
from dtn_jax.tables import lookup
from dtn_jax.tables.plan import TablePlan


class Gradients(NamedTuple):
    """Of Σ_t scale_t L_t and the auxiliary losses, on this device's rows. No gradient flows through
    the scale.

    Attributes:
      dense: by parameter; devices' add up.
      rows: by looked-up row, as `lookup.gather` gives them.
      by_task: for each task, of scale_t L_t with respect to the rows of one view; None where no
        balancer reads it.
      dense_by_task: for each task, by parameter, of scale_t L_t; devices' add up. None too.
      losses: L_t; devices' add up.
      aux: the auxiliary losses by name; devices' add up.
      model_state: the normalisation statistics after the batch.
    """

    dense: dict
    rows: dict[str, Array]
    by_task: list[Float[Array, "B L D"]] | None
    dense_by_task: list[dict] | None
    losses: Float[Array, " T"]
    aux: dict[str, Array]
    model_state: dict


Scale = Callable[[Float[Array, " T"] | None], Float[Array, " T"]]  # L of the whole batch -> scale
Gradient = Callable[[State, dict[str, Array], Batch, Weights, Scale], Gradients]


def make_gradients(
    config: ConfigDict, model: nn.Module, plan: TablePlan, balancer: Balancer | None
) -> Gradient:
    """Returns `(state, gathered, batch, weights, scale) -> Gradients`.

    With `train.accumulate` a batch is stepped through in parts, and the numbers are the same. A
    balancer that reads gradients has them by task too: of the rows of the shared view, and as its
    scope says of dense parameters. For one that reads losses, `scale` is given those of the whole
    batch, which in parts cost one more forward pass; else None.
    """
    forward = make_forward(config, model, plan)
    parts = config.train.accumulate
    reads_losses = balancer is not None and balancer.reads_losses
    view = plan.views.index(SHARED) if balancer and balancer.reads_gradients else None
    reads_dense = view is not None and balancer.scope == "shared"
    gradient = make_gradient(forward, view, reads_dense, reads_losses and parts == 1)
    if parts > 1:
        gradient = in_parts(gradient, forward if reads_losses else None, parts)
    return gradient


def make_forward(config: ConfigDict, model: nn.Module, plan: TablePlan):
    """Returns `(params, gathered, state, batch, weights) -> ((losses [T], auxiliary losses by
    name), statistics)`."""
    chosen = read_losses(config.loss, plan.schema)
    pairwise = read_pairwise(config, plan.schema)

    def forward(params, gathered, state: State, batch: Batch, weights: Weights):
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
        return (losses, aux), updates.get("batch_stats", {})

    return forward


def make_gradient(forward, view: int | None, reads_dense: bool, reads_losses: bool) -> Gradient:
    """One forward pass, and a backward pass of the sum; one a task to the rows of a view, too.

    Where tasks' gradients of dense parameters are read, the passes of the tasks go through the
    whole model, and add up to that of the sum. Passes follow one another: side by side (`vmap`),
    products of matrices become products of stacks of matrices, which are slower on CPUs.
    """

    def gradient(state: State, gathered, batch: Batch, weights: Weights, scale: Scale) -> Gradients:
        def losses_of(params, gathered):
            return forward(params, gathered, state, batch, weights)

        (losses, aux), pull, kept = jax.vjp(losses_of, state.params, gathered, has_aux=True)
        scales = scale(batch_axis.total(losses) if reads_losses else None).astype(losses.dtype)
        no_aux, whole_aux = (jax.tree.map(like, aux) for like in (jnp.zeros_like, jnp.ones_like))
        if view is None:
            dense, rows = pull((scales, whole_aux))
            return Gradients(dense, rows, None, None, losses, aux, kept)

        each = [pull((scale_of_task, no_aux)) for scale_of_task in jnp.diag(scales)]
        by_task = [rows["embedding"][:, view] for _, rows in each]
        if not reads_dense:
            dense, rows = pull((scales, whole_aux))
            return Gradients(dense, rows, by_task, None, losses, aux, kept)

        of_aux = [pull((jnp.zeros_like(scales), whole_aux))] if aux else []
        dense, rows = jax.tree.map(lambda *gradients: sum(gradients), *each, *of_aux)
        return Gradients(dense, rows, by_task, [dense for dense, _ in each], losses, aux, kept)

    return gradient


def in_parts(gradient: Gradient, forward, parts: int) -> Gradient:
    """The same gradients from a batch's parts, one after another: the memory of one at a time.

    Args:
      gradient: of a part.
      forward: for the losses of the whole batch, where `scale` reads them; else None.
      parts: how many.
    """

    def gradients(state: State, gathered, batch: Batch, weights: Weights, scale: Scale):
        split = jax.tree.map(lambda a: batch_axis.split(a, parts), (gathered, batch, weights))

        def of_part(do, index):
            with batch_axis.part(index, parts):
                return do(*jax.tree.map(lambda a: a[index], split))

        def summed(do, of_sums):
            """The sums of what parts give, and what they give by row."""

            def one_part(sums, index):
                of_one, by_row = of_sums(of_part(do, index))
                return jax.tree.map(jnp.add, sums, of_one), by_row

            shapes = jax.eval_shape(lambda: of_sums(do(gathered, batch, weights))[0])
            zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
            return jax.lax.scan(one_part, zeros, jnp.arange(parts))

        losses = None
        if forward:
            parts_losses, _ = summed(
                lambda *part: forward(state.params, part[0], state, *part[1:])[0][0],
                lambda losses: (losses, None),
            )
            losses = batch_axis.total(parts_losses)
        scales = scale(losses)
        (dense, dense_by_task, losses, aux), by_row = summed(
            lambda *part: gradient(state, *part, lambda _: scales),
            lambda found: (
                (found.dense, found.dense_by_task, found.losses, found.aux),
                (found.rows, found.by_task),
            ),
        )
        rows, by_task = jax.tree.map(batch_axis.join, by_row)
        return Gradients(dense, rows, by_task, dense_by_task, losses, aux, state.model_state)

    return gradients

"""How far each field's embedding moves each task's logit: `importance.gradient`'s moves."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from dtn_jax.analysis.passes import Passes
from dtn_jax.interface import Batch
from dtn_jax.state import State
from dtn_jax.tables import exchange, lookup
from dtn_jax.tables.plan import TablePlan

Views = dict[str, Float[Array, "B F D"]]


def moves(passes: Passes) -> Float[np.ndarray, "B F T"]:
    """The sum over views and d of (dz_t/de_fd) (e_fd - m_fd), m the mean embedding of the rows."""
    run = passes.run
    summed, moved = make_moves(run.model, run.plan, run.at.table_mesh)
    means = jax.tree.map(lambda total: total / passes.count, passes.total(summed))
    return passes.map(moved, means)


def make_moves(
    model: nn.Module, plan: TablePlan, mesh: jax.sharding.Mesh | None = None
) -> tuple[Callable[[State, Batch], Views], Callable[[State, Batch, Views], Array]]:
    """Returns `(state, batch) -> {view: sum over the batch of e [1, F, D]}` and
    `(state, batch, {view: m [1, F, D]}) -> moves [B, F, T]`."""
    look_ups = exchange.look_ups(plan, mesh)

    def inputs(state: State, batch: Batch):
        gathered = lookup.gather(state.tables, lookup.row_ids(plan, batch), look_ups)
        return lookup.to_inputs(plan, gathered, batch)

    def moved(state: State, batch: Batch, means: Views):
        given = inputs(state, batch)

        def logits(fields: Views):
            outputs = model.apply(
                {"params": state.params, "batch_stats": state.model_state},
                given.replace(fields=fields),
                train=False,
            )
            return jnp.stack([outputs.logits[name] for name in plan.schema.task_names])

        z, pull_back = jax.vjp(logits, given.fields)
        found = []
        for task in range(len(z)):
            # A row's logit depends on its own embeddings alone: one backward pass for all rows.
            (by_view,) = pull_back(jnp.zeros_like(z).at[task].set(1))
            parts = [
                (by_view[view] * (fields - means[view])).sum(axis=-1)
                for view, fields in given.fields.items()
            ]
            found.append(sum(parts))
        return jnp.stack(found, axis=-1)

    def summed(state: State, batch: Batch) -> Views:
        fields = inputs(state, batch).fields
        return jax.tree.map(lambda e: e.sum(axis=0, keepdims=True), fields)

    return summed, moved

"""Do tasks pull the shared embeddings in one direction? Cosines between their gradients.

The gradient of a task is that of its training loss, without its weight in the total and without
dropout, with respect to the rows of the view `shared` that a batch looks up; gradients of equal
rows are summed, as in an update. So 1 says that two tasks would move the table alike, -1 that one
undoes the other (Yu et al. 2020, "Gradient Surgery", speak of conflict below 0). HCNet's codebooks
are left out, and so are architectures without shared embeddings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from dtn_jax import embedding, exchange
from dtn_jax.architectures.parts import SHARED
from dtn_jax.input_pipeline import Batch
from dtn_jax.losses import losses, read_positive_weights, row_weights
from dtn_jax.row_optimizers import unique_rows
from dtn_jax.state import State

Cosines = dict[tuple[str, str], Float[Array, ""]]


def make_conflict(
    loss: ConfigDict,
    model: nn.Module,
    plan: embedding.TablePlan,
    mesh: jax.sharding.Mesh | None = None,
) -> Callable[[State, Batch], Cosines]:
    """Returns `(state, batch) -> {(task, task): cosine}`, NaN where a gradient is 0.

    `loss` is that section of the config. Without shared embeddings, or with one task, there are
    no pairs.
    """
    schema = plan.schema
    look_up = exchange.sharded_look_up(mesh) if mesh else exchange.take
    positive_weights = read_positive_weights(loss.positive_weights, schema)

    def cosines(state: State, batch: Batch) -> Cosines:
        if SHARED not in plan.views:
            return {}
        rows = embedding.row_ids(plan, batch)
        gathered = embedding.gather(state.tables, rows, look_up)
        given = batch.sample_weight if loss.sample_weights else None
        weights = row_weights(batch.labels, batch.label_mask, batch.row_mask, given, schema)

        def by_task(looked_up):
            outputs = model.apply(
                {"params": state.params, "batch_stats": state.model_state},
                embedding.to_inputs(plan, gathered | {"embedding": looked_up}, batch),
                train=False,
            )
            found = losses(outputs.logits, batch.labels, weights, schema, positive_weights)
            return jnp.stack([found[name] for name in schema.task_names])

        view = plan.views.index(SHARED)
        gradients = jax.jacrev(by_task)(gathered["embedding"])[:, :, view]  # [T, B, L, D]
        ids = rows["embedding"][:, view]
        return table_cosines(gradients, ids, plan.rows, schema.task_names)

    return cosines


def table_cosines(
    gradients: Float[Array, "T B L D"],
    ids: Int[Array, "B L"],
    table_rows: int,
    tasks: tuple[str, ...],
) -> Cosines:
    """Cosines of the tasks' gradients by table row; ids out of range are nobody's row."""
    gradients = jnp.where((ids < table_rows)[None, :, :, None], gradients, 0)
    by_slot = jnp.moveaxis(gradients, 0, 2).reshape(ids.size, -1)  # [B L, T D]
    _, by_row, _ = unique_rows(ids.reshape(-1), by_slot, table_rows)
    by_task = by_row.reshape(ids.size, len(tasks), -1)
    products = jnp.einsum("utd,usd->ts", by_task, by_task)
    length = jnp.sqrt(jnp.diagonal(products))
    return {
        (tasks[t], tasks[s]): products[t, s] / (length[t] * length[s])
        for t, s in itertools.combinations(range(len(tasks)), 2)
    }

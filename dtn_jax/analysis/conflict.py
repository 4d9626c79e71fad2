"""Do tasks pull the shared embeddings in one direction? Cosines between their gradients.

The gradient of a task is that of its training loss, without its weight in the total, its term of
pairs (`loss.pairwise`) and dropout, with respect to the rows of the view `shared` that a batch
looks up; gradients of equal rows are summed, as in an update. So 1 says that two tasks would move
the table alike, -1 that one undoes the other (Yu et al. 2020, "Gradient Surgery", speak of conflict
below 0). HCNet's codebooks are left out, and so are architectures without shared embeddings.

It is measured on batches of data.batch_size rows, drawn at random: what the rows of a batch have of
their own lengthens both gradients, so a cosine depends on the size of the batch, and an update of
training has this one. One batch tells little; `over_batches` says how much several do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from scipy.special import stdtrit

from dtn_jax.analysis.sample import Forward
from dtn_jax.interface import SHARED, Batch
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import task_losses
from dtn_jax.losses.rows import row_weights
from dtn_jax.run.state import State
from dtn_jax.shapes import Array, Float, Int
from dtn_jax.tables import lookup, update_by_search, update_by_sort

Cosines = dict[tuple[str, str], Float[Array, ""]]
MIDDLE = 0.95  # of an interval
SEED = 0  # of the batches' rows


def make_conflict(loss: ConfigDict, forward: Forward) -> Callable[[State, Batch], Cosines]:
    """Returns `(state, batch) -> {(task, task): cosine}`, NaN where a gradient is 0.

    `loss` is that section of the config. Without shared embeddings, or with one task, there are
    no pairs.
    """
    plan, schema = forward.plan, forward.plan.schema
    chosen = read_losses(loss, schema)

    def cosines(state: State, batch: Batch) -> Cosines:
        if SHARED not in plan.views:
            return {}
        rows = lookup.row_ids(plan, batch)
        gathered = lookup.gather(state.tables, rows, forward.look_ups)
        given = batch.in_loss() if loss.sample_weights else None
        weights = row_weights(batch.labels, batch.label_mask, batch.row_mask, given, schema)

        def by_task(looked_up):
            changed = lookup.to_inputs(plan, gathered | {"embedding": looked_up}, batch)
            outputs = forward.apply(state, changed)
            return task_losses(outputs.logits, batch.labels, weights, chosen, batch.ids)

        view = plan.views.index(SHARED)
        gradients = jax.jacrev(by_task)(gathered["embedding"])[:, :, view]  # [T, B, L, D]
        ids = rows["embedding"][:, view]
        return table_cosines(gradients, ids, plan.rows, schema.task_names, plan.platform)

    return cosines


def table_cosines(
    gradients: Float[Array, "T B L D"],
    ids: Int[Array, "B L"],
    table_rows: int,
    tasks: tuple[str, ...],
    platform: str,
) -> Cosines:
    """Cosines of the tasks' gradients by table row; ids out of range are nobody's row."""
    gradients = jnp.where((ids < table_rows)[None, :, :, None], gradients, 0)
    by_slot = jnp.moveaxis(gradients, 0, 2).reshape(ids.size, -1)  # [B L, T D]
    updates = update_by_search if platform == "cpu" else update_by_sort
    by_row = updates.sums_by_row(ids.reshape(-1), by_slot, table_rows)
    by_task = by_row.reshape(ids.size, len(tasks), -1)
    products = jnp.einsum("utd,usd->ts", by_task, by_task)
    length = jnp.sqrt(jnp.diagonal(products))
    return {
        (tasks[t], tasks[s]): products[t, s] / (length[t] * length[s])
        for t, s in itertools.combinations(range(len(tasks)), 2)
    }


def rows(
    cosines: Mapping[tuple[str, str], np.ndarray],
    tasks: Sequence[str],
    batches: Int[np.ndarray, "P N"],
) -> list[dict]:
    """A row a pair of tasks: the `cosine` of their gradients, the mean over batches, with `half`
    its interval, and how many `batches` of so many `rows` there are."""
    table = []
    # What comes from a compiled program is in the order of the alphabet.
    for pair in (pair for pair in itertools.combinations(tasks, 2) if pair in cosines):
        mean, half = over_batches(cosines[pair])
        row = {"tasks": ", ".join(pair), "cosine": mean, "half": half}
        table.append(row | {"batches": batches.shape[0], "rows": batches.shape[1]})
    return table


def batches_of(rows: int, size: int) -> Int[np.ndarray, "P N"]:
    """The rows of P whole batches of `size`, in random order; of one smaller batch where there
    are no more rows. Rows that fill no batch are left out."""
    size = min(rows, size)
    order = np.random.default_rng(SEED).permutation(rows)
    return order[: rows // size * size].reshape(-1, size)


def over_batches(cosines: Float[np.ndarray, " P"]) -> tuple[float | None, float | None]:
    """The mean, and half its 95 % interval, by Student's law for the spread over batches.

    Batches in which the cosine is not defined are left out. None: no batch; and for the interval,
    fewer than two.
    """
    defined = cosines[np.isfinite(cosines)].astype(np.float64)
    if len(defined) < 2:
        return (float(defined[0]) if len(defined) else None), None
    factor = stdtrit(len(defined) - 1, (1 + MIDDLE) / 2)
    return float(defined.mean()), float(factor * defined.std(ddof=1) / np.sqrt(len(defined)))

"""Random batches with two histories of items, of which some are empty."""

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.interface import Batch, Inputs
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import lookup
from dtn_jax.tables.plan import TablePlan

B, ITEMS = 64, 30
SCHEMA = Schema(
    "histories",
    (
        Field("user", rows=12),
        Field("viewed", "sequence", ITEMS, "item", 5, "mean", target="item"),
        Field("item", rows=ITEMS),
        Field("bought", "sequence", ITEMS, "item", 3, "mean", target="item"),
    ),
    (Task("click"), Task("order", space="click", upstream=("click",))),
)
PLACES = {field.name: f for f, field in enumerate(SCHEMA.fields)}
SLOTS = {"viewed": slice(1, 6), "bought": slice(7, 10)}


def batch(rows=B, seed=0, dtype=np.float64) -> Batch:
    """`[B, ...]`; the last row is padding, and the first has no history."""
    rng = np.random.default_rng(seed)
    limits = np.asarray([field.rows for field in SCHEMA.slot_fields()])
    ids = rng.integers(0, limits, (rows, len(limits)))
    for own in SLOTS.values():
        most = own.stop - own.start
        length = rng.integers(0, most + 1, rows)
        length[0] = 0
        ids[:, own] = np.where(np.arange(most)[None] < length[:, None], ids[:, own], -1)
    labels = np.sort(rng.random((rows, 2)) < 0.5, axis=1)[:, ::-1]
    return Batch(
        ids=ids.astype(np.int32),
        weights=np.zeros((rows, 0), dtype),
        numeric=np.zeros((rows, 0), dtype),
        labels=labels.astype(dtype),
        label_mask=np.ones((rows, 2), bool),
        sample_weight=np.ones(rows, dtype),
        row_mask=np.arange(rows) < rows - 1,
    )


def looked_up(plan: TablePlan, b: Batch) -> Inputs:
    """Looked-up rows of a random table, as the model is given them."""
    b = jax.tree.map(jnp.asarray, b)
    rng = np.random.default_rng(1)
    gathered = {}
    for name, ids in lookup.row_ids(plan, b).items():
        table = rng.normal(size=(plan.arrays[name].rows + 1, plan.arrays[name].width))
        table[-1] = 0  # of padding
        gathered[name] = jnp.asarray(table)[ids]
    return lookup.to_inputs(plan, gathered, b)

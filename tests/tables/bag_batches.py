"""A schema with bags of each kind, and batches of it."""

import numpy as np

from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema, Task

ROWS = 12
SCHEMA = Schema(
    "bags",
    (
        Field("user", rows=ROWS),
        Field("sum", "bag", rows=ROWS, slots=5, weighted=True),
        Field("mean", "bag", rows=ROWS, slots=4, pooling="mean", weighted=True),
        Field("plain sum", "bag", rows=ROWS, slots=3),
        Field("plain mean", "bag", rows=ROWS, slots=4, pooling="mean"),
        Field("max", "bag", rows=ROWS, slots=3, pooling="max"),
        Field("one", "bag", rows=ROWS, slots=1, weighted=True),
        Field("price", "numeric", rows=2, standardised=True),
    ),
    (Task("click"), Task("order", upstream=("click",))),
)


def batch(size=64, seed=0, dtype=np.float64):
    """Random bags, padded anywhere; the first rows' are empty. No id is 0."""
    rng = np.random.default_rng(seed)
    limits = np.asarray([f.rows for f in SCHEMA.slot_fields()])
    ids = rng.integers(1, limits, (size, SCHEMA.slots))
    slots = np.asarray([f.kind == "bag" for f in SCHEMA.slot_fields()])
    ids[(rng.random(ids.shape) < 0.4) & slots] = -1
    ids[:2, slots] = -1
    labels = np.sort(rng.random((size, 2)) < 0.5, axis=1)[:, ::-1]
    return Batch(
        ids=ids.astype(np.int32),
        weights=rng.normal(1, 1, (size, SCHEMA.weighted_slots)).astype(dtype),
        numeric=rng.normal(size=(size, 1)).astype(dtype),
        labels=labels.astype(dtype),
        label_mask=np.ones((size, 2), bool),
        sample_weight=np.ones(size, dtype),
        row_mask=np.ones(size, bool),
    )

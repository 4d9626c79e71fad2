"""A schema with embedded numbers among other fields, and batches of it."""

import numpy as np

from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema, Task

EDGES = (-1.0, -0.25, 0.0, 0.5, 2.0)
TASKS = (Task("click"), Task("order", upstream=("click",)))
PLAIN = Schema(
    "numbers",
    (
        Field("user", rows=12),
        Field("tags", "bag", rows=12, slots=3, pooling="mean", weighted=True),
        Field("age/years 1.0", "numeric", rows=2, standardised=True, edges=EDGES),
        Field("image", "vector", rows=2, length=3),
        Field("price", "numeric", rows=2, standardised=True),
        Field("hours", "numeric", rows=2, standardised=True),
        Field("rate", "numeric", rows=2, standardised=True),
        Field("item", rows=12),
    ),
    TASKS,
)
EMBEDDINGS = {"age/years 1.0": "piecewise_linear", "price": "periodic", "hours": "autodis"}
SCHEMA = PLAIN.with_embeddings(EMBEDDINGS)
# {field: place of its id, of its number, among the fields}
PLACES = {"age/years 1.0": (4, 0, 2), "price": (6, 4, 4), "hours": (7, 5, 5), "rate": (8, 6, 6)}


def batch(size=64, seed=0, dtype=np.float64):
    """Random rows: some numbers are missing, bags are padded, and the last row is masked."""
    rng = np.random.default_rng(seed)
    limits = np.asarray([f.rows for f in SCHEMA.slot_fields()])
    ids = rng.integers(0, limits, (size, SCHEMA.slots))
    ids[:, 1:4][rng.random((size, 3)) < 0.4] = -1
    numeric = rng.normal(size=(size, SCHEMA.numbers))
    numeric[ids[:, 5] == 0, 1:4] = 0
    for slot, number, _ in PLACES.values():
        numeric[ids[:, slot] == 0, number] = 1
    labels = np.sort(rng.random((size, 2)) < 0.5, axis=1)[:, ::-1]
    return Batch(
        ids=ids.astype(np.int32),
        weights=rng.random((size, 3)).astype(dtype),
        numeric=numeric.astype(dtype),
        labels=labels.astype(dtype),
        label_mask=np.ones((size, 2), bool),
        sample_weight=np.ones(size, dtype),
        row_mask=np.arange(size) < size - 1,
    )

"""A schema with vector fields among others, and batches of it."""

import numpy as np

from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema, Task

ROWS, K = 12, 5
TASKS = (Task("click"), Task("order", upstream=("click",)))
SCHEMA = Schema(
    "vectors",
    (
        Field("user", rows=ROWS),
        Field("tags", "bag", rows=ROWS, slots=3, pooling="mean", weighted=True),
        Field("image/text 1.0", "vector", rows=2, length=K),  # a name that no path holds
        Field("price", "numeric", rows=2, standardised=True),
        Field("sound", "vector", rows=2, length=2),
        Field("item", rows=ROWS),
    ),
    TASKS,
)
SLOTS = {"image/text 1.0": 4, "sound": 6}  # where their ids lie
NUMBERS = {"image/text 1.0": slice(0, K), "sound": slice(K + 1, K + 3)}


def batch(size=64, seed=0, dtype=np.float64):
    """Random rows: some vectors are missing, bags are padded, and the last row is masked."""
    rng = np.random.default_rng(seed)
    limits = np.asarray([f.rows for f in SCHEMA.slot_fields()])
    ids = rng.integers(0, limits, (size, SCHEMA.slots))
    ids[:, 1:4][rng.random((size, 3)) < 0.4] = -1
    numeric = rng.normal(size=(size, SCHEMA.numbers))
    for name, slot in SLOTS.items():
        numeric[ids[:, slot] == 0, NUMBERS[name]] = 0
    numeric[ids[:, 5] == 0, K] = 1
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

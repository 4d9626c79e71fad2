"""Random batches with histories beside whose items others stand: two companions, one, and none."""

import dataclasses

import numpy as np

from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema, Task

B, ITEMS = 40, 30
SCHEMA = Schema(
    "companions",
    (
        Field("user", rows=12),
        Field("gap", "sequence", 7, slots=5, beside="viewed"),  # before its history
        Field("viewed", "sequence", ITEMS, "item", 5, "mean", target="item"),
        Field("item", rows=ITEMS),
        Field("last", "sequence", ITEMS, "item", 1, "mean", target="item"),
        Field("last_action", "sequence", 6, "action", slots=1, beside="last"),
        Field("action", "sequence", 6, slots=5, beside="viewed"),
        Field("bought", "sequence", ITEMS, "item", 3, "mean", target="item"),
        Field("hour", rows=9),
    ),
    (Task("click"), Task("order", space="click", upstream=("click",))),
)
SLOTS = {
    "gap": slice(1, 6),
    "viewed": slice(6, 11),
    "last": slice(12, 13),
    "last_action": slice(13, 14),
    "action": slice(14, 19),
    "bought": slice(19, 22),
}
BESIDE = {"viewed": ("gap", "action"), "last": ("last_action",), "bought": ()}
READ = ("user", "viewed", "item", "last", "bought", "hour")


def pooled_by(pooling):
    """SCHEMA, whose histories say another pooling."""
    fields = [dataclasses.replace(f, pooling=pooling) if f.target else f for f in SCHEMA.fields]
    return dataclasses.replace(SCHEMA, fields=tuple(fields))


def batch(rows=B, seed=0, dtype=np.float64) -> Batch:
    """`[B, ...]`; the last row is padding, and the first has no history."""
    rng = np.random.default_rng(seed)
    limits = np.asarray([field.rows for field in SCHEMA.slot_fields()])
    ids = rng.integers(0, limits, (rows, len(limits)))
    for history, beside in BESIDE.items():
        most = SCHEMA.fields[SCHEMA.field_names.index(history)].slots
        length = rng.integers(0, most + 1, rows)
        length[0] = 0
        there = np.arange(most)[None] < length[:, None]
        for name in (history, *beside):
            ids[:, SLOTS[name]] = np.where(there, ids[:, SLOTS[name]], -1)
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

"""A schema with a field of every kind, batches of it, and their look-ups, also in NumPy."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import lookup

B, ITEMS, D = 16, 30, 4
NUMBER = {"kind": "numeric", "rows": 2, "standardised": True}
SCHEMA = Schema(
    "every",
    (
        Field("user", rows=12, role="scenario"),
        Field("gap", "sequence", 7, slots=5, beside="viewed"),  # before its history
        Field("viewed", "sequence", ITEMS, "item", 5, "mean", target="item"),
        Field("item", rows=ITEMS, role="prior"),
        Field("tags", "bag", rows=12, slots=3, pooling="mean", weighted=True),
        Field("image/text 1.0", "vector", rows=2, length=5),  # a name that no path holds
        Field("rate", **NUMBER),
        Field("action", "sequence", 6, slots=5, beside="viewed"),
        Field("age/years", **NUMBER, edges=(-1.0, 0.0, 2.0), embedding="piecewise_linear"),
        Field("bought", "sequence", ITEMS, "item", 3, "mean", target="item"),
        Field("sound", "vector", rows=2, length=2),
        Field("price", **NUMBER, embedding="periodic"),
        Field("hours", **NUMBER, embedding="autodis"),
    ),
    (Task("click"), Task("order", upstream=("click",))),
)
# As an architecture alone sees the fields.
PLAIN = Schema(
    "plain", tuple(Field(f.name, rows=f.rows, role=f.role) for f in SCHEMA.read), SCHEMA.tasks
)
BESIDE = {"viewed": ("gap", "action"), "bought": ()}
VECTORS = {"image/text 1.0": 5, "sound": 2}  # their lengths
EMBEDDED = ("age/years", "price", "hours")
PLACES = {name: place for place, name in enumerate(SCHEMA.read_names)}


def parts(sizes):
    """{name: its part of an axis}"""
    ends = itertools.accumulate(sizes.values())
    return {name: slice(end - sizes[name], end) for name, end in zip(sizes, ends)}


SLOTS = parts({f.name: f.slots for f in SCHEMA.fields})
NUMBERS = parts({f.name: f.numbers for f in SCHEMA.fields})


def pooled_by(pooling):
    """SCHEMA, whose histories say another pooling."""
    fields = [dataclasses.replace(f, pooling=pooling) if f.target else f for f in SCHEMA.fields]
    return dataclasses.replace(SCHEMA, fields=tuple(fields))


def batch(rows=B, seed=0, dtype=np.float64) -> Batch:
    """Random rows: some numbers and vectors are missing, bags are padded, the first row has no
    history, and the last one is padding."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, [f.rows for f in SCHEMA.slot_fields()], (rows, SCHEMA.slots))
    tags = ids[:, SLOTS["tags"]]
    tags[rng.random(tags.shape) < 0.4] = -1
    for history, beside in BESIDE.items():
        most = SLOTS[history].stop - SLOTS[history].start
        length = rng.integers(0, most + 1, rows)
        length[0] = 0
        for name in (history, *beside):
            ids[:, SLOTS[name]][np.arange(most)[None] >= length[:, None]] = -1
    numeric = rng.normal(size=(rows, SCHEMA.numbers))
    for name in (*VECTORS, *EMBEDDED, "rate"):
        missing = ids[:, SLOTS[name].start] == 0
        numeric[missing, NUMBERS[name]] = 0 if name in VECTORS else 1
    return Batch(
        ids=ids.astype(np.int32),
        weights=rng.random((rows, 3)).astype(dtype),
        numeric=numeric.astype(dtype),
        labels=(np.sort(rng.random((rows, 2)) < 0.5, axis=1)[:, ::-1]).astype(dtype),
        label_mask=np.ones((rows, 2), bool),
        sample_weight=np.ones(rows, dtype),
        row_mask=np.arange(rows) < rows - 1,
    )


def wild(b: Batch) -> Batch:
    """The batch with other content wherever it must not matter."""
    rng = np.random.default_rng(2)
    ids, numeric = b.ids.copy(), b.numeric.copy()
    for history, beside in BESIDE.items():
        for name in beside:  # what stands beside padding
            drawn = rng.integers(0, 5, ids[:, SLOTS[name]].shape)
            ids[:, SLOTS[name]] = np.where(b.ids[:, SLOTS[history]] < 0, drawn, ids[:, SLOTS[name]])
    ids[-1], numeric[-1] = rng.integers(0, 2, ids.shape[1]), 1e6  # a masked row
    for name in (*VECTORS, *EMBEDDED):
        numeric[b.ids[:, SLOTS[name].start] == 0, NUMBERS[name]] = 1e6
        numeric[-1, NUMBERS[name]] = np.nan
    return b.replace(ids=ids, numeric=numeric)


def tables_of(plan):
    """Random packed arrays, whose last row, of padding, is zeros."""
    rng, found = np.random.default_rng(1), {}
    for name, lie in plan.arrays.items():
        found[name] = rng.normal(size=(lie.rows + 1, lie.width))
        found[name][-1] = 0
    return found


def inputs_of(plan, b, tables):
    """Looked-up rows, as the model is given them: to be jitted."""
    b = jax.tree.map(jnp.asarray, b)
    rows = lookup.row_ids(plan, b)
    return lookup.to_inputs(plan, {n: jnp.asarray(tables[n])[ids] for n, ids in rows.items()}, b)


def items_of(plan, b, row, history, view=0):
    """`[length, D]`: of one row the sums of an item's row and its companions', item by item."""
    table, offsets, found = tables_of(plan)["embedding"], plan.offsets[view], []
    for place, slot in enumerate(range(SLOTS[history].start, SLOTS[history].stop)):
        if b.ids[row, slot] >= 0 and b.row_mask[row]:
            slots = [slot, *(SLOTS[name].start + place for name in BESIDE[history])]
            found.append(sum(table[offsets[s] + b.ids[row, s]] for s in slots))
    return np.asarray(found).reshape(-1, plan.dim)

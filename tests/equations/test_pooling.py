"""Pooling of bags against loops, what must not change it, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import batch_of

from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.pooling import pool

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

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

FIRST = dict(zip(SCHEMA.field_names, np.cumsum([0, *[f.slots for f in SCHEMA.fields]])))


def batch(size=32, seed=0, dtype=np.float64):
    """Random bags, padded anywhere; the first rows' are empty. No id is 0."""
    rng = np.random.default_rng(seed)
    limits = np.asarray([f.rows for f in SCHEMA.slot_fields()])
    ids = rng.integers(1, limits, (size, SCHEMA.slots))
    slots = np.asarray([f.kind == "bag" for f in SCHEMA.slot_fields()])
    ids[(rng.random(ids.shape) < 0.4) & slots] = -1
    ids[:2, slots] = -1
    labels = np.sort(rng.random((size, 2)) < 0.5, axis=1)[:, ::-1]
    weights = rng.normal(1, 1, (size, SCHEMA.weighted_slots)).astype(dtype)
    numeric = rng.normal(size=(size, 1)).astype(dtype)
    return batch_of(ids.astype(np.int32), labels.astype(dtype), weights=weights, numeric=numeric)


def rows_of(b, seed=1, dim=3):
    """Rows as a look-up gives them: zeros for padding."""
    drawn = np.random.default_rng(seed).normal(size=(*b.ids.shape, dim))
    return np.where(b.ids[:, :, None] >= 0, drawn, 0)


@jax.jit
def pooled(b, rows):
    return pool(SCHEMA, rows, b)


def pooled_by_loops(b, rows):
    fields, weight, out = SCHEMA.fields, 0, np.zeros((len(rows), len(SCHEMA.fields), 3))
    for f, field in enumerate(fields):
        for i in range(len(rows)):
            bag = []
            for s in range(field.slots):
                if b.ids[i, FIRST[field.name] + s] >= 0:
                    w = b.weights[i, weight + s] if field.weighted else 1.0
                    bag.append((w, rows[i, FIRST[field.name] + s]))
            if not bag:
                continue
            total = sum(w * r for w, r in bag)
            if field.pooling == "mean":
                total = total / sum(w for w, _ in bag)
            if field.pooling == "max":
                total = np.max([r for _, r in bag], axis=0)
            out[i, f] = total * (b.numeric[i, 0] if field.standardised else 1)
        weight += field.slots * field.weighted
    return out


def test_pooling_against_loops():
    b = batch()
    rows = rows_of(b)
    got = pooled(b, rows)
    np.testing.assert_allclose(got, pooled_by_loops(b, rows), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(got[:2, 1:7], 0)  # empty bags


def test_padding_changes_nothing_whatever_its_weight():
    b = batch()
    weighted = np.concatenate(
        [
            FIRST[f.name] + np.arange(f.slots) if f.weighted else np.empty(0, int)
            for f in SCHEMA.fields
        ]
    )
    wild = np.where(b.ids[:, weighted] < 0, np.nan, b.weights)
    masked = b.row_mask.copy()
    masked[5] = False
    wild[5] = np.nan
    rows = rows_of(b)
    rows[5] = 0  # as a look-up gives those of a masked row
    got = pooled(b.replace(weights=wild, row_mask=masked), rows)
    np.testing.assert_array_equal(got[5, :7], 0)
    np.testing.assert_array_equal(got, pooled(b.replace(row_mask=masked), rows))


def test_a_mean_of_weights_that_sum_to_zero_is_the_zero_vector():
    b = batch(4)
    at = FIRST["mean"]
    ids, weights = b.ids.copy(), b.weights.copy()
    ids[3, at : at + 4] = [1, 2, -1, 3]
    weights[3, 5:9] = [1.0, 1.0, 7.0, -2.0]

    def summed(rows):
        vectors = pooled(b.replace(ids=ids, weights=weights), rows)
        return vectors[:, 2].sum(), vectors

    gradient, vectors = jax.jit(jax.grad(summed, has_aux=True))(jnp.asarray(rows_of(b)))
    np.testing.assert_array_equal(vectors[3, 2], 0)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[3], 0)

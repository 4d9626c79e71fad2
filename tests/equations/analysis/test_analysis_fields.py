"""Importance of each kind of field, against loops: what belongs to one value changes with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_field import BESIDE, EMBEDDED, NUMBERS, PLACES, SCHEMA, SLOTS, VECTORS, batch
from tiny_runs import tiny

from dtn_jax.analysis.pairs import make_inputs, pair_strengths
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import Forward, columns
from dtn_jax.analysis.segments import chosen_segment
from dtn_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_to_compile")

COUNT = 90
IMAGE = "image/text 1.0"
ROWS = batch(COUNT).replace(row_mask=np.ones(COUNT, bool))
OPTIONS = {"model__histories": "viewed=din", "model__periodic__sigma": 0.5}
# {field: (places of its ids, of its weights, of its numbers)}
PARTS = {
    "user": (SLOTS["user"], slice(0), slice(0)),
    "tags": (SLOTS["tags"], slice(None), slice(0)),
    **{n: (SLOTS[n], slice(0), NUMBERS[n]) for n in (*VECTORS, *EMBEDDED, "rate")},
    **{
        history: (np.r_[tuple(SLOTS[n] for n in (history, *beside))], slice(0), slice(0))
        for history, beside in BESIDE.items()
    },
}


@pytest.fixture(scope="module")
def model():
    """A tiny run on rows with a field of every kind."""
    with jax.enable_x64(True):
        yield tiny(schema=SCHEMA, given=ROWS, **OPTIONS)


def naive(model, **changed):
    return np.asarray(model.naive(jax.device_get(model.state), model.rows.replace(**changed)))


@pytest.mark.parametrize("field", PARTS)
def test_a_permuted_field_brings_all_that_belongs_to_its_value(model, field):
    order = np.random.default_rng(0).permutation(COUNT)
    given, plain = model.rows, np.asarray(model.passes.plain())
    ids, weights, numeric = (a.copy() for a in (given.ids, given.weights, given.numeric))
    slots, weighed, numbers = PARTS[field]
    for i in range(COUNT):
        ids[i, slots] = given.ids[order[i], slots]
        weights[i, weighed] = given.weights[order[i], weighed]
        numeric[i, numbers] = given.numeric[order[i], numbers]
    expected = naive(model, ids=ids, weights=weights, numeric=numeric)
    np.testing.assert_allclose(model.passes.permuted(field, order), expected, rtol=1e-10)
    assert np.abs(expected - plain).max() > 1e-3
    if field == "viewed":
        alone = given.ids.copy()  # the items alone would say something else
        alone[:, SLOTS[field]] = given.ids[order][:, SLOTS[field]]
        assert np.abs(expected - naive(model, ids=alone)).max() > 1e-3


@pytest.mark.parametrize("field", PARTS)
def test_an_unknown_field_has_id_0_and_the_numbers_of_a_missing_one(model, field):
    slots, _, numbers = PARTS[field]
    ids, numeric = model.rows.ids.copy(), model.rows.numeric.copy()
    ids[:, slots] = np.where(ids[:, slots] >= 0, 0, -1)  # padding stays
    numeric[:, numbers] = 0 if field in VECTORS else 1  # as encoders leave them
    expected = naive(model, ids=ids, numeric=numeric)
    np.testing.assert_allclose(model.passes.unknown(field), expected, rtol=1e-10)


def test_rows_whose_vectors_alone_differ_are_scored_again(model):
    ids, order = model.rows.ids.copy(), np.random.default_rng(0).permutation(COUNT)
    ids[:, SLOTS[IMAGE]] = 1  # none is missing
    known = Passes(model.run, model.state, model.rows.replace(ids=ids))
    numeric = model.rows.numeric.copy()
    numeric[:, NUMBERS[IMAGE]] = numeric[order][:, NUMBERS[IMAGE]]
    expected = naive(model, ids=ids, numeric=numeric)
    np.testing.assert_allclose(known.permuted(IMAGE, order), expected, rtol=1e-10)


def test_companions_and_vectors_are_no_fields_to_cut_by():
    with pytest.raises(UserError, match=r"unknown field 'gap'\. .* user, viewed, item, tags"):
        columns(SCHEMA, "gap")
    with pytest.raises(UserError, match="unknown segment 'sound'"):
        chosen_segment(SCHEMA, "sound")


def test_pairs_are_of_what_the_experts_read(model):
    """Complete fields, those of vectors among them."""
    (own,) = pair_strengths(model.passes).values()
    assert own.shape == (len(PLACES),) * 2
    state, run = jax.device_get(model.state), model.run
    kernel = state.params["shared"]["gdcn_0"]["cross_0"]["kernel"]
    assert kernel.shape == (3 * len(PLACES),) * 2
    read = jax.jit(make_inputs(Forward(run.model, run.plan), ["shared/gdcn_0"]))
    given = jax.tree.map(jnp.asarray, model.rows)
    with_numbers, without = (
        read(state, rows)["shared/gdcn_0"]
        for rows in (given, given.replace(numeric=given.numeric * 0))
    )
    known = model.rows.ids[:, SLOTS[IMAGE].start] == 1
    x = model.rows.numeric[known][:, NUMBERS[IMAGE]]
    W = state.params["embedded_shared"][IMAGE]["kernel"]
    found = (with_numbers - without)[known, PLACES[IMAGE]]
    np.testing.assert_allclose(found, x @ W, rtol=1e-9, atol=1e-12)

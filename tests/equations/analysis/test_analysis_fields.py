"""Importance of each kind of field, against loops: what belongs to one value changes with it."""

import companion_batches
import jax
import jax.numpy as jnp
import number_batches
import numpy as np
import pytest
import vector_batches
from tiny_runs import tiny

from dtn_jax.analysis import gradients
from dtn_jax.analysis.pairs import make_inputs, pair_strengths
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import Sample, columns
from dtn_jax.analysis.segments import segments
from dtn_jax.errors import UserError
from dtn_jax.tables import exchange, lookup

pytestmark = pytest.mark.usefixtures("quick_to_compile")

COUNT = 90
IMAGE = "image/text 1.0"
MADE = {"vectors": vector_batches, "companions": companion_batches, "numbers": number_batches}
OPTIONS = {
    "vectors": {},
    "companions": {"model__histories": "viewed=din"},
    "numbers": {"model__experts": "mlp", "model__periodic__sigma": 0.5},
}
# {field: (places of its ids, of its weights, of its numbers)}
PARTS = {
    "vectors": {
        "tags": ([1, 2, 3], [0, 1, 2], []),
        IMAGE: ([4], [], [0, 1, 2, 3, 4]),
        "price": ([5], [], [5]),
        "sound": ([6], [], [6, 7]),
    },
    "companions": {
        field: (np.r_[tuple(companion_batches.SLOTS[name] for name in (field, *beside))], [], [])
        for field, beside in companion_batches.BESIDE.items()
    },
    "numbers": {
        name: ([slot], [], [number]) for name, (slot, number, _) in number_batches.PLACES.items()
    },
}
KINDS = ["vectors", *(pytest.param(k, marks=pytest.mark.slow) for k in ("companions", "numbers"))]


def sample(kind):
    return MADE[kind].batch(COUNT).replace(row_mask=np.ones(COUNT, bool))


@pytest.fixture(scope="module")
def models():
    """kind -> a tiny run on rows with such fields, made once."""
    made = {}

    def model(kind):
        if kind not in made:
            made[kind] = tiny(schema=MADE[kind].SCHEMA, given=sample(kind), **OPTIONS[kind])
        return made[kind]

    with jax.enable_x64(True):
        yield model


def naive(model, **changed):
    return np.asarray(model.naive(jax.device_get(model.state), model.rows.replace(**changed)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_permuted_field_brings_all_that_belongs_to_its_value(models, kind):
    model, order = models(kind), np.random.default_rng(0).permutation(COUNT)
    given, plain = model.rows, np.asarray(model.passes.plain())
    for field, (slots, weighed, numbers) in PARTS[kind].items():
        ids, weights, numeric = (a.copy() for a in (given.ids, given.weights, given.numeric))
        for i in range(COUNT):
            ids[i, slots] = given.ids[order[i], slots]
            weights[i, weighed] = given.weights[order[i], weighed]
            numeric[i, numbers] = given.numeric[order[i], numbers]
        expected = naive(model, ids=ids, weights=weights, numeric=numeric)
        np.testing.assert_allclose(model.passes.permuted(field, order), expected, rtol=1e-10)
        assert np.abs(expected - plain).max() > 1e-3
        if len(slots) > 1 and kind == "companions" and field != "bought":
            alone = given.ids.copy()  # the items alone would say something else
            own = companion_batches.SLOTS[field]
            alone[:, own] = given.ids[order][:, own]
            assert np.abs(expected - naive(model, ids=alone)).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_has_id_0_and_the_numbers_of_a_missing_one(models, kind):
    model = models(kind)
    for field, (slots, _, numbers) in PARTS[kind].items():
        ids, numeric = model.rows.ids.copy(), model.rows.numeric.copy()
        ids[:, slots] = np.where(ids[:, slots] >= 0, 0, -1)  # padding stays
        numeric[:, numbers] = 0 if field in (IMAGE, "sound") else 1  # as encoders leave them
        expected = naive(model, ids=ids, numeric=numeric)
        np.testing.assert_allclose(model.passes.unknown(field), expected, rtol=1e-10)


def test_rows_whose_vectors_alone_differ_are_scored_again(models):
    model = models("vectors")
    (slot,), _, numbers = PARTS["vectors"][IMAGE]
    ids, order = model.rows.ids.copy(), np.random.default_rng(0).permutation(COUNT)
    ids[:, slot] = 1  # none is missing
    known = Passes(model.run, model.state, model.rows.replace(ids=ids))
    numeric = model.rows.numeric.copy()
    numeric[:, numbers] = numeric[order][:, numbers]
    expected = naive(model, ids=ids, numeric=numeric)
    np.testing.assert_allclose(known.permuted(IMAGE, order), expected, rtol=1e-10)


def test_companions_and_vectors_are_no_fields_to_cut_by():
    with pytest.raises(UserError, match=r"unknown field 'gap'\. .* user, viewed, item, last"):
        columns(companion_batches.SCHEMA, "gap")
    with pytest.raises(UserError, match="unknown segment 'sound'"):
        segments(Sample("test", sample("vectors"), None), vector_batches.SCHEMA, {}, "sound")


# ---------------------------------------------------------------- gradients


def inputs_of(model):
    """What the model of a run reads of its rows."""
    plan, b = model.run.plan, jax.tree.map(jnp.asarray, model.rows)
    gathered = lookup.gather(
        model.state.tables, lookup.row_ids(plan, b), exchange.look_ups(plan, None)
    )
    return lookup.to_inputs(plan, gathered, b)


def moved(logits, embeddings):
    """The slopes of the sum of logits times how far embeddings are from their mean, by field."""
    slopes = jax.jit(jax.grad(logits))(embeddings)
    parts = jax.tree.map(
        lambda s, e: (s * (e - e.mean(axis=0, keepdims=True))).sum(-1), slopes, embeddings
    )
    return sum(jax.tree.leaves(parts))


@pytest.mark.slow
def test_a_history_that_is_pooled_by_the_item_at_hand_moves_logits_by_its_items(models):
    model = models("companions")
    found, inputs = gradients.moves(model.passes), inputs_of(model)
    history = inputs.histories["shared"]["viewed"]

    def logits(items):
        others = inputs.histories["shared"] | {"viewed": history._replace(items=items)}
        given = inputs.replace(histories={"shared": others})
        out = model.run.model.apply({"params": model.state.params}, given, train=False)
        return out.logits["click"].sum()

    expected = moved(logits, history.items).sum(axis=1)
    assert np.abs(expected).max() > 1e-3
    place = companion_batches.READ.index("viewed")
    np.testing.assert_allclose(found[:, place, 0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_gradient_importance_sees_the_completed_numbers():
    """Of two views, by the embeddings that the architecture reads, those of vectors apart."""
    schema, changes = number_batches.SCHEMA, {"parallel__devices": 1} | OPTIONS["numbers"]
    with jax.enable_x64(True):
        model = tiny("single_task", schema, sample("numbers"), **changes)
        found, inputs = gradients.moves(model.passes), inputs_of(model)
        variables = {"params": model.state.params}
        complete = model.run.model.apply(variables, inputs, method="completed")
        for _, _, place in number_batches.PLACES.values():
            far = complete.fields["click"] - inputs.fields["click"]
            assert (np.abs(far[:, place]).max() > 1e-3) == schema.fields[place].embedded
        vector, alone = schema.field_names.index("image"), model.run.model.reader
        for t, task in enumerate(schema.task_names):

            def logits(fields, task=task):
                given = complete.replace(fields=fields)
                return alone.apply(variables, given, train=False).logits[task].sum()

            got, expected = found[:, :, t], moved(logits, complete.fields)
            got, expected = (np.delete(a, vector, axis=1) for a in (got, expected))
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_pairs_are_of_what_the_experts_read(models):
    """Complete fields, those of vectors among them."""
    model = models("vectors")
    (own,) = pair_strengths(model.passes).values()
    assert own.strengths["term"].shape == (6, 6)
    state, run = jax.device_get(model.state), model.run
    kernel = state.params["shared"]["gdcn_0"]["cross_0"]["kernel"]
    assert kernel.shape == (18, 18)
    read = jax.jit(make_inputs(run.model, run.plan, ["shared/gdcn_0"]))
    given = jax.tree.map(jnp.asarray, model.rows)
    with_numbers, without = (
        read(state, rows)["shared/gdcn_0"]
        for rows in (given, given.replace(numeric=given.numeric * 0))
    )
    (slot,), _, numbers = PARTS["vectors"][IMAGE]
    known = model.rows.ids[:, slot] == 1
    x = model.rows.numeric[known][:, numbers]
    W = state.params["vectors_shared"][IMAGE]
    np.testing.assert_allclose((with_numbers - without)[known, 2], x @ W, rtol=1e-9, atol=1e-12)

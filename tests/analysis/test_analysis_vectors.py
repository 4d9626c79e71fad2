"""Importance of vector fields, against loops: their numbers and their id are one value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import tiny
from vector_batches import NUMBERS, SCHEMA, SLOTS, batch

from dtn_jax.analysis import gradients
from dtn_jax.analysis.pairs import make_inputs, pair_strengths
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import Sample
from dtn_jax.analysis.segments import segments
from dtn_jax.errors import UserError
from dtn_jax.tables import exchange, lookup

NAME, COUNT = "image/text 1.0", 90


def sample():
    given = batch(COUNT)
    return given.replace(row_mask=np.ones(COUNT, bool))


@pytest.fixture(scope="module")
def model():
    with jax.enable_x64(True):
        yield tiny(schema=SCHEMA, given=sample())


def naive(model, **changed):
    return np.asarray(model.naive(jax.device_get(model.state), model.rows.replace(**changed)))


def test_a_permuted_vector_brings_its_id_and_all_its_numbers(model):
    order = np.random.default_rng(0).permutation(COUNT)
    for name, slot in SLOTS.items():
        ids, numeric = model.rows.ids.copy(), model.rows.numeric.copy()
        for i in range(COUNT):
            ids[i, slot] = model.rows.ids[order[i], slot]
            numeric[i, NUMBERS[name]] = model.rows.numeric[order[i], NUMBERS[name]]
        expected = naive(model, ids=ids, numeric=numeric)
        np.testing.assert_allclose(model.passes.permuted(name, order), expected, rtol=1e-10)
        assert np.abs(expected - np.asarray(model.passes.plain())).max() > 1e-3


def test_a_permuted_bag_brings_all_its_slots(model):
    order = np.random.default_rng(1).permutation(COUNT)
    ids, weights = model.rows.ids.copy(), model.rows.weights[order]
    ids[:, 1:4] = ids[order, 1:4]
    expected = naive(model, ids=ids, weights=weights)
    np.testing.assert_allclose(model.passes.permuted("tags", order), expected, rtol=1e-10)


def test_rows_whose_vectors_alone_differ_are_scored_again(model):
    ids = model.rows.ids.copy()
    ids[:, SLOTS[NAME]] = 1  # none is missing
    known = Passes(model.run, model.state, model.rows.replace(ids=ids))
    order = np.random.default_rng(0).permutation(COUNT)
    numeric = model.rows.numeric.copy()
    numeric[:, NUMBERS[NAME]] = numeric[order, NUMBERS[NAME]]
    expected = naive(model, ids=ids, numeric=numeric)
    np.testing.assert_allclose(known.permuted(NAME, order), expected, rtol=1e-10)


def test_an_unknown_vector_has_id_0_and_zeros(model):
    for field, slot in {**SLOTS, "price": 5}.items():
        ids, numeric = model.rows.ids.copy(), model.rows.numeric.copy()
        ids[:, slot] = 0
        numeric[:, NUMBERS.get(field, 5)] = 1 if field == "price" else 0
        expected = naive(model, ids=ids, numeric=numeric)
        np.testing.assert_allclose(model.passes.unknown(field), expected, rtol=1e-10)
    numbers = np.asarray(model.passes._forgotten.numeric)
    np.testing.assert_array_equal(numbers[:, 5], 1)
    assert np.abs(np.delete(numbers, 5, axis=1)).max() == 0


def test_gradient_importance_sees_the_projected_vectors():
    """Of single_task, which has two views, by the embeddings that the architecture reads."""
    with jax.enable_x64(True):
        model = tiny("single_task", SCHEMA, sample(), model__experts="mlp", parallel__devices=1)
        found = gradients.moves(model.passes)
        run, plan = model.run, model.run.plan
        state, b = model.state, jax.tree.map(jnp.asarray, model.rows)
        gathered = lookup.gather(
            state.tables, lookup.row_ids(plan, b), exchange.look_ups(plan, None)
        )
        inputs = lookup.to_inputs(plan, gathered, b)
        e = {}
        for view in plan.views:  # complete
            e[view] = np.array(inputs.fields[view])
            for f, field in enumerate(SCHEMA.field_names):
                if field in SLOTS:
                    e[view][:, f] += inputs.vectors[field] @ state.params[f"vectors_{view}"][field]
        alone = run.model.architecture

        def logits(fields):
            out = alone.apply({"params": state.params}, inputs.replace(fields=fields), train=False)
            return jnp.stack([out.logits[t] for t in SCHEMA.task_names])

        for t in range(2):
            slopes = jax.jit(jax.grad(lambda fields, t=t: logits(fields)[t].sum()))(e)
            expected = sum(
                (slopes[v] * (e[v] - e[v].mean(axis=0, keepdims=True))).sum(-1) for v in e
            )
            np.testing.assert_allclose(found[:, :, t], expected, rtol=1e-9, atol=1e-12)


def test_pairs_are_of_what_the_experts_read(model):
    """Complete fields, those of vectors among them."""
    (own,) = pair_strengths(model.passes).values()
    assert own.strengths["term"].shape == (6, 6)
    state, run = jax.device_get(model.state), model.run
    kernel = state.params["shared"]["gdcn_0"]["cross_0"]["kernel"]
    assert kernel.shape == (18, 18)
    read = make_inputs(run.model, run.plan, ["shared/gdcn_0"])
    given = jax.tree.map(jnp.asarray, model.rows)
    with_numbers = jax.jit(read)(state, given)["shared/gdcn_0"]
    without = jax.jit(read)(state, given.replace(numeric=given.numeric * 0))["shared/gdcn_0"]
    known = model.rows.ids[:, SLOTS[NAME]] == 1
    W = state.params["vectors_shared"][NAME]
    x = model.rows.numeric[known][:, NUMBERS[NAME]]
    np.testing.assert_allclose((with_numbers - without)[known, 2], x @ W, rtol=1e-9, atol=1e-12)


def test_a_vector_makes_no_segments():
    with pytest.raises(UserError, match="unknown segment 'sound'"):
        segments(Sample("test", sample(), None), SCHEMA, {}, "sound")

"""Importance of a history: what stands beside its items is a part of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from companion_batches import BESIDE, READ, SCHEMA, SLOTS, batch
from tiny_runs import tiny

from dtn_jax.analysis import gradients
from dtn_jax.analysis.pairs import pair_strengths
from dtn_jax.analysis.sample import columns
from dtn_jax.errors import UserError
from dtn_jax.tables import exchange, lookup

COUNT = 90


@pytest.fixture(scope="module")
def model():
    with jax.enable_x64(True):
        given = batch(COUNT).replace(row_mask=np.ones(COUNT, bool))
        yield tiny(schema=SCHEMA, given=given, model__histories="viewed=din")


def slots_of(field):
    return [SLOTS[name] for name in (field, *BESIDE[field])]


def scored(model, ids):
    changed = model.rows.replace(ids=ids)
    return np.asarray(model.naive(jax.device_get(model.state), changed))


@pytest.mark.parametrize("field", BESIDE)
def test_a_permuted_history_brings_what_stands_beside_it(model, field):
    order = np.random.default_rng(0).permutation(COUNT)
    ids = model.rows.ids.copy()
    for slots in slots_of(field):
        ids[:, slots] = model.rows.ids[order, slots]
    expected = scored(model, ids)
    np.testing.assert_allclose(model.passes.permuted(field, order), expected, rtol=1e-10)
    if BESIDE[field]:  # the items alone would say something else
        ids[:, slots_of(field)[1]] = model.rows.ids[:, slots_of(field)[1]]
        assert np.abs(expected - scored(model, ids)).max() > 1e-3


def test_an_unknown_history_has_nothing_known_beside_it(model):
    ids = model.rows.ids.copy()
    for slots in slots_of("viewed"):
        ids[:, slots] = np.where(ids[:, slots] >= 0, 0, -1)
    np.testing.assert_allclose(model.passes.unknown("viewed"), scored(model, ids), rtol=1e-10)
    with pytest.raises(UserError, match=r"unknown field 'gap'\. .* user, viewed, item, last"):
        columns(SCHEMA, "gap")


def test_gradients_and_pairs_are_of_the_fields_that_the_model_reads():
    with jax.enable_x64(True):
        given = batch(COUNT).replace(row_mask=np.ones(COUNT, bool))
        model = tiny("shared_bottom", SCHEMA, given, parallel__devices=1)
        found = gradients.moves(model.passes)
        (own,) = pair_strengths(model.passes).values()
        assert own.strengths["term"].shape == (len(READ), len(READ))
        state, plan, b = model.state, model.run.plan, jax.tree.map(jnp.asarray, model.rows)
        rows = lookup.row_ids(plan, b)
        gathered = lookup.gather(state.tables, rows, exchange.look_ups(plan, None))
        inputs = lookup.to_inputs(plan, gathered, b)
        e = inputs.fields["shared"]

        def logits(fields):
            given = inputs.replace(fields={"shared": fields})
            out = model.run.model.apply({"params": state.params}, given, train=False)
            return out.logits["click"].sum()

        expected = (jax.jit(jax.grad(logits))(e) * (e - e.mean(axis=0, keepdims=True))).sum(axis=-1)
    assert found.shape == (COUNT, len(READ), 2)
    np.testing.assert_allclose(found[:, :, 0], expected, rtol=1e-9, atol=1e-12)


def test_a_history_that_is_pooled_by_the_item_at_hand_moves_logits_by_its_items(model):
    with jax.enable_x64(True):
        found = gradients.moves(model.passes)
        state, plan, b = model.state, model.run.plan, jax.tree.map(jnp.asarray, model.rows)
        rows = lookup.row_ids(plan, b)
        gathered = lookup.gather(state.tables, rows, exchange.look_ups(plan, None))
        inputs = lookup.to_inputs(plan, gathered, b)
        history = inputs.histories["shared"]["viewed"]

        def logits(items):
            others = inputs.histories["shared"] | {"viewed": history._replace(items=items)}
            given = inputs.replace(histories={"shared": others})
            out = model.run.model.apply({"params": state.params}, given, train=False)
            return out.logits["click"].sum()

        less = history.items - history.items.mean(axis=0, keepdims=True)
        expected = (jax.jit(jax.grad(logits))(history.items) * less).sum(axis=(1, 2))
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found[:, READ.index("viewed"), 0], expected, rtol=1e-9, atol=1e-12)

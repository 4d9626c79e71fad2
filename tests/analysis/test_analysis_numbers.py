"""Importance of embedded numbers: by their completed embeddings, and what is not known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from number_batches import PLACES, SCHEMA, batch
from tiny_runs import tiny

from dtn_jax.analysis import gradients
from dtn_jax.tables import exchange, lookup

pytestmark = pytest.mark.usefixtures("quick_to_compile")

COUNT = 90


def sample():
    given = batch(COUNT)
    return given.replace(row_mask=np.ones(COUNT, bool))


@pytest.fixture(scope="module")
def model():
    with jax.enable_x64(True):
        yield tiny(
            "single_task", SCHEMA, sample(), model__experts="mlp", model__periodic__sigma=0.5
        )


def test_gradient_importance_sees_the_completed_numbers(model):
    """Of two views, by the embeddings that the architecture reads, those of vectors apart."""
    found = gradients.moves(model.passes)
    run, plan = model.run, model.run.plan
    state, b = model.state, jax.tree.map(jnp.asarray, model.rows)
    gathered = lookup.gather(state.tables, lookup.row_ids(plan, b), exchange.look_ups(plan, None))
    inputs = lookup.to_inputs(plan, gathered, b)
    variables = {"params": state.params}
    complete = run.model.apply(variables, inputs, method="completed")
    for _, _, place in PLACES.values():
        moved = complete.fields["click"] - inputs.fields["click"]
        assert (np.abs(moved[:, place]).max() > 1e-3) == SCHEMA.fields[place].embedded
    alone = run.model.reader

    def logits(fields):
        out = alone.apply(variables, complete.replace(fields=fields), train=False)
        return jnp.stack([out.logits[t] for t in SCHEMA.task_names])

    vector = SCHEMA.field_names.index("image")
    for t in range(2):
        slopes = jax.jit(jax.grad(lambda fields, t=t: logits(fields)[t].sum()))(complete.fields)
        expected = sum(
            (slopes[v] * (e - e.mean(axis=0, keepdims=True))).sum(-1)
            for v, e in complete.fields.items()
        )
        got, expected = (np.delete(a, vector, axis=1) for a in (found[:, :, t], expected))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_a_permuted_number_brings_its_id_and_its_value(model):
    order = np.random.default_rng(0).permutation(COUNT)
    for name, (slot, number, _) in PLACES.items():
        ids, numeric = model.rows.ids.copy(), model.rows.numeric.copy()
        ids[:, slot], numeric[:, number] = ids[order, slot], numeric[order, number]
        changed = model.rows.replace(ids=ids, numeric=numeric)
        expected = np.asarray(model.naive(jax.device_get(model.state), changed))
        np.testing.assert_allclose(model.passes.permuted(name, order), expected, rtol=1e-10)
        assert np.abs(expected - np.asarray(model.passes.plain())).max() > 1e-3


def test_an_unknown_number_has_its_learned_row(model):
    for name, (slot, number, _) in PLACES.items():
        ids, numeric = model.rows.ids.copy(), model.rows.numeric.copy()
        ids[:, slot], numeric[:, number] = 0, 1
        changed = model.rows.replace(ids=ids, numeric=numeric)
        expected = np.asarray(model.naive(jax.device_get(model.state), changed))
        np.testing.assert_allclose(model.passes.unknown(name), expected, rtol=1e-10)

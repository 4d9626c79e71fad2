"""Architectures read histories that were pooled around them; on many devices and in parts too."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from history_batches import PLACES, SCHEMA, SLOTS, batch, looked_up
from other_values import another
from toy_steps import build, config, leaves

from dtn_jax.config import declarations
from dtn_jax.errors import UserError
from dtn_jax.interface import Inputs
from dtn_jax.models import build as architectures
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.histories.with_histories import ways
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.state import create_state, example_inputs
from dtn_jax.step import make_train_chunk, make_train_step

STEPS = 3
NAMED = {"model__histories": "viewed=din,bought=bst"}


@pytest.mark.parametrize(
    "name",
    [
        a if a in ("dtn", "stem") else pytest.param(a, marks=pytest.mark.slow)
        for a in ARCHITECTURES
        if a != "esmm"  # which trains on all impressions
    ],
)
def test_every_architecture_reads_pooled_histories(name, random_variables):
    """Its outputs are those of the architecture alone on fields that are pooled before."""
    with jax.enable_x64(True):
        c = config(model__architecture=name, model__dtype="float64", **NAMED)
        model, plan = build(c, SCHEMA)
        inputs = looked_up(plan, batch(16))
        variables = random_variables(model, inputs, train=False)
        got = jax.jit(lambda v, i: model.apply(v, i, train=False))(variables, inputs)
        params, fields = dict(variables["params"]), {}
        for view, embedded in inputs.fields.items():
            own, vectors = params.pop(f"histories_{view}"), np.array(embedded)
            for field, way in (("viewed", "din"), ("bought", "bst")):
                module = HISTORIES[way](dtype=jnp.float64)
                items, present = inputs.histories[view][field]
                target = embedded[:, PLACES["item"]]
                pooled = module.apply({"params": own[field]}, target, items, present, False)
                vectors[:, PLACES[field]] = pooled
            fields[view] = jnp.asarray(vectors)
        c.model.histories = ""
        alone = architectures.build(c.model, SCHEMA)
        expected = alone.apply(
            {**variables, "params": params},
            Inputs(fields, inputs.codewords, inputs.row_mask),
            train=False,
        )
        assert jax.tree.structure(got) == jax.tree.structure(expected)
        for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
            np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-12)


def test_histories_stand_beside_vectors_and_numbers():
    """All that completes embeddings stands around one architecture."""
    more = (
        Field("content", "vector", rows=2, length=3),
        Field("age", "numeric", rows=2, standardised=True, embedding="periodic"),
    )
    schema = dataclasses.replace(SCHEMA, fields=SCHEMA.fields + more)
    model, plan = build(config(**NAMED), schema)
    inputs = example_inputs(plan)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))["params"]
    own = {"vectors_shared", "numbers_shared", "histories_shared"}
    assert own < set(params)
    assert set(params["histories_shared"]) == {"viewed", "bought"}


def test_a_history_is_what_is_there_and_its_mean_where_nothing_else_is_said():
    with jax.enable_x64(True):
        _, plan = build(config(), SCHEMA)
        b = batch()
        inputs = looked_up(plan, b)
        for name, slots in SLOTS.items():
            items, present = (np.asarray(a) for a in inputs.histories["shared"][name])
            there = (b.ids[:, slots] >= 0) & b.row_mask[:, None]
            np.testing.assert_array_equal(present, there)
            assert not items[~there].any()
            mean = items.sum(axis=1) / np.maximum(there.sum(axis=1), 1)[:, None]
            pooled = inputs.fields["shared"][:, PLACES[name]]
            np.testing.assert_allclose(pooled, mean, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("bst", {"viewed": "bst", "bought": "bst"}),
        ("bought=din", {"bought": "din"}),
        ("bought=din,viewed=bst", {"viewed": "bst", "bought": "din"}),
    ],
)
def test_ways_are_chosen_for_all_or_by_field(text, expected):
    assert ways(text, SCHEMA) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dien", "unknown model.histories 'dien'. .* bst, din, target_attention|din"),
        ("item=din", "unknown sequence field in model.histories 'item'. .* viewed, bought"),
        ("viewed=dien", "unknown model.histories: way of viewed 'dien'"),
    ],
)
def test_ways_that_make_no_sense(text, message):
    with pytest.raises(UserError, match=message):
        ways(text, SCHEMA)
    plain = Schema("plain", (Field("item"),), (Task("click"),))
    with pytest.raises(UserError, match="data set 'plain' has no sequence field"):
        ways("din", plain)


OWN = {key: found for key, found in declarations().items() if found.member in HISTORIES}


@pytest.mark.parametrize("key", OWN)
def test_flipping_an_option_changes_the_model(key, random_variables):
    """Those of a new way too: they need no line here."""
    name, option = OWN[key].member, OWN[key].option
    value = (5,) if isinstance(option.default, tuple) else another(option, option.default)
    value = 4 if key.endswith("heads") else value
    found = []
    for given in ({}, {key.replace(".", "__"): value}):
        model, plan = build(config(model__histories=name, **given), SCHEMA)
        inputs = looked_up(plan, batch(16, dtype=np.float32))
        variables = random_variables(model, inputs, train=False)
        shapes = jax.tree.map(jnp.shape, variables)
        found.append((shapes, model.apply(variables, inputs, train=False).logits["click"]))
    assert found[0][0] != found[1][0] or np.abs(found[0][1] - found[1][1]).max() > 1e-6


def train(way, **changes):
    c = config(
        model__dtype="float64", model__architecture="dtn", model__dropout=0.2,
        optim__table_init=1.0, data__batch_size=64, data__eval_batch_size=64,
        **(NAMED | way | changes),
    )  # fmt: skip
    model, plan = build(c, SCHEMA)
    at = make_placement(c)
    state = create_state(c, model, plan)
    before = jax.tree.map(np.asarray, state.params)
    step = make_train_step(c, model, plan, 10, at.table_mesh)
    chunk = jax.tree.map(lambda *a: np.stack(a), *(batch(seed=s) for s in range(STEPS)))
    state = jax.device_put(state, at.state(state))
    after, metrics = at.compile(make_train_chunk(step, STEPS), state)(
        state, at.put(chunk, at.chunk()), STEPS
    )
    return before, after, np.asarray(metrics["losses"])


@functools.cache
def on_one_device():
    return train({"parallel__devices": 1})


@pytest.mark.parametrize(
    ("way", "parts"),
    [
        ({"parallel__devices": 8, "parallel__table_devices": 4}, 1),
        ({"parallel__devices": 1}, 2),
        pytest.param(
            {"parallel__devices": 2, "parallel__strategy": "pmap"}, 2, marks=pytest.mark.slow
        ),
    ],
)
def test_on_many_devices_and_in_parts_the_numbers_are_one_devices(way, parts):
    with jax.enable_x64(True):
        before, one, losses = on_one_device()
        _, many, losses2 = train(way, train__accumulate=parts)
        np.testing.assert_allclose(losses2, losses, rtol=1e-10)
        for a, b in zip(leaves(many), leaves(one), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    for field in ("viewed", "bought"):
        was, now = (p["histories_shared"][field] for p in (before, one.params))
        moved = [
            np.abs(a - np.asarray(b)).max()
            for a, b in zip(jax.tree.leaves(was), jax.tree.leaves(now))
        ]
        assert min(moved) > 0

"""DTN whose tasks have histories of their own: pooled for each, by parameters of its own."""

import dataclasses

import jax
import numpy as np
import pytest
from history_batches import SCHEMA, batch, looked_up
from toy_steps import build, config

from dtn_jax.errors import UserError

OWN = {"model__dtn__own_histories": True}
TASKS = SCHEMA.task_names


@pytest.fixture(autouse=True)
def exact():
    with jax.enable_x64(True):
        yield


def model_and_inputs(histories="din", **changes):
    settings = {"model__architecture": "dtn", "model__dtype": "float64"}
    c = config(**settings, model__histories=histories, **changes)
    model, plan = build(c, SCHEMA)
    return model, looked_up(plan, batch(16))


def changed(params, group):
    """The same parameters, those of one group's poolings doubled."""
    return params | {group: jax.tree.map(lambda a: 2 * a, params[group])}


@pytest.mark.parametrize("fusion", ["paper", "released"])
def test_equal_parameters_make_the_dtn_of_one_pooling(fusion, random_variables):
    common, inputs = model_and_inputs(model__fusion=fusion)
    variables = random_variables(common, inputs, train=False)
    params = dict(variables["params"])
    params |= {f"histories_{task}": params["histories_shared"] for task in TASKS}
    own, _ = model_and_inputs(model__fusion=fusion, **OWN)
    expected = common.apply(variables, inputs, train=False)
    got = own.apply({**variables, "params": params}, inputs, train=False)
    for task in TASKS:
        np.testing.assert_allclose(got.logits[task], expected.logits[task], rtol=1e-12)


def test_a_task_alone_reads_its_histories(random_variables):
    """Its group's experts and its gates change with their parameters, those of no other do."""
    model, inputs = model_and_inputs(**OWN)
    variables = random_variables(model, inputs, train=False)
    params = dict(variables["params"])

    def moved(reader):
        outputs = [
            model.apply({**variables, "params": p}, inputs, train=False).intermediates
            for p in (params, changed(params, f"histories_{reader}"))
        ]
        one, other = (
            o["experts"] | {f"gate {n}": g for n, g in o["gates"].items()} for o in outputs
        )
        differ = {
            name
            for name in one
            if not all(
                map(np.array_equal, jax.tree.leaves(one[name]), jax.tree.leaves(other[name]))
            )
        }
        return {name.removeprefix("gate ").partition("/")[0] for name in differ}

    for reader in TASKS:
        assert moved(reader) == {reader}
    assert moved("shared") == {"shared"}


@pytest.mark.parametrize(
    ("settings", "readers"),
    [
        ({}, {"click", "order", "shared"}),
        ({"model__dtn__shared_group": False}, {"click", "order"}),
    ],
)
def test_every_pooling_learns(settings, readers, random_variables):
    model, inputs = model_and_inputs(**OWN, **settings)
    variables = random_variables(model, inputs, train=False)

    def loss(params):
        out = model.apply({**variables, "params": params}, inputs, train=False)
        return sum((logit**2).sum() for logit in out.logits.values())

    found = jax.grad(loss)(variables["params"])
    poolings = {name: own for name, own in found.items() if name.startswith("histories_")}
    assert {name.removeprefix("histories_") for name in poolings} == readers
    for own in poolings.values():
        for leaf in jax.tree.leaves(own):
            assert (np.asarray(leaf) != 0).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"histories": ""}, "own_histories: a mean has no parameters"),
        ({"model__dtn__task_groups": False}, "own_histories: they are for task groups"),
    ],
)
def test_own_histories_that_make_no_sense(settings, message):
    with pytest.raises(UserError, match=message):
        model_and_inputs(**OWN, **settings)


def test_own_histories_of_a_set_without_sequences():
    schema = dataclasses.replace(SCHEMA, fields=SCHEMA.fields[:1])
    with pytest.raises(UserError, match=f"own_histories: data set '{schema.name}' has no sequence"):
        build(config(model__architecture="dtn", model__dtype="float64", **OWN), schema)

"""DTN: what a loss moves in other tasks' groups; embeddings and histories of each task's own."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from built_models import CHAIN, PAIR, usual
from every_field import SCHEMA, batch, inputs_of, tables_of
from toy_steps import build, config

from dtn_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

REACHED = ("experts", "none", "all")
STEP = 1e-6
ORDERS = {"order", "gate_order_own", "gate_order_others", "tower_order", "shared"}
OWN = {"model__dtn__own_histories": True}


def zero(tree):
    return all(np.all(leaf == 0) for leaf in jax.tree.leaves(tree))


def assert_same(got, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), got, expected
    )


@pytest.mark.parametrize("fusion", ["paper", pytest.param("released", marks=pytest.mark.nightly)])
def test_what_a_loss_moves_in_other_tasks_groups(fusion, model):
    """In CHAIN cart is upstream of order, and click of cart. The logits are always the same."""
    given = usual("dtn", fusion=fusion, group_experts="")
    built = {r: model(CHAIN, **given, dtn__others_gradient=r) for r in REACHED}
    params, inputs = built["all"].variables["params"], built["all"].inputs

    @functools.partial(jax.jit, static_argnums=1)
    @functools.partial(jax.value_and_grad, has_aux=True)
    def order(params, reached):
        found = built[reached].module.apply({"params": params}, inputs, False)
        return found.logits["order"].sum(), found.logits

    found = {r: order(params, r) for r in REACHED}
    logits = {r: value[1] for r, (value, _) in found.items()}
    slopes = {r: slope for r, (_, slope) in found.items()}
    for r in ("none", "all"):
        assert_same(logits[r], logits["experts"])
    moved = {r: {part for part in params if not zero(slopes[r][part])} for r in REACHED}
    assert moved["none"] == ORDERS
    assert moved["experts"] == ORDERS | {"cart", "click"}
    assert moved["all"] >= ORDERS | {"cart", "click", "tower_cart", "tower_click"}
    for part in ORDERS:
        assert_same(slopes["none"][part], slopes["experts"][part])
    for part in ORDERS - {"shared", "order"}:  # which upstream tasks read too
        assert_same(slopes["all"][part], slopes["experts"][part])

    rng = np.random.default_rng(0)  # the whole derivative, by differences in a random direction
    way = jax.tree.map(lambda a: STEP * rng.normal(size=a.shape), params)
    ends = [
        order(jax.tree.map(lambda a, d, s=s: a + s * d, params, way), "all")[0][0] for s in (1, -1)
    ]
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), slopes["all"], way)))
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "changes", "click_moves"),
    [
        ("stem", {"stem__levels": 1}, False),
        ("dtn", {"dtn__own_embeddings": True, "dtn__others_gradient": "none"}, False),
        ("dtn", {"dtn__own_embeddings": True, "dtn__others_gradient": "experts"}, True),
        pytest.param(
            "dtn",
            {"dtn__own_embeddings": True, "dtn__others_gradient": "all"},
            True,
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_which_tables_and_experts_a_loss_moves(architecture, changes, click_moves, model):
    """Values pass between tasks' tables in any case: all forward."""
    built = model(PAIR, **usual(architecture, group_experts="", **changes))

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def order(fields, params):
        inputs = built.inputs.replace(fields=fields)
        found = built.module.apply({"params": params}, inputs, train=False)
        return found.logits["order"].sum()

    given, params = built.inputs.fields, built.variables["params"]
    value, (tables, slopes) = order(given, params)
    groups = {name.removeprefix("level_0_"): slope for name, slope in slopes.items()}
    for gradient in (tables, groups):
        assert zero(gradient["click"]) == (not click_moves)
        assert not zero(gradient["order"])
        assert not zero(gradient["shared"])
    assert order(given | {"click": np.asarray(given["click"]) + 1}, params)[0] != value


def readers_moved(random_variables, **changes):
    """{group of poolings: the tasks (or `shared`) whose experts or gates they change}, and the
    groups whose parameters all move a loss of all tasks; of a DTN of SCHEMA."""
    settings = {"model__architecture": "dtn", "model__dtype": "float64", "model__histories": "din"}
    model, plan = build(config(**settings, **changes), SCHEMA)
    inputs = inputs_of(plan, batch(), tables_of(plan))
    variables = random_variables(model, inputs, train=False)
    params = dict(variables["params"])

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def outputs(params):
        found = model.apply({**variables, "params": params}, inputs, train=False)
        seen = found.intermediates["experts"] | {
            f"{gate}": tuple(weights.values())
            for gate, weights in found.intermediates["gates"].items()
        }
        return sum((logit**2).sum() for logit in found.logits.values()), seen

    slopes, before = outputs(params)
    moved = {}
    for name in (name for name in params if name.startswith("histories_")):
        _, after = outputs(params | {name: jax.tree.map(lambda a: 2 * a, params[name])})
        differ = {n for n in after if not all(map(np.array_equal, after[n], before[n]))}
        moved[name.removeprefix("histories_")] = {n.partition("/")[0] for n in differ}
    learn = {
        name for name in moved if all(map(np.any, jax.tree.leaves(slopes[f"histories_{name}"])))
    }
    return moved, learn


@pytest.mark.parametrize(
    ("changes", "readers"),
    [
        (OWN, {"click", "order", "shared"}),
        pytest.param(
            OWN | {"model__dtn__shared_group": False}, {"click", "order"}, marks=pytest.mark.nightly
        ),
        pytest.param(
            {"model__dtn__own_embeddings": True},
            {"click", "order", "shared"},
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_a_task_alone_reads_its_histories(changes, readers, random_variables):
    """Pooled in its own tables, or by parameters of its own: its group's experts and its gates
    change with those, no other's do; and each pooling learns."""
    moved, learn = readers_moved(random_variables, **changes)
    assert moved == {reader: {reader} for reader in readers}
    assert learn == readers


NO_SEQUENCE = dataclasses.replace(SCHEMA, fields=SCHEMA.fields[:1])


@pytest.mark.parametrize(
    ("changes", "data", "message"),
    [
        ({"model__histories": ""}, SCHEMA, "own_histories: a mean has no parameters"),
        ({"model__dtn__task_groups": False}, SCHEMA, "own_histories: they are for task groups"),
        ({}, NO_SEQUENCE, "own_histories: a mean .* data set 'every' has none"),
    ],
)
def test_own_histories_that_make_no_sense(changes, data, message):
    histories = {"model__histories": "din"} if data is SCHEMA else {}
    with pytest.raises(UserError, match=message):
        build(config(model__architecture="dtn", **OWN, **histories | changes), data)

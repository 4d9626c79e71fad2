"""DTN with embeddings of each task's own, and what a loss moves in other tasks' groups."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import CHAIN, PAIR, options
from history_batches import SCHEMA, batch, looked_up
from toy_steps import build, config

from dtn_jax.errors import UserError
from dtn_jax.models import build as architectures

pytestmark = pytest.mark.usefixtures("quick_to_compile")

FUSED = pytest.mark.parametrize("fusion", ["paper", "released"])
REACHED = ("experts", "none", "all")
STEP = 1e-6
ORDERS = {"order", "gate_order_own", "gate_order_others", "tower_order", "shared"}


def zero(tree):
    return all(np.all(leaf == 0) for leaf in jax.tree.leaves(tree))


def assert_same(got, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), got, expected
    )


@FUSED
@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_what_a_loss_moves_in_other_tasks_groups(fusion, precision, model):
    """In CHAIN cart is upstream of order, and click of cart."""
    given = {"dtype": precision.dtype.name, "fusion": fusion}
    built = {r: model(CHAIN, **given, dtn__others_gradient=r) for r in REACHED}
    params = built["all"].variables["params"]

    @functools.partial(jax.jit, static_argnums=1)
    @jax.value_and_grad
    def order(params, reached):
        found = built[reached].module.apply({"params": params}, built[reached].inputs, False)
        return found.logits["order"].sum()

    found = {r: order(params, r)[1] for r in REACHED}
    moved = {r: {part for part in params if not zero(found[r][part])} for r in REACHED}
    assert moved["none"] == ORDERS
    assert moved["experts"] == ORDERS | {"cart", "click"}
    assert moved["all"] >= ORDERS | {"cart", "click", "tower_cart", "tower_click"}
    for part in ORDERS:
        assert_same(found["none"][part], found["experts"][part])
    for part in ORDERS - {"shared", "order"}:  # which upstream tasks read too
        assert_same(found["all"][part], found["experts"][part])

    rng = np.random.default_rng(0)  # the whole derivative, by differences in a random direction
    way = jax.tree.map(lambda a: STEP * rng.normal(size=a.shape), params)
    ends = [order(jax.tree.map(sign, params, way), "all")[0] for sign in (jnp.add, jnp.subtract)]
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), found["all"], way)))
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2, rtol=1e-5)


@FUSED
def test_whatever_is_learned_the_logits_are_the_same(fusion, model):
    usual, *others = (model(CHAIN, fusion=fusion, dtn__others_gradient=r)() for r in REACHED)
    for task in CHAIN.task_names:
        for other in others:
            np.testing.assert_array_equal(other.logits[task], usual.logits[task])


@pytest.mark.parametrize("reached", REACHED)
def test_which_tables_a_loss_moves(reached, model):
    built = model(PAIR, dtn__own_embeddings=True, dtn__others_gradient=reached)

    def order(fields):
        return built(inputs=built.inputs.replace(fields=fields)).logits["order"].sum()

    gradient = jax.grad(order)(built.inputs.fields)
    assert zero(gradient["click"]) == (reached == "none")
    assert not zero(gradient["order"])
    assert not zero(gradient["shared"])
    moved = built.inputs.fields | {"click": built.inputs.fields["click"] + 1}
    assert order(moved) != order(built.inputs.fields)  # all forward


def test_histories_are_pooled_in_each_tasks_tables(random_variables):
    """Each by parameters of its own; those of a task move its group and no other."""
    model, plan = build(
        config(model__architecture="dtn", model__histories="din", model__dtn__own_embeddings=True),
        SCHEMA,
    )
    assert plan.views == ("click", "order", "shared")
    inputs = looked_up(plan, jax.tree.map(jnp.asarray, batch(16, dtype=np.float32)))
    inputs = jax.tree.map(lambda a: a.astype(np.float32) if a.dtype == np.float64 else a, inputs)
    variables = random_variables(model, inputs, train=False)
    params = variables["params"]

    @jax.jit
    def experts(params):
        variables_ = {**variables, "params": params}
        return model.apply(variables_, inputs, train=False).intermediates["experts"]

    for view in plan.views:
        own = f"histories_{view}"
        after = experts(params | {own: jax.tree.map(lambda a: 2 * a, params[own])})
        before = experts(params)
        moved = {name.partition("/")[0] for name in after if np.any(after[name] != before[name])}
        assert moved == {view}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_groups": False}, r"model\.dtn\.own_embeddings: they are for task groups"),
        ({"own_histories": True}, "own_histories: with own_embeddings each task pools its"),
    ],
)
def test_own_embeddings_that_make_no_sense(changes, message):
    given = {f"dtn__{name}": value for name, value in changes.items()}
    with pytest.raises(UserError, match=message):
        architectures.build(options(dtn__own_embeddings=True, **given), PAIR)

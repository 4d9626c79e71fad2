"""ESMM, AITM, STEM and AdaTT against their equations in NumPy, and what is particular to each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import (
    CHAIN,
    CLICK,
    PAIR,
    H,
    assert_logits,
    dense,
    group,
    in_float64,
    options,
    relu,
    schema,
    sigmoid,
    softmax,
    tower,
    weighted,
)

from dtn_jax.errors import UserError
from dtn_jax.models import build as architectures
from dtn_jax.models.architectures.esmm import both
from dtn_jax.schema import Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")

BOTH = Task("order", upstream=("click", "cart"))
JOINED = schema(CLICK, Task("cart"), BOTH)


def esmm(p, x, data):
    tasks, likely, logits = {t.name: t for t in data.tasks}, {}, {}
    for t in data.task_order():
        likely[t] = sigmoid(tower(p[f"tower_{t}"], np.concatenate(group(p[t], x), axis=-1)))
        for u in tasks[t].upstream:
            likely[t] = likely[t] * likely[u]
        logits[t] = np.log(likely[t]) - np.log(1 - likely[t])
    return logits


def aitm(p, x, data):
    tasks, z, logits = {t.name: t for t in data.tasks}, {}, {}
    for t in data.task_order():
        z[t] = np.concatenate(group(p[t], x), axis=-1)
        if tasks[t].upstream:
            own = p[f"transfer_{t}"]
            read = [z[t]] + [relu(dense(own[f"info_{u}"], z[u])) for u in tasks[t].upstream]
            scores = [
                (dense(own["keys"], r) * dense(own["queries"], r)).sum(-1) / np.sqrt(r.shape[1])
                for r in read
            ]
            assert all("bias" not in own[name] for name in ("keys", "queries", "values"))
            weights = softmax(np.stack(scores, axis=-1))
            z[t] = weighted(weights, [dense(own["values"], r) for r in read])
        logits[t] = tower(p[f"tower_{t}"], z[t])
    return logits


def stem(p, views, data, levels):
    names, s = (*data.task_names, "shared"), dict(views)
    for level in range(levels):
        f = [e for g in names for e in group(p[f"level_{level}_{g}"], s[g])]
        below, s = s, {}
        for g in names if level < levels - 1 else data.task_names:
            read = below["shared"] + (below[g] if g != "shared" else 0)
            s[g] = weighted(softmax(dense(p[f"gate_{level}_{g}"]["scores"], read)), f)
    return {t: tower(p[f"tower_{t}"], s[t]) for t in data.task_names}


def adatt(p, x, data, levels, shared=True):
    names = (*data.task_names, "shared") if shared else data.task_names
    s = dict.fromkeys(names, x)
    for level in range(levels):
        own = {g: group(p[f"level_{level}_{g}"], s[g]) for g in names}
        below, s = s, {}
        for g in names if level < levels - 1 else data.task_names:
            gate = p[f"gate_{level}_{g}"]["scores"]
            assert "bias" in gate
            s[g] = weighted(softmax(dense(gate, below[g])), [e for n in names for e in own[n]])
            v = p.get(f"native_{level}_{g}", np.ones(len(own[g])))
            s[g] = s[g] + sum(v[m] * f for m, f in enumerate(own[g]))
    return {t: tower(p[f"tower_{t}"], s[t]) for t in data.task_names}


@pytest.mark.parametrize(("data", "precision"), in_float64(CHAIN, PAIR), indirect=["precision"])
def test_esmm(data, precision, model):
    built = model(data, dtype=precision.dtype.name, architecture="esmm")
    p, views = built.exact
    assert_logits(precision, built, esmm(p, views["shared"], data))
    out = built()
    own = out.intermediates["conditional"]["order"]
    assert np.all(sigmoid(out.logits["order"]) < sigmoid(own))


WEIGHTS = {"click": 20.0, "cart": 300.0, "order": 7.0}


def test_esmms_product_is_of_probabilities(model):
    out = model(CHAIN, architecture="esmm")()
    p = {task: sigmoid(np.asarray(logit)) for task, logit in out.logits.items()}
    for task, upstream in (("cart", "click"), ("order", "cart")):
        own = sigmoid(np.asarray(out.intermediates["conditional"][task]))
        np.testing.assert_allclose(p[task], p[upstream] * own, rtol=1e-5)
    np.testing.assert_array_equal(out.logits["click"], out.intermediates["conditional"]["click"])


@pytest.mark.parametrize("architecture", ["esmm", "aitm", "dtn"])
def test_weights_of_positives_are_the_losses_alone(model, architecture):
    plain, weighed = (
        model(CHAIN, architecture=architecture, positive_weights=weights)()
        for weights in (None, WEIGHTS)
    )
    for task in CHAIN.task_names:
        np.testing.assert_array_equal(plain.logits[task], weighed.logits[task])


def test_the_released_fusion_keeps_the_inflated_probability_of_its_authors(model):
    plain, weighed = (
        model(CHAIN, fusion="released", positive_weights=weights)() for weights in (None, WEIGHTS)
    )
    np.testing.assert_array_equal(plain.logits["click"], weighed.logits["click"])
    assert not np.array_equal(plain.logits["cart"], weighed.logits["cart"])  # scaled by click's
    inflated = sigmoid(np.asarray(weighed.logits["click"]) + np.log(WEIGHTS["click"]))
    used = weighed.intermediates["probabilities"]["click"]
    np.testing.assert_allclose(used, inflated, rtol=1e-5)


def test_the_product_of_probabilities_overflows_nowhere():
    a, z = (
        jnp.asarray([-200.0, 200.0, 200.0, -200.0, 0.0]),
        jnp.asarray([200.0, 200, -200, -200, 0]),
    )
    expected = [-200.0, 200 - np.log(2), -200, -400, -np.log(3)]
    np.testing.assert_allclose(both(a, z), expected, rtol=1e-6)
    gradient = jax.grad(lambda a, z: both(a, z).sum(), (0, 1))(a, z)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    ("data", "precision"), in_float64(CHAIN, JOINED, schema(CLICK)), indirect=["precision"]
)
def test_aitm(data, precision, model):
    built = model(data, dtype=precision.dtype.name, architecture="aitm", group_experts="click=mlp")
    p, views = built.exact
    assert_logits(precision, built, aitm(p, views["shared"], data))


def test_aitms_calibrator_asks_that_a_task_is_no_likelier_than_its_upstream(model):
    out = model(JOINED, architecture="aitm", aitm__calibrator=0.25)()
    p = {t: sigmoid(np.asarray(out.logits[t])) for t in JOINED.task_names}
    expected = 0.25 * (relu(p["order"] - p["click"]) + relu(p["order"] - p["cart"]))
    assert np.any(expected > 0)
    np.testing.assert_allclose(out.aux["calibrator"], expected, rtol=1e-5)
    watch = schema(CLICK, Task("watch", kind="regression", upstream=("click",)))
    assert not model(watch, architecture="aitm")().aux
    among = schema(CLICK, Task("order", upstream=("click",), space="click"))
    assert not model(among, architecture="aitm")().aux  # p(order | click) may exceed p(click)


@pytest.mark.parametrize(("levels", "precision"), in_float64(2, 1), indirect=["precision"])
def test_stem(levels, precision, model):
    built = model(
        CHAIN,
        dtype=precision.dtype.name,
        architecture="stem",
        stem__levels=levels,
        group_experts="shared=mlp,order=mlp*3",
    )
    p, views = built.exact
    assert set(views) == {*CHAIN.task_names, "shared"}
    assert_logits(precision, built, stem(p, views, CHAIN, levels))


def test_a_tasks_tables_in_stem_feel_its_own_loss_alone(model):
    built = model(PAIR, architecture="stem")

    def order(fields):
        return built(inputs=built.inputs.replace(fields=fields)).logits["order"].sum()

    gradient = jax.grad(order)(built.inputs.fields)
    assert np.all(gradient["click"] == 0)
    assert np.any(gradient["order"] != 0)
    assert np.any(gradient["shared"] != 0)
    moved = built.inputs.fields | {"click": built.inputs.fields["click"] + 1}
    assert order(moved) != order(built.inputs.fields)  # all forward


@pytest.mark.parametrize(
    ("levels", "changes"),
    [
        (2, {}),
        (1, {"experts": "mlp"}),
        (3, {"adatt__shared_group": False, "group_experts": "order=mlp"}),
    ],
)
@pytest.mark.parametrize("precision", ["float64", "float32"], indirect=True)
def test_adatt(levels, changes, precision, model):
    changes = {"architecture": "adatt", "adatt__levels": levels, **changes}
    built = model(CHAIN, dtype=precision.dtype.name, **changes)
    p, views = built.exact
    learned = [name for name in p if name.startswith("native")]
    assert bool(learned) == (changes.get("experts") != "mlp")
    shared = changes.get("adatt__shared_group", True)
    assert_logits(precision, built, adatt(p, views["shared"], CHAIN, levels, shared))


def test_a_stream_of_adatt_has_the_experts_width(model):
    p, _ = model(PAIR, architecture="adatt").exact
    assert p["gate_1_order"]["scores"]["kernel"].shape == (H, 6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (schema(CLICK, Task("order")), "no upstream tasks"),
        (JOINED, "must be binary and follow one binary task, got binary after click, cart"),
        (
            schema(CLICK, Task("watch", kind="regression", upstream=("click",))),
            "got regression after click",
        ),
        (
            schema(CLICK, Task("order", space="click", upstream=("click",))),
            "'order' is taken in the space 'click'",
        ),
    ],
)
def test_esmm_needs_a_funnel(data, message):
    with pytest.raises(UserError, match=message):
        architectures.build(options(architecture="esmm"), data)


def test_aitms_weight_is_checked():
    with pytest.raises(UserError, match=r"calibrator=-1\.0: expected a number at least 0"):
        architectures.build(options(architecture="aitm", aitm__calibrator=-1.0), PAIR)


def test_adatts_native_weights_start_small(model):
    built = model(PAIR, architecture="adatt", experts="mlp*4")
    params = jax.jit(lambda k: built.module.init(k, built.inputs, train=False))(jax.random.key(0))
    native = [np.asarray(v) for k, v in params["params"].items() if k.startswith("native")]
    assert len(native) == 3 + 2  # both tasks and the shared group, then the tasks
    assert 0.25 < np.abs(native).max() <= 0.5  # 1 / sqrt(4)

"""Each architecture against its equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import routing_equations
import test_scenarios
import test_token_trunks
from built_models import (
    CHAIN,
    CLICK,
    PAIR,
    assert_logits,
    dense,
    group,
    relu,
    schema,
    sigmoid,
    softmax,
    tower,
    usual,
    weighted,
)

from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.architectures.esmm import both
from dtn_jax.schema import Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")

JOINED = schema(CLICK, Task("cart"), Task("order", upstream=("click", "cart")))
REGRESSION = schema(
    CLICK, Task("watch", kind="regression"), Task("order", upstream=("click", "watch"))
)
WEIGHTS = {"click": 20.0, "cart": 300.0, "order": 7.0}  # of positives


# The equations: views are {view: [B, W]}, f is a list of [B, H].


def dtn(p, views, data, fusion="paper", tsn=True):
    names = [name for name in (*data.task_names, "shared") if name in p]
    x = {name: views[name if name in views else "shared"] for name in {*names, *data.task_names}}
    f = {name: group(p[name], x[name]) for name in names}
    tasks = {task.name: task for task in data.tasks}
    logits = {}
    for t in data.task_order():
        own, others = f.get(t, []), []
        for name in names:
            if name == t:
                continue
            scaled = tsn and name in tasks[t].upstream and tasks[name].kind == "binary"
            p_u = sigmoid(logits[name])[:, None] if scaled else 1.0
            others += [p_u * expert for expert in f[name]]
        z = []
        for side, experts in (("own", own), ("others", others)):
            if not experts:
                continue
            gate = p[f"gate_{t}_{side}"]
            if fusion == "paper":
                assert "bias" in gate["scores"]
                weights = softmax(dense(gate["scores"], x[t]))
            else:
                scores = [dense(gate[f"score_{m}"], e)[:, 0] for m, e in enumerate(experts)]
                weights = softmax(relu(np.stack(scores, axis=-1)))
            z.append(weighted(weights, experts))
        z = np.concatenate(z, axis=-1) if fusion == "paper" else sum(z)
        logits[t] = tower(p[f"tower_{t}"], z)
    return logits


def shared_bottom(p, views, data):
    z = np.concatenate(group(p["shared"], views["shared"]), axis=-1)
    return {t: tower(p[f"tower_{t}"], z) for t in data.task_names}


def single_task(p, views, data):
    assert set(views) == set(data.task_names)
    return {
        t: tower(p[f"tower_{t}"], np.concatenate(group(p[t], views[t]), axis=-1))
        for t in data.task_names
    }


def mmoe(p, views, data):
    x, logits = views["shared"], {}
    f = group(p["shared"], x)
    for t in data.task_names:
        assert "bias" not in p[f"gate_{t}"]["scores"]
        z = weighted(softmax(dense(p[f"gate_{t}"]["scores"], x)), f)
        logits[t] = tower(p[f"tower_{t}"], z)
    return logits


def ple(p, views, data, levels=2):
    names = (*data.task_names, "shared")
    s = dict.fromkeys(names, views["shared"])
    for level in range(levels):
        f = {name: group(p[f"level_{level}_{name}"], s[name]) for name in names}
        below, s = s, {}
        for t in names if level < levels - 1 else data.task_names:
            seen = [
                e for name in names if t in ("shared", name) or name == "shared" for e in f[name]
            ]
            gate = p[f"gate_{level}_{t}"]["scores"]
            assert "bias" not in gate
            s[t] = weighted(softmax(dense(gate, below[t])), seen)
    return {t: tower(p[f"tower_{t}"], s[t]) for t in data.task_names}


def esmm(p, views, data):
    tasks, likely, logits = {t.name: t for t in data.tasks}, {}, {}
    for t in data.task_order():
        z = np.concatenate(group(p[t], views["shared"]), axis=-1)
        likely[t] = sigmoid(tower(p[f"tower_{t}"], z))
        for u in tasks[t].upstream:
            likely[t] = likely[t] * likely[u]
        logits[t] = np.log(likely[t]) - np.log(1 - likely[t])
    return logits


def aitm(p, views, data):
    tasks, z, logits = {t.name: t for t in data.tasks}, {}, {}
    for t in data.task_order():
        z[t] = np.concatenate(group(p[t], views["shared"]), axis=-1)
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


def stem(p, views, data, levels=2):
    assert set(views) == {*data.task_names, "shared"}
    names, s = (*data.task_names, "shared"), dict(views)
    for level in range(levels):
        f = [e for g in names for e in group(p[f"level_{level}_{g}"], s[g])]
        below, s = s, {}
        for g in names if level < levels - 1 else data.task_names:
            read = below["shared"] + (below[g] if g != "shared" else 0)
            s[g] = weighted(softmax(dense(p[f"gate_{level}_{g}"]["scores"], read)), f)
    return {t: tower(p[f"tower_{t}"], s[t]) for t in data.task_names}


def adatt(p, views, data, levels=2, shared=True, learned=True):
    names = (*data.task_names, "shared") if shared else data.task_names
    s = dict.fromkeys(names, views["shared"])
    assert any(name.startswith("native") for name in p) == learned
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


USUAL_CASES = {
    "dtn": ("dtn", CHAIN, {}, dtn),
    "dtn, released": ("dtn", CHAIN, {"fusion": "released"}, lambda *a: dtn(*a, "released")),
    "shared_bottom": ("shared_bottom", CHAIN, {}, shared_bottom),
    "single_task": ("single_task", CHAIN, {}, single_task),
    "mmoe": ("mmoe", CHAIN, {}, mmoe),
    "ple": ("ple", CHAIN, {}, ple),
    "esmm": ("esmm", CHAIN, {}, esmm),
    "escm2": ("escm2", CHAIN, {}, esmm),  # but for its losses
    "aitm": ("aitm", CHAIN, {}, aitm),
    "stem": ("stem", CHAIN, {}, stem),
    "adatt": ("adatt", CHAIN, {}, adatt),
    **routing_equations.CASES,
}


def of_dtn(name, data=CHAIN, **changes):
    """A case of DTN; `released` and `no_tsn` in its name say which equations."""
    fusion, tsn = "released" if "released" in name else "paper", "no tsn" not in name
    changes |= {"fusion": fusion} | ({} if tsn else {"dtn__tsn": False})
    return {f"dtn, {name}": ("dtn", data, changes, lambda *a: dtn(*a, fusion, tsn))}


OWN = {"dtn__own_embeddings": True, "group_experts": ""}
UNSHARED = {"dtn__shared_group": False, "group_experts": "click=mlp"}
OTHERS = {
    **routing_equations.OTHERS,
    **of_dtn("released, joined", JOINED),
    **of_dtn("regression", REGRESSION),
    **of_dtn("one task alone", schema(CLICK), **UNSHARED),
    **of_dtn("released, no tsn"),
    **of_dtn("no task groups", dtn__task_groups=False, group_experts=""),
    **of_dtn("released, own embeddings", **OWN),
    "aitm, joined": ("aitm", JOINED, {"aitm__calibrator": 0.25}, aitm),
    "adatt, one expert": (
        "adatt",
        CHAIN,
        {"adatt__levels": 1, "experts": "mlp"},
        lambda *a: adatt(*a, 1, learned=False),
    ),
    "adatt, no shared group": (
        "adatt",
        CHAIN,
        {"adatt__levels": 3, "adatt__shared_group": False, "group_experts": "order=mlp"},
        lambda *a: adatt(*a, 3, shared=False),
    ),
}
SLOW = {
    **of_dtn("own embeddings, no shared group", **UNSHARED | OWN),
    **of_dtn("no tsn"),
    "ple, 3 levels": ("ple", PAIR, {"ple__levels": 3}, lambda *a: ple(*a, 3)),
    "stem, 1 level": ("stem", CHAIN, {"stem__levels": 1}, lambda *a: stem(*a, 1)),
}
CASES = USUAL_CASES | OTHERS | SLOW
EXACT = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES]


@pytest.mark.parametrize("case", EXACT)
@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_an_architecture_is_its_equation(case, precision, model):
    architecture, data, changes, equation = CASES[case]
    built = model(data, **usual(architecture, **changes, dtype=precision.dtype.name))
    assert_logits(precision, built, equation(*built.exact, data))


def test_every_architecture_has_an_equation():
    tested = {architecture for architecture, *_ in USUAL_CASES.values()}
    tested |= set(test_token_trunks.CASES) | set(test_scenarios.CASES)
    assert tested == set(ARCHITECTURES)


def test_groups_have_the_experts_that_they_are_given(model, float64):
    p, _ = model(CHAIN, **usual("dtn")).exact
    assert [len(p[g]) for g in ("click", "cart", "shared")] == [1, 2, 3]
    p, _ = model(CHAIN, **usual("ple")).exact
    assert [len(p[f"level_1_{g}"]) for g in ("order", "cart", "shared")] == [3, 2, 1]


@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_gates_and_experts_read_the_normalised_input(precision, model):
    built = model(PAIR, **usual("mmoe", normalisation="batch"))
    p, views = built.exact
    affine = p["input"]["normalisation"]["batch"]
    running = built.variables["batch_stats"]["input"]["normalisation"]["batch"]
    mean, var = (np.asarray(running[name], np.float64) for name in ("mean", "var"))
    x = (views["shared"] - mean) / np.sqrt(var + 1e-3) * affine["gamma"] + affine["beta"]
    assert_logits(precision, built, mmoe(p, {"shared": x}, PAIR))


def test_the_product_of_probabilities_overflows_nowhere():
    a = np.array([-200.0, 200, 200, -200, 0], np.float32)
    z = np.array([200.0, 200, -200, -200, 0], np.float32)
    expected = [-200.0, 200 - np.log(2), -200, -400, -np.log(3)]
    value = jax.jit(lambda a, z: (both(a, z), jax.grad(lambda a: both(a, z).sum())(a)))
    found, gradient = value(jnp.asarray(a), jnp.asarray(z))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.all(np.isfinite(gradient))


def test_weights_of_positives_are_the_losses_alone(model, float64):
    plain = model(CHAIN, **usual("dtn"))()
    weighed = model(CHAIN, **usual("dtn"), positive_weights=WEIGHTS)()
    for task in CHAIN.task_names:
        np.testing.assert_array_equal(plain.logits[task], weighed.logits[task])


def test_the_released_fusion_keeps_the_inflated_probability_of_its_authors(model, float64):
    given = usual("dtn", fusion="released")
    plain, weighed = model(CHAIN, **given)(), model(CHAIN, **given, positive_weights=WEIGHTS)()
    np.testing.assert_array_equal(plain.logits["click"], weighed.logits["click"])
    assert not np.array_equal(plain.logits["cart"], weighed.logits["cart"])  # scaled by click's
    inflated = sigmoid(np.asarray(weighed.logits["click"]) + np.log(WEIGHTS["click"]))
    used = weighed.intermediates["probabilities"]["click"]
    np.testing.assert_allclose(used, inflated, rtol=1e-5)


def test_aitms_calibrator_asks_that_a_task_is_no_likelier_than_its_upstream(model, float64):
    _, data, changes, _ = CASES["aitm, joined"]
    out = model(data, **usual("aitm", **changes))()
    p = {t: sigmoid(np.asarray(out.logits[t])) for t in data.task_names}
    expected = 0.25 * (relu(p["order"] - p["click"]) + relu(p["order"] - p["cart"]))
    assert np.any(expected > 0)
    np.testing.assert_allclose(out.aux["calibrator"], expected, rtol=1e-10)


@pytest.mark.parametrize(
    "data",
    [
        schema(CLICK, Task("watch", kind="regression", upstream=("click",))),
        schema(CLICK, Task("order", upstream=("click",), space="click")),  # p(order | click)
    ],
)
def test_aitm_compares_only_probabilities_of_one_space(data, model, float64):
    built = model(data, **usual("aitm"))
    outputs = jax.eval_shape(lambda: built.module.apply(built.variables, built.inputs, False))
    assert not outputs.aux

"""Each architecture against its equations in NumPy."""

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
    relu,
    schema,
    sigmoid,
    softmax,
    tower,
    weighted,
)

from dtn_jax.schema import Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")


# x is [B, W]; f is a list of [B, H].


def dtn(p, views, data, fusion, tsn=True):
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


def shared_bottom(p, x, data):
    z = np.concatenate(group(p["shared"], x), axis=-1)
    return {t: tower(p[f"tower_{t}"], z) for t in data.task_names}


def single_task(p, views, data):
    return {
        t: tower(p[f"tower_{t}"], np.concatenate(group(p[t], views[t]), axis=-1))
        for t in data.task_names
    }


def mmoe(p, x, data):
    f = group(p["shared"], x)
    logits = {}
    for t in data.task_names:
        assert "bias" not in p[f"gate_{t}"]["scores"]
        z = weighted(softmax(dense(p[f"gate_{t}"]["scores"], x)), f)
        logits[t] = tower(p[f"tower_{t}"], z)
    return logits


def ple(p, x, data, levels):
    names = (*data.task_names, "shared")
    s = dict.fromkeys(names, x)
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


GRAPHS = {
    "chain": CHAIN,
    "one task": schema(CLICK),
    "pair": PAIR,
    "several": schema(CLICK, Task("cart"), Task("order", upstream=("click", "cart"))),
    "regression": schema(
        CLICK, Task("watch", kind="regression"), Task("order", upstream=("click", "watch"))
    ),
}


@pytest.mark.parametrize("fusion", ["paper", "released"])
@pytest.mark.parametrize(("graph", "precision"), in_float64(*GRAPHS), indirect=["precision"])
def test_dtn(graph, fusion, precision, model):
    data = GRAPHS[graph]
    built = model(
        data,
        dtype=precision.dtype.name,
        fusion=fusion,
        group_experts="shared=mlp*3,click=mlp",
    )
    p, views = built.exact
    assert [len(p[g]) for g in ("click", "shared")] == [1, 3]
    assert_logits(precision, built, dtn(p, views, data, fusion))


@pytest.mark.parametrize("fusion", ["paper", "released"])
@pytest.mark.parametrize("switch", ["tsn", "shared_group", "task_groups"])
@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_dtn_ablations(switch, fusion, precision, model):
    changes = {"dtype": precision.dtype.name, "fusion": fusion, f"dtn__{switch}": False}
    built = model(CHAIN, **changes)
    p, views = built.exact
    assert ("shared" in p) == (switch != "shared_group")
    assert ("click" in p) == (switch != "task_groups")
    sides = 1 if fusion == "released" or switch == "task_groups" else 2
    assert p["tower_order"]["hidden_0"]["kernel"].shape[0] == sides * H
    assert_logits(precision, built, dtn(p, views, CHAIN, fusion, tsn=switch != "tsn"))


@pytest.mark.parametrize("fusion", ["paper", "released"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_dtn_with_own_embeddings(shared, fusion, precision, model):
    changes = {"dtn__own_embeddings": True, "dtn__shared_group": shared, "fusion": fusion}
    built = model(CHAIN, dtype=precision.dtype.name, **changes)
    p, views = built.exact
    assert set(views) == {*CHAIN.task_names, *(["shared"] if shared else [])}
    assert_logits(precision, built, dtn(p, views, CHAIN, fusion))


@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_dtn_one_task_alone(precision, model):
    data = GRAPHS["one task"]
    changes = {"dtype": precision.dtype.name, "dtn__shared_group": False}
    built = model(data, **changes)
    p, views = built.exact
    assert_logits(precision, built, dtn(p, views, data, "paper"))


def test_shared_bottom(precision, model):
    built = model(CHAIN, dtype=precision.dtype.name, architecture="shared_bottom")
    p, views = built.exact
    assert_logits(precision, built, shared_bottom(p, views["shared"], CHAIN))


def test_single_task(precision, model):
    built = model(
        PAIR,
        dtype=precision.dtype.name,
        architecture="single_task",
        group_experts="order=mlp*3",
    )
    p, views = built.exact
    assert set(views) == {"click", "order"}
    assert_logits(precision, built, single_task(p, views, PAIR))


def test_mmoe(precision, model):
    built = model(CHAIN, dtype=precision.dtype.name, architecture="mmoe", experts="mlp*4")
    p, views = built.exact
    assert_logits(precision, built, mmoe(p, views["shared"], CHAIN))


@pytest.mark.parametrize(("levels", "precision"), in_float64(2, 1, 3), indirect=["precision"])
def test_ple(levels, precision, model):
    built = model(
        PAIR,
        dtype=precision.dtype.name,
        architecture="ple",
        ple__levels=levels,
        group_experts="shared=mlp,order=mlp*3",
    )
    p, views = built.exact
    assert_logits(precision, built, ple(p, views["shared"], PAIR, levels))


def test_gates_and_experts_read_the_normalised_input(precision, model):
    built = model(
        PAIR,
        dtype=precision.dtype.name,
        architecture="mmoe",
        normalisation="batch",
    )
    p, views = built.exact
    affine = p["input"]["normalisation"]["batch"]
    running = built.variables["batch_stats"]["input"]["normalisation"]["batch"]
    mean, var = (np.asarray(running[name], np.float64) for name in ("mean", "var"))
    x = (views["shared"] - mean) / np.sqrt(var + 1e-3) * affine["gamma"] + affine["beta"]
    assert_logits(precision, built, mmoe(p, x, PAIR))

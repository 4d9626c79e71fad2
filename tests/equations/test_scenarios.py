"""Architectures that read scenarios or prior fields, against NumPy, and what makes them what they
are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import (
    FIELDS,
    PAIR,
    SCENARIOS,
    B,
    D,
    F,
    attend,
    dense,
    exact,
    group,
    options,
    relu,
    sigmoid,
    softmax,
    tower,
    usual,
    weighted,
)
from pair_equations import by_token, gelu, layer_norm, parts
from test_token_trunks import each

from dtn_jax.errors import UserError
from dtn_jax.models import build as architectures

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

MDL = {"mdl__tokens": 3, "mdl__head_dim": 2}


def gate_nu(p, name, *read):
    hidden = relu(dense(p[f"{name}_hidden"], np.concatenate(read, axis=-1)))
    return 2 * sigmoid(dense(p[name], hidden))


def pepnet(p, fields, scenario):
    x = fields.reshape(B, -1)
    scaled = x * gate_nu(p, "epnet", fields[:, 0], x)
    z, logits = np.concatenate(group(p["shared"], scaled), axis=-1), {}
    for t in PAIR.task_names:
        h, own = z, p[f"tower_{t}"]
        for layer, name in enumerate(("hidden_0", "logit")):
            h = dense(own[name], h * gate_nu(p, f"ppnet_{t}_{layer}", fields[:, 1], scaled))
            h = h if name == "logit" else relu(h)
        logits[t] = h[:, 0]
    return logits


def star(p, fields, scenario):
    z, logits = np.concatenate(group(p["shared"], fields.reshape(B, -1)), axis=-1), {}
    for t in PAIR.task_names:
        h = z
        for name in ("hidden_0", "logit"):
            q = p[f"tower_{t}"][name]
            W = q["scenario_kernel"][scenario] * q["kernel"]
            h = np.stack([row @ w for row, w in zip(h, W)])
            h = h + q["scenario_bias"][scenario] + q["bias"]
            h = h if name == "logit" else relu(h)
        known = np.concatenate([fields[:, 0], z], axis=-1)
        added = dense(p[f"auxiliary_logit_{t}"], relu(dense(p[f"auxiliary_{t}"], known)))
        logits[t] = (h + added)[:, 0]
    return logits


def scenario_towers(p, h):
    h = [relu(z) for z in by_token(p["hidden_0"], h)]
    return np.concatenate(by_token(p["logit"], h), axis=-1)


def hmoe(p, fields, scenario):
    x, logits = fields.reshape(B, -1), {}
    f = group(p["shared"], x)
    for t in PAIR.task_names:
        scores = np.split(dense(p[f"gate_{t}"], x), SCENARIOS, axis=-1)
        h = [weighted(softmax(s), f) for s in scores]
        s = scenario_towers(p[f"tower_{t}"], h)
        logits[t] = (softmax(dense(p[f"label_{t}"]["scores"], x)) * s).sum(-1)
    return logits


def ffn(p, x):
    return each(p["forward"], gelu(each(p["hidden"], x)))


def mdl(p, fields, scenario, tokens=3):
    x = fields.reshape(B, -1)
    F_ = each(p["fields"], np.stack(parts(x, tokens), axis=1))
    K = F_.shape[-1]
    S, T = (relu(dense(p[name], x)).reshape(B, -1, K) for name in ("scenarios", "tasks"))

    def attention(q, y):
        made = (each(q[n], z) for n, z in (("query", y), ("key", F_), ("value", F_)))
        return attend(*made, heads=1)

    for block in range(2):
        name = f"block_{block}"
        heads = F_.reshape(B, tokens, tokens, -1)
        mixed = np.stack([heads[:, :, h].reshape(B, -1) for h in range(tokens)], axis=1)
        F_ = ffn(p[f"{name}_fields"], layer_norm(p[f"{name}_mixed"], mixed + F_))
        S = attention(p[f"{name}_scenario_attention"], S) + S
        own = (S[np.arange(B), scenario] + S[:, -1]) / 2
        T = attention(p[f"{name}_task_attention"], T) + T + own[:, None]
        T = ffn(p[f"{name}_tasks"], T) + T
        if block == 0:
            S = ffn(p[f"{name}_scenarios"], S) + S
    return {t: tower(p[f"tower_{t}"], T[:, i]) for i, t in enumerate(PAIR.task_order())}


def m3oe(p, fields, scenario):
    x, rows = fields.reshape(B, -1), np.arange(B)

    def layer(name, z):
        return relu(layer_norm(p[f"{name}_norm"], dense(p[name], z)))

    def mixed(E, i, b):
        others = [E[n] for n in range(len(E)) if n != i]
        return b * E[i] + (1 - b) * sum(others) / len(others)

    star = p["star"]["kernel"] * p["star"]["scenario_kernel"][scenario]
    star = np.stack([row @ W for row, W in zip(x, star)])
    star = star + p["star"]["bias"] + p["star"]["scenario_bias"][scenario]
    u = layer("star_layer", star) + layer("skip", x)
    w_D, w_T, b_D, b_T = sigmoid(p["weights"])
    E_d = [sum(group(p[f"scenario_{d}"], u)) / 2 for d in range(SCENARIOS)]
    E_t = [sum(group(p[t], u)) / 2 for t in PAIR.task_order()]
    of_scenario = np.stack([mixed([E[b] for E in E_d], scenario[b], b_D) for b in range(B)])
    f, logits = group(p["shared"], u), {}
    for i, t in enumerate(PAIR.task_order()):
        gates = np.split(dense(p[f"gate_{t}"], u), SCENARIOS, axis=-1)
        a = np.stack([softmax(gates[d][b]) for b, d in enumerate(scenario)])
        z = weighted(a, f) + w_D * of_scenario + w_T * mixed(E_t, i, b_T)
        logits[t] = scenario_towers(p[f"tower_{t}"], [z] * SCENARIOS)[rows, scenario]
    return logits


CASES = {"pepnet": ({}, pepnet), "star": ({}, star), "hmoe": ({}, hmoe), "mdl": (MDL, mdl)}
CASES["m3oe"] = ({"m3oe__hidden": 5}, m3oe)


@pytest.mark.parametrize("name", CASES)
def test_it_is_its_equation(name, model):
    changes, equation = CASES[name]
    built = model(PAIR, **usual(name, **changes))
    p, views = built.exact
    scenario = np.maximum(built.inputs.ids["field_0"], 0)  # padding counts as unknown
    for task, logit in equation(p, views["shared"].reshape(B, F, D), scenario).items():
        assert len(set(logit)) == B
        np.testing.assert_allclose(built().logits[task], logit, rtol=1e-10, atol=1e-12)


def test_pepnet_whose_gates_are_1_is_a_shared_bottom(model):
    built, plain = model(PAIR, **usual("pepnet")), model(PAIR, **usual("shared_bottom"))

    def open_(params):
        for name in params:
            if name.startswith(("epnet", "ppnet")) and not name.endswith("_hidden"):
                params[name] = jax.tree.map(np.zeros_like, params[name])

    variables = built.edited(open_)
    same = {name: variables["params"][name] for name in plain.variables["params"]}
    expected = plain({"params": same}, built.inputs)
    for task, logit in built(variables).logits.items():
        np.testing.assert_allclose(logit, expected.logits[task], rtol=1e-12)


def test_star_with_equal_scenarios_is_a_shared_bottom(model):
    given = usual("star", star__auxiliary=0)
    built, plain = model(PAIR, **given), model(PAIR, **usual("shared_bottom"))

    def alike(params):
        for tower_ in (params["tower_click"], params["tower_order"]):
            for layer in tower_.values():
                layer["scenario_kernel"] = np.ones_like(layer["scenario_kernel"])
                layer["scenario_bias"] = np.zeros_like(layer["scenario_bias"])

    variables = built.edited(alike)
    same = {name: jax.tree.map(lambda a: a, part) for name, part in variables["params"].items()}
    for tower_ in (same["tower_click"], same["tower_order"]):
        for layer in tower_.values():
            del layer["scenario_kernel"], layer["scenario_bias"]
    expected = plain({"params": same}, built.inputs)
    for task, logit in built(variables).logits.items():
        np.testing.assert_allclose(logit, expected.logits[task], rtol=1e-12)


def test_m3oes_gates_move_nothing_below_them(model):
    built = model(PAIR, **usual("m3oe", m3oe__hidden=5))

    def first_gate(fields):
        inputs = built.inputs.replace(fields={"shared": fields})
        out = built.module.apply(built.variables, inputs, train=False)
        return next(iter(out.intermediates["gates"]["click"].values())).sum()

    assert not np.any(jax.jit(jax.grad(first_gate))(built.inputs.fields["shared"]))


def test_m3oes_effective_weights_are_all_that_scales_an_expert(model):
    """A task's towers read the sum of all experts' outputs, each times its effective weight."""
    built = model(PAIR, **usual("m3oe", m3oe__hidden=5))
    out, (p, _) = built(), built.exact
    experts, scenario = exact(out.intermediates["experts"]), built.inputs.ids["field_0"]
    for task in PAIR.task_names:
        weights = exact(out.intermediates["effective"][task])
        assert set(weights) == set(experts)
        z = sum(w[:, None] * experts[name] for name, w in weights.items())
        of_each = scenario_towers(p[f"tower_{task}"], [z] * SCENARIOS)
        logit = of_each[np.arange(B), np.maximum(scenario, 0)]
        np.testing.assert_allclose(logit, out.logits[task], rtol=1e-9)
        for name, share in out.intermediates["gates"][task].items():
            np.testing.assert_allclose(share, weights[name] / sum(weights.values()), rtol=1e-12)


def test_a_row_moves_its_own_scenarios_tower_of_hmoe_alone(model):
    built = model(PAIR, **usual("hmoe"))

    @jax.jit
    @jax.grad
    def gradient(params):
        out = built.module.apply({"params": params}, built.inputs, train=False)
        return out.logits["click"][2]  # of scenario 3

    leaf = gradient(built.variables["params"])["tower_click"]["hidden_0"]["kernel"]
    moved = np.abs(leaf).reshape(SCENARIOS, -1).max(1) > 0
    assert moved.tolist() == [False, False, False, True]


def test_pepnets_gates_move_no_embedding_that_they_only_look_at(model):
    """EPNet's gate has the scenario's embedding to learn from, and no other."""
    built = model(PAIR, **usual("pepnet"))

    def scale(fields):
        inputs = built.inputs.replace(fields={"shared": fields})
        found = built.module.apply(
            built.variables,
            inputs,
            train=False,
            capture_intermediates=lambda module, _: module.name == "epnet",
            mutable=["intermediates"],
        )[1]
        return jnp.sum(found["intermediates"]["epnet"]["__call__"][0])

    gradient = jax.jit(jax.grad(scale))(built.inputs.fields["shared"])
    assert np.abs(gradient[:, 0]).max() > 0
    assert np.abs(gradient[:, 1:]).max() == 0


def test_fields_are_found_by_their_role_or_given():
    bare = dataclasses.replace(
        PAIR, fields=tuple(dataclasses.replace(field, role="") for field in FIELDS)
    )
    for name in ("pepnet", "star", "hmoe", "mdl", "m3oe"):
        key = "domain" if name == "pepnet" else "scenario"
        architectures.build(options(architecture=name), PAIR)
        with pytest.raises(UserError, match=rf"role 'scenario'.*give model.{name}.{key}=FIELD"):
            architectures.build(options(architecture=name), bare)
        given = {"architecture": name, f"{name}__{key}": ("field_2",)}
        given |= {"pepnet__prior": ("field_0", "field_1")} if name == "pepnet" else {}
        architectures.build(options(**given), bare)
        given[f"{name}__{key}"] = ("feild_2",)
        with pytest.raises(UserError, match="Did you mean 'field_2'"):
            architectures.build(options(**given), bare)


def test_a_scenario_is_one_field_of_few_values():
    two = {"architecture": "star", "star__scenario": ("field_0", "field_1")}
    with pytest.raises(UserError, match=r"STAR reads one .* model\.star\.scenario=FIELD"):
        architectures.build(options(**two), PAIR)
    large = dataclasses.replace(FIELDS[0], rows=100_000)
    wide = dataclasses.replace(PAIR, fields=(large, *FIELDS[1:]))
    with pytest.raises(UserError, match=r"field_0 has 100,000 values; HMoE .* at most 500"):
        architectures.build(options(architecture="hmoe"), wide)

"""Trunks of tokens, INFNet and UniFormer, against NumPy, with histories and without."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import FIELDS, PAIR, B, D, attend, dense, relu, sigmoid, softmax, tower, usual
from pair_equations import by_token, gelu, parts

from dtn_jax.errors import UserError
from dtn_jax.interface import SHARED, History

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

INFNET = {"infnet__proxies": 3, "infnet__hidden": 7}
UNIFORMER = {
    "uniformer__tokens": 3,
    "uniformer__head_dim": 3,
    "uniformer__feature_layers": 2,
    "uniformer__task_layers": 2,
}


def histories():
    """Two histories; the first row has none of the one, the second none at all."""
    rng = np.random.default_rng(1)
    lengths = {"viewed": rng.integers(1, 5, B), "bought": rng.integers(0, 3, B)}
    lengths["bought"][0] = lengths["viewed"][1] = lengths["bought"][1] = 0
    slots = {"viewed": 4, "bought": 2}
    return {  # in the order in which JAX has dicts
        name: History(
            jnp.asarray(rng.normal(size=(B, slots[name], D))),
            jnp.asarray(np.arange(slots[name]) < length[:, None]),
        )
        for name, length in sorted(lengths.items())
    }


def infnet(p, fields, given, tasks, blocks=2):
    def mlp(name, x):
        return dense(p[name], relu(dense(p[f"{name}_hidden"], x)))

    def flow(name, q, sources):
        total = 0
        for i, (x, present) in enumerate(sources):
            if x is not None:
                w = p[f"{name}_{i}"]
                q_, k, v = (y @ w[n]["kernel"] for n, y in (("query", q), ("key", x), ("value", x)))
                total = total + attend(q_, k, v, 1, present)
        return total

    def gated(name, x, proxies):
        return x * sigmoid(mlp(name, proxies.reshape(B, -1)))[:, None]

    C = fields
    c = mlp("field_proxies", C.reshape(B, -1)).reshape(B, 3, D)
    T, t = (np.tile(p[name], (B, 1, 1)) for name in ("tasks", "task_proxies"))
    S = s = present = None
    if given:
        items, there = zip(*((np.asarray(h.items), np.asarray(h.present)) for h in given.values()))
        S, present = np.concatenate(items, axis=1), np.concatenate(there, axis=1)
        sums = [
            (dense(p["history_proxies"], x) * m[:, :, None]).sum(1) for x, m in zip(items, there)
        ]
        s = np.stack(sums, axis=1)
    for block in range(blocks):
        name = f"block_{block}"
        t = flow(f"{name}_task_proxies", t, [(C, None), (S, present)])
        found = flow(f"{name}_tasks", T, [(C, None), (S, present)])
        if block < blocks - 1:
            c = flow(f"{name}_fields", c, [(S, present), (T, None)])
            if S is not None:
                s = flow(f"{name}_items", s, [(C, None), (T, None)])
                S = gated(f"{name}_item_gate", S, s)
            C = gated(f"{name}_field_gate", C, c)
        T = gated(f"{name}_task_gate", found, t)
    return {task: tower(p[f"tower_{task}"], T[:, i]) for i, task in enumerate(tasks)}


def silu(x):
    return x * sigmoid(x)


def rms(p, x):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * p["scale"]


def each(p, x):
    """A layer of each token's own; of one's for all, where its kernel says so."""
    if p["kernel"].ndim == 2:
        return dense(p, x)
    return np.stack(by_token(p, list(np.moveaxis(x, 1, 0))), axis=1)


def swiglu(p, x):
    return silu(each(p["gate"], x)) * each(p["value"], x)


def ffn(p, x):
    return each(p["forward"], swiglu(p["hidden"], rms(p["norm"], x)))


def attention(p, q, x, present=None, heads=2):
    k, v = (x @ p[n]["kernel"] if n in p else x for n in ("key", "value"))
    return attend(q @ p["query"]["kernel"], k, v, heads, present) @ p["out"]["kernel"]


def refined(p, x):
    read = rms(p["self"], x)
    x = attention(p["self_attention"], read, read) + x
    return ffn(p["ffn"], x) + x


def uniformer(p, fields, given, tasks):
    a = b = swiglu(p["tokens"], np.stack(parts(fields.reshape(B, -1), 3), axis=1))
    items = {n: swiglu(p[f"history_{n}"], np.asarray(h.items)) for n, h in given.items()}
    for layer in range(2):
        q, h = p[f"feature_{layer}"], a
        if given:
            read, found = rms(q["asking"], a), []
            for name, history in given.items():
                kept = rms(q[f"history_{name}"], items[name])
                x = attention(q[f"attention_{name}"], read, kept, history.present) + a
                found.append(ffn(q[f"ffn_{name}"], x) + x)
            h = sum(w * x for w, x in zip(softmax(q["fusion"]), found))
        f = refined(q, np.concatenate([h, b], axis=1))
        a, b = np.split(f, 2, axis=1)
    F = rms(p["features"], f)
    T = np.tile(p["tasks"], (B, 1, 1))
    for layer in range(2):
        q = p[f"task_{layer}"]
        T = refined(q, attention(q["features"], rms(q["asking"], T), F) + T)
    return {task: tower(p[f"tower_{task}"], T[:, i]) for i, task in enumerate(tasks)}


def onetrans(p, fields, given, tasks, blocks=2):
    N = dense(p["tokens"], fields.reshape(B, -1)).reshape(B, 3, -1)
    sequence = []
    for name, history in given.items():
        if sequence:
            sequence.append((np.tile(p[f"before_{name}"], (B, 1, 1)), np.ones((B, 1), bool)))
        items = dense(p[f"history_{name}"], np.asarray(history.items))
        sequence.append((items, np.asarray(history.present)))
    slots = sum(there.shape[1] for _, there in sequence)
    logits = {task: np.zeros(B) for task in tasks}
    for b in range(B):  # a row's tokens without its padding, each with its place in the sequence
        kept = [item for items, there in sequence for item in items[b][there[b]]]
        X = [*zip(range(slots - len(kept), slots), kept), *zip(range(slots, slots + 3), N[b])]
        for block in range(blocks):
            q = p[f"block_{block}"]
            least = slots - slots * (blocks - 1 - block) // blocks
            X = mixed_block(q, X, slots, least)
        z = np.concatenate([x for _, x in X])[None]
        for task in tasks:
            logits[task][b] = tower(p[f"tower_{task}"], z)[0]
    return logits


def mixed_block(p, X, slots, least, heads=2):
    """Of one row's tokens, (place, vector) each; those from the place `least` on stay."""

    def mixed(name, place, x):
        if place < slots:
            return dense(p[f"{name}_shared"], x)
        own = p[f"{name}_own"]
        return x @ own["kernel"][place - slots] + own["bias"][place - slots]

    asked = [(i, rms(p["asking"], x)) for i, x in X]
    k, v = (np.stack([mixed(n, i, x) for i, x in asked]) for n in ("key", "value"))
    made = []
    for n, (i, x) in enumerate(X):
        if i >= least:
            q = mixed("query", *asked[n])
            z = x + attend(q[None, None], k[None, : n + 1], v[None, : n + 1], heads)[0, 0]
            h = gelu(mixed("hidden", i, rms(p["forwarding"], z)))
            made.append((i, z + mixed("forward", i, h)))
    return made


ONETRANS = {"onetrans__tokens": 3, "onetrans__heads": 2, "onetrans__head_dim": 3}
CASES = {
    "infnet": (INFNET, infnet),
    "uniformer": (UNIFORMER, uniformer),
    "onetrans": (ONETRANS, onetrans),
}


@pytest.mark.parametrize("read", [True, False], ids=["histories", "no histories"])
@pytest.mark.parametrize("name", CASES)
def test_a_trunk_is_its_equation(name, read, model, random_variables):
    options, equation = CASES[name]
    given = histories() if read else {}
    plain = model(PAIR, **usual(name, **options))
    inputs = plain.inputs.replace(histories={SHARED: given} if read else {})
    variables = random_variables(plain.module, inputs, train=False)
    out = jax.jit(functools.partial(plain.module.apply, train=False))(variables, inputs)
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    expected = equation(p, np.asarray(inputs.fields[SHARED]), given, PAIR.task_order())
    for task, logit in expected.items():
        assert len(set(logit)) == B
        np.testing.assert_allclose(out.logits[task], logit, rtol=1e-10, atol=1e-12)
    gates = out.intermediates.get("gates", {})
    assert bool(gates) == (name != "rankmixer")
    for weights in gates.values():
        np.testing.assert_allclose(sum(weights.values()), 1, rtol=1e-10)
        assert all(weight.shape == (B,) for weight in weights.values())


def test_inputs_of_any_size_leave_uniformer_finite(model):
    built = model(PAIR, **{**usual("uniformer"), "dtype": "float32"})
    large = jax.tree.map(lambda x: x.astype(jnp.float32) * 1e4, built.inputs.fields)
    variables = jax.tree.map(lambda a: a.astype(jnp.float32), built.variables)
    out = built(variables, built.inputs.replace(fields=large))
    assert all(np.isfinite(logit).all() for logit in out.logits.values())


GROUPED = {  # {architecture: the layer that makes its tokens}
    "rankmixer": "tokens",
    "infnet": "fields",
    "uniformer": "tokens/gate",
    "mdl": "fields",
    "onetrans": "tokens",
}


@pytest.mark.parametrize("name", GROUPED)
def test_a_token_is_made_of_the_fields_of_its_group(name, model):
    """Those of no group make one more; the option chooses others than the schema."""
    tokens = {"field_0": "where", "field_1": "where"}
    fields = [dataclasses.replace(f, tokens=tokens.get(f.name, "")) for f in FIELDS]
    grouped = dataclasses.replace(PAIR, fields=tuple(fields))
    built, given = (
        model(grouped, **usual(name)),
        usual(name, **{f"{name}__fields": "a=field_0+field_1"}),
    )
    kernel = functools.reduce(lambda p, part: p[part], GROUPED[name].split("/"), built.exact[0])
    assert kernel["kernel"].shape[:2] == (2, 2 * D)
    parts = built.module.bind(built.variables).parts(
        built.inputs.fields[SHARED], built.inputs.names, 0
    )
    e = np.asarray(built.inputs.fields[SHARED])
    np.testing.assert_array_equal(parts[:, 0], e[:, :2].reshape(B, -1))
    np.testing.assert_array_equal(parts[:, 1], np.concatenate([e[:, 2], 0 * e[:, 2]], axis=-1))
    same = built().logits
    chosen = model(PAIR, **given)(built.variables, built.inputs).logits
    jax.tree.map(np.testing.assert_array_equal, chosen, same)
    with pytest.raises(UserError, match="Did you mean 'field_1'"):
        model(PAIR, **usual(name, **{f"{name}__fields": "a=field_0+feild_1"}))

"""Histories pooled by the item at hand, against NumPy, and what makes each way what it is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import attend, layer_norm, softmax

from dtn_jax.errors import UserError
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.histories.bst import BST
from dtn_jax.models.histories.din import DIN
from dtn_jax.models.histories.target_attention import TargetAttention

B, S, D = 5, 7, 8
LENGTHS = np.asarray([7, 3, 1, 0, 4])  # of the histories; the fourth is empty
PRESENT = np.arange(S)[None] < LENGTHS[:, None]
WAYS = {"softmax": DIN(hidden=(6,), softmax=True), **{n: w() for n, w in HISTORIES.items()}}


pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")


def given(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    items = rng.normal(size=(B, S, D)) * PRESENT[:, :, None]
    return rng.normal(size=(B, D)).astype(dtype), items.astype(dtype)


@functools.cache
def made(name, random_variables):
    """A way's parameters, and a function of target, items and present, in float64."""
    module = WAYS[name].clone(dtype=np.float64)
    inputs = *map(jnp.asarray, given()), jnp.asarray(PRESENT)
    variables = random_variables(module, *inputs, False)
    apply = jax.jit(lambda t, e, p: module.apply(variables, t, e, p, False))
    return jax.tree.map(np.asarray, variables["params"]), apply


def din(params, target, items, present, normalised):
    found = np.zeros((B, D))
    for b in range(B):
        weights = []
        for s in range(S):
            pair = np.concatenate([items[b, s], target[b] * items[b, s]])
            x = pair @ params["pairs"]["kernel"] + params["pairs"]["bias"]
            x = x + target[b] @ params["target"]["kernel"]
            x = np.where(x > 0, x, params["PReLU_0"]["negative_slope"] * x)
            weights.append((x @ params["weight"]["kernel"] + params["weight"]["bias"])[0])
        here = np.flatnonzero(present[b])
        weights = np.asarray(weights)[here]
        if normalised and len(here):
            weights = softmax(weights)
        for w, s in zip(weights, here):
            found[b] += w * items[b, s]
    return found


def heads_of(params, asking, asked, heads):
    """Of one example: what each row of `asking` gets from `asked`."""
    params = params["attention"]
    given = (asking, "query"), (asked, "key"), (asked, "value")
    q, k, v = ((x @ params[name]["kernel"])[None] for x, name in given)
    return attend(q, k, v, heads)[0] @ params["out"]["kernel"]


def target_attention(params, target, items, present):
    found = np.zeros((B, D))
    for b in range(B):
        if present[b].any():
            found[b] = heads_of(params, target[b][None], items[b][present[b]], 2)[0]
    return found


def bst(params, target, items, present):
    found = np.zeros((B, D))
    for b in range(B):
        count = int(present[b].sum())
        if not count:
            continue
        x = np.concatenate([items[b, :count], target[b][None]])
        x = x + params["ages"][np.arange(count, -1, -1)]
        m = layer_norm(params["attended"], x + heads_of(params, x, x, 2))
        y = m @ params["hidden"]["kernel"] + params["hidden"]["bias"]
        y = np.where(y > 0, y, 0.01 * y) @ params["forward"]["kernel"] + params["forward"]["bias"]
        found[b] = layer_norm(params["forwarded"], m + y)[-1]
    return found


REFERENCES = {
    "din": lambda *a: din(*a, False),
    "softmax": lambda *a: din(*a, True),
    "target_attention": target_attention,
    "bst": bst,
}


@pytest.mark.parametrize("name", WAYS)
def test_against_numpy(name, random_variables):
    params, apply = made(name, random_variables)
    got, expected = apply(*given(), PRESENT), REFERENCES[name](params, *given(), PRESENT)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(got[3], 0)  # an empty history


@pytest.mark.parametrize("name", WAYS)
def test_padding_changes_nothing_and_gets_no_gradient(name, random_variables):
    _, apply = made(name, random_variables)
    target, items = given()
    wild = np.where(PRESENT[:, :, None], items, 1e3)
    plain = apply(target, items, PRESENT)
    np.testing.assert_allclose(apply(target, wild, PRESENT), plain, rtol=1e-12)
    if name != "bst":  # whose parameters know S
        longer = np.pad(items, ((0, 0), (0, 4), (0, 0))), np.pad(PRESENT, ((0, 0), (0, 4)))
        np.testing.assert_allclose(apply(target, *longer), plain, rtol=1e-12)
    slope = jax.jit(jax.grad(lambda e: jnp.sum(apply(target, e, PRESENT) ** 2)))
    gradient = np.asarray(slope(items))
    assert (gradient[~PRESENT] == 0).all()
    assert (np.abs(gradient[PRESENT]).max(axis=-1) > 0).all()


@pytest.mark.parametrize("way", [TargetAttention, BST])
def test_heads_that_do_not_divide_the_width_are_refused(way):
    inputs = *map(jnp.asarray, given(np.float32)), jnp.asarray(PRESENT)
    with pytest.raises(UserError, match="3 heads do not divide the embedding's width 8"):
        jax.eval_shape(lambda: way(heads=3).init(jax.random.key(0), *inputs, False))

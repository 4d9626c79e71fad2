"""Gates, mixing and the task-sensitive network against their equations; the tower; dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import softmax

from dtn_jax.models.dropout import Dropout
from dtn_jax.models.flops import forward_flops
from dtn_jax.models.gates import Gate, ScoreGate, mix, tsn
from dtn_jax.models.tower import Tower

pytestmark = pytest.mark.usefixtures("quick_to_compile")

B, M, H, W = 7, 3, 4, 5
EXACT = pytest.mark.parametrize("precision", ["float64"], indirect=True)


def draw(dtype, *shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def exact(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


@EXACT
@pytest.mark.parametrize("use_bias", [True, False])
def test_gate(use_bias, precision, random_variables):
    gate = Gate(M, use_bias=use_bias, dtype=precision.dtype)
    x = draw(precision.dtype, B, W)
    variables = random_variables(gate, x)
    p = exact(variables["params"]["scores"])
    assert set(p) == ({"kernel", "bias"} if use_bias else {"kernel"})
    expected = softmax(exact(x) @ p["kernel"] + p.get("bias", 0))
    precision.assert_close(jax.jit(gate.apply)(variables, x), expected)


@EXACT
def test_score_gate(precision, random_variables):
    gate = ScoreGate(precision.dtype)
    experts = list(draw(precision.dtype, M, B, H))
    variables = random_variables(gate, experts, scale=1.0)
    p = exact(variables["params"])
    scores = [
        exact(f) @ p[f"score_{m}"]["kernel"][:, 0] + p[f"score_{m}"]["bias"]
        for m, f in enumerate(experts)
    ]
    scores = np.stack(scores, axis=-1)
    assert np.any(scores < 0)  # so that a missing relu is seen
    precision.assert_close(jax.jit(gate.apply)(variables, experts), softmax(np.maximum(scores, 0)))
    flops = forward_flops(gate.apply, variables, experts)
    assert flops == B * 2 * M * H


def test_weights_are_float32_whatever_the_computation(random_variables):
    x, experts = draw(jnp.bfloat16, B, W), list(draw(jnp.bfloat16, M, B, H))
    gate = Gate(M, use_bias=True, dtype=jnp.bfloat16)

    @jax.jit
    def apply(variables):
        weights = gate.apply(variables, x)
        return weights, mix(weights, experts), tsn(experts, weights[:, 0])[0]

    weights, mixed, scaled = apply(random_variables(gate, x))
    assert weights.dtype == jnp.float32
    np.testing.assert_allclose(np.sum(weights, axis=-1), 1, rtol=1e-6)
    assert mixed.dtype == scaled.dtype == jnp.bfloat16


@EXACT
def test_mix(precision):
    experts = list(draw(precision.dtype, M, B, H))
    weights = draw(precision.dtype, B, M, seed=1)
    expected = np.einsum("bm,mbh->bh", exact(weights), np.stack(exact(experts)))
    precision.assert_close(jax.jit(mix)(weights, experts), expected)
    assert forward_flops(mix, weights, experts) == 0
    with pytest.raises(ValueError, match="got 3 weights for 2 experts"):
        mix(weights, experts[:2])


@EXACT
def test_tsn(precision):
    experts = list(draw(precision.dtype, M, B, H))
    p = draw(precision.dtype, B, seed=1)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
    def total(p, experts):
        scaled = tsn(experts, p)
        return sum(jnp.sum(f) for f in scaled), scaled

    (into_p, into_experts), scaled = total(p, experts)
    for got, f in zip(scaled, experts, strict=True):
        precision.assert_close(got, exact(p)[:, None] * exact(f))
    assert np.all(into_p == 0)
    precision.assert_close(into_experts[0], np.repeat(exact(p)[:, None], H, axis=1))


@EXACT
def test_tower(precision, random_variables):
    tower = Tower(hidden=(6, 3), dropout=0.5, dtype=precision.dtype)
    z = draw(precision.dtype, B, W)
    variables = random_variables(tower, z, train=False)
    h = exact(z)
    for p in (exact(variables["params"][f"hidden_{layer}"]) for layer in range(2)):
        h = np.maximum(h @ p["kernel"] + p["bias"], 0)
    p = exact(variables["params"]["logit"])
    expected = h @ p["kernel"][:, 0] + p["bias"]
    precision.assert_close(
        jax.jit(functools.partial(tower.apply, train=False))(variables, z), expected
    )


def test_tower_dropout_and_dtype(random_variables):
    z = draw(jnp.float32, B, W)
    tower = Tower(hidden=(50,), dropout=0.5, dtype=jnp.bfloat16)
    variables = random_variables(tower, z, train=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}

    @functools.partial(jax.jit, static_argnums=1)
    def apply(key, train):
        return tower.apply(variables, z, train=train, rngs={"dropout": jax.random.key(key)})

    still, one, again, two = apply(0, False), *(apply(key, True) for key in (0, 0, 1))
    assert still.dtype == jnp.float32
    rounded = np.asarray(still).astype(jnp.bfloat16).astype(np.float32)
    assert np.any(still != rounded)  # so that rows do not tie
    np.testing.assert_array_equal(one, again)
    assert np.any(one != two)
    assert np.any(one != still)


def test_a_tower_has_one_layer_of_64_and_drops_nothing_unless_it_is_told():
    assert (Tower().hidden, Tower().dropout) == ((64,), 0)


@pytest.mark.parametrize("shape", [(8,), (8, 2, 5, 3)])
def test_each_number_has_the_draw_of_its_place_in_the_batch(shape):
    """In whatever form it is drawn: an old run resumes with the same draws."""
    x, rate = draw(jnp.float32, *shape), np.float32(0.3)
    rngs, module = {"dropout": jax.random.key(1)}, Dropout(0.3)
    found = jax.jit(lambda x: module.apply({}, x, True, rngs=rngs))(x)
    key = module.bind({}, rngs=rngs).make_rng("dropout")
    kept = np.asarray(jax.random.bernoulli(key, 1 - rate, shape))
    np.testing.assert_array_equal(np.asarray(found) != 0, kept)
    np.testing.assert_allclose(found, np.where(kept, np.asarray(x) / (1 - rate), 0), rtol=1e-6)
    assert 0 < kept.mean() < 1

"""Gates, mixing and the task-sensitive network against their equations; the tower."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtn_jax.models.flops import forward_flops
from dtn_jax.models.gates import Gate, ScoreGate, mix, tsn
from dtn_jax.models.tower import Tower

B, M, H, W = 7, 3, 4, 5


def softmax(scores):
    e = np.exp(scores)
    return e / e.sum(-1, keepdims=True)


def draw(dtype, *shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def exact(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


@pytest.mark.parametrize("use_bias", [True, False])
def test_gate(use_bias, precision, random_variables):
    gate = Gate(M, use_bias=use_bias, dtype=precision.dtype)
    x = draw(precision.dtype, B, W)
    variables = random_variables(gate, x)
    p = exact(variables["params"]["scores"])
    assert set(p) == ({"kernel", "bias"} if use_bias else {"kernel"})
    expected = softmax(exact(x) @ p["kernel"] + p.get("bias", 0))
    precision.assert_close(gate.apply(variables, x), expected)


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
    precision.assert_close(gate.apply(variables, experts), softmax(np.maximum(scores, 0)))
    flops = forward_flops(gate.apply, variables, experts)
    assert flops == B * 2 * M * H


def test_weights_are_float32_whatever_the_computation(random_variables):
    x = draw(jnp.bfloat16, B, W)
    gate = Gate(M, use_bias=True, dtype=jnp.bfloat16)
    weights = gate.apply(random_variables(gate, x), x)
    assert weights.dtype == jnp.float32
    np.testing.assert_allclose(np.sum(weights, axis=-1), 1, rtol=1e-6)
    experts = list(draw(jnp.bfloat16, M, B, H))
    assert mix(weights, experts).dtype == jnp.bfloat16
    assert tsn(experts, weights[:, 0])[0].dtype == jnp.bfloat16


def test_mix(precision):
    experts = list(draw(precision.dtype, M, B, H))
    weights = draw(precision.dtype, B, M, seed=1)
    expected = np.einsum("bm,mbh->bh", exact(weights), np.stack(exact(experts)))
    precision.assert_close(mix(weights, experts), expected)
    assert forward_flops(mix, weights, experts) == 0
    with pytest.raises(ValueError, match="got 3 weights for 2 experts"):
        mix(weights, experts[:2])


def test_tsn(precision):
    experts = list(draw(precision.dtype, M, B, H))
    p = jax.nn.sigmoid(draw(precision.dtype, B, seed=1))
    for got, f in zip(tsn(experts, p), experts, strict=True):
        precision.assert_close(got, exact(p)[:, None] * exact(f))

    def total(p, experts):
        return sum(jnp.sum(f) for f in tsn(experts, p))

    into_p, into_experts = jax.grad(total, argnums=(0, 1))(p, experts)
    assert np.all(into_p == 0)
    precision.assert_close(into_experts[0], np.repeat(exact(p)[:, None], H, axis=1))


def test_tower(precision, random_variables):
    tower = Tower(hidden=(6, 3), dropout=0.5, dtype=precision.dtype)
    z = draw(precision.dtype, B, W)
    variables = random_variables(tower, z, train=False)
    h = exact(z)
    for p in (exact(variables["params"][f"hidden_{layer}"]) for layer in range(2)):
        h = np.maximum(h @ p["kernel"] + p["bias"], 0)
    p = exact(variables["params"]["logit"])
    expected = h @ p["kernel"][:, 0] + p["bias"]
    precision.assert_close(tower.apply(variables, z, train=False), expected)


def test_tower_dropout_and_dtype(random_variables):
    z = draw(jnp.float32, B, W)
    tower = Tower(hidden=(50,), dropout=0.5, dtype=jnp.bfloat16)
    variables = random_variables(tower, z, train=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    still = tower.apply(variables, z, train=False)
    one, again, two = (
        tower.apply(variables, z, train=True, rngs={"dropout": jax.random.key(key)})
        for key in (0, 0, 1)
    )
    assert still.dtype == jnp.float32
    assert np.any(still != still.astype(jnp.bfloat16))  # so that rows do not tie
    np.testing.assert_array_equal(one, again)
    assert np.any(one != two)
    assert np.any(one != still)

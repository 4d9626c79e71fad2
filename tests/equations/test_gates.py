"""The task-sensitive network, dtypes of gates and towers, dropout.

The equations of gates and towers are tested where architectures use them: test_architectures.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtn_jax.models.dropout import Dropout
from dtn_jax.models.gates import Gate, mix, tsn
from dtn_jax.models.tower import Tower

pytestmark = pytest.mark.usefixtures("quick_to_compile")

B, M, H, W = 7, 3, 4, 5


def draw(dtype, *shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def exact(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


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


def test_as_many_weights_as_experts_are_mixed():
    with pytest.raises(ValueError, match="got 3 weights for 2 experts"):
        mix(draw("float32", B, 3), list(draw("float32", 2, B, H)))


@pytest.mark.parametrize("precision", ["float64"], indirect=True)
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

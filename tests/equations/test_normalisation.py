"""Normalisation against its equations, with masked rows; running statistics."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import exact

from dtn_jax.models.normalisation import Normalisation

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

B, F, D = 8, 3, 2


def draw(dtype=jnp.float64, seed=0):
    rng = np.random.default_rng(seed)
    fields = jnp.asarray(rng.normal(size=(B, F, D), loc=1.0, scale=2.0), dtype)
    return fields, jnp.asarray(rng.random(B) < 0.7)


@functools.partial(jax.jit, static_argnums=(0, 4))
def apply(kind, variables, fields, row_mask, train):
    """(output, new running statistics)."""
    module = Normalisation(kind)
    y, new = module.apply(variables, fields, row_mask, train, mutable=["batch_stats"])
    return y, new.get("batch_stats", {}).get("batch")


@pytest.fixture
def batch(random_variables):
    """(variables, fields, row_mask) of a batch normalisation."""
    given = draw()
    return random_variables(Normalisation("batch"), *given, train=False), *given


def assert_close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_layer(random_variables):
    fields, row_mask = draw()
    variables = random_variables(Normalisation("layer"), fields, row_mask, train=False)
    p = exact(variables["params"]["layer"])
    assert sum(leaf.size for leaf in p.values()) == 2 * F * D
    x = exact(fields).reshape(B, -1)
    centred = x - x.mean(-1, keepdims=True)
    y = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]
    got, _ = apply("layer", variables, fields, row_mask, True)
    assert_close(got, y.reshape(B, F, D))


def test_batch_in_training(batch):
    variables, fields, row_mask = batch
    p, old = exact(variables["params"]["batch"]), exact(variables["batch_stats"]["batch"])
    assert sum(leaf.size for leaf in p.values()) == 2 * F * D
    x = exact(fields).reshape(B, -1)
    kept = x[np.asarray(row_mask)]
    assert 1 < len(kept) < B
    mean, var = kept.mean(0), kept.var(0)
    y = (x - mean) / np.sqrt(var + 1e-3) * p["gamma"] + p["beta"]
    # the third batch's share is 1/3; from the hundredth on it is 1 - MOMENTUM
    for seen, share in ((2.0, 1 / 3), (500.0, 0.01)):
        stats = {**variables["batch_stats"]["batch"], "batches": jnp.asarray(seen, fields.dtype)}
        here = {**variables, "batch_stats": {"batch": stats}}
        got, new = apply("batch", here, fields, row_mask, True)
        assert_close(got, y.reshape(B, F, D))
        assert_close(new["mean"], (1 - share) * old["mean"] + share * mean)
        assert_close(new["var"], (1 - share) * old["var"] + share * var)
        assert new["batches"] == seen + 1


def test_batch_in_inference(batch):
    variables, fields, row_mask = batch
    p, old = exact(variables["params"]["batch"]), exact(variables["batch_stats"]["batch"])
    x = exact(fields).reshape(B, -1)
    y = (x - old["mean"]) / np.sqrt(old["var"] + 1e-3) * p["gamma"] + p["beta"]
    got, new = apply("batch", variables, fields, row_mask, False)
    assert_close(got, y.reshape(B, F, D))
    for name in ("mean", "var"):
        np.testing.assert_array_equal(new[name], variables["batch_stats"]["batch"][name])


def test_masked_rows_change_nothing(batch):
    variables, fields, row_mask = batch
    kept = np.asarray(row_mask)
    spoilt = np.where(kept[:, None, None], fields, 1e6)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def step(params, fields):
        here = {**variables, "params": params}
        y, new = apply("batch", here, fields, row_mask, True)
        return jnp.sum(jnp.where(row_mask[:, None, None], y, 0) ** 2), (y[kept], new)

    clean, dirty = (step(variables["params"], x) for x in (np.asarray(fields), spoilt))
    chex.assert_trees_all_equal(dirty, clean)


def test_a_batch_of_padding_leaves_the_statistics(batch):
    variables, fields, _ = batch
    y, new = apply("batch", variables, fields, np.zeros(B, bool), True)
    assert np.all(np.isfinite(y))
    chex.assert_trees_all_equal(new, variables["batch_stats"]["batch"])

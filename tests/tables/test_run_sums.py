"""Sums over runs of equal neighbours, against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtn_jax.tables.run_sums import BLOCK, rank_sums, run_sums


def loop(starts, values):
    """The same, place by place."""
    found = np.array(values)
    for i in range(1, len(values)):
        if not starts[i]:
            found[i] = found[i - 1] + values[i]
    return found


@pytest.mark.parametrize("n", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK**2, 5 * BLOCK**2 + 3])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])  # of places that start a run
@pytest.mark.parametrize("rest", [(), (3,)])
def test_sums_equal_a_loop(n, share, rest):
    rng = np.random.default_rng(n)
    starts = rng.random(n) < share
    starts[0] = True
    values = rng.integers(-9, 9, (n, *rest)).astype(np.int32)
    found = run_sums(jnp.asarray(starts), jnp.asarray(values))
    np.testing.assert_array_equal(found, loop(starts, values))


def test_a_run_is_summed_alike_wherever_it_stands():
    """Within a block, that is: sums depend on a run's place in the sorted batch alone."""
    values = np.random.default_rng(0).normal(size=(4 * BLOCK, 2)).astype(np.float32)
    starts = np.arange(4 * BLOCK) % BLOCK == 0
    at_once = np.asarray(run_sums(jnp.asarray(starts), jnp.asarray(values)))
    for block in range(4):
        part = slice(block * BLOCK, (block + 1) * BLOCK)
        alone = np.asarray(run_sums(jnp.asarray(starts[:BLOCK]), jnp.asarray(values[part])))
        np.testing.assert_array_equal(at_once[part], alone)


@pytest.mark.parametrize("most", [1, 2, 7, 64])
def test_sums_of_short_runs_equal_a_loop(most):
    rng = np.random.default_rng(most)
    lengths = rng.integers(1, most + 1, 40)
    starts = np.zeros(lengths.sum(), bool)
    starts[np.cumsum(lengths) - lengths] = True
    values = rng.integers(-9, 9, (len(starts), 3)).astype(np.int32)
    found = rank_sums(jnp.asarray(starts), jnp.asarray(values), most)
    np.testing.assert_array_equal(found, loop(starts, values))


def test_a_short_run_is_summed_alike_wherever_it_stands():
    values = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    sums = []
    for before in range(20):
        starts = np.ones(before + 8, bool)
        starts[before + 1 : before + 7] = False
        padded = np.pad(values, ((before, 1), (0, 0)), constant_values=1e8)
        found = rank_sums(jnp.asarray(starts), jnp.asarray(padded), 7)
        sums.append(np.asarray(found)[before + 6])
    np.testing.assert_array_equal(sums, sums[:1] * 20)


def test_an_infinite_gradient_stays_in_its_own_run():
    values = jnp.asarray([[1.0], [jnp.inf], [2.0], [3.0]])
    starts = jnp.asarray([True, False, True, False])
    assert run_sums(starts, values)[:, 0].tolist() == [1.0, np.inf, 2.0, 5.0]


def test_nothing_is_scattered():
    text = jax.jit(run_sums).lower(jnp.ones(99, bool), jnp.ones((99, 4))).as_text()
    assert "scatter" not in text

"""Row updates against plain numpy loops, and that they touch nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from dtn_jax.optimizers import table_updater
from dtn_jax.tables import row_optimizers as ro
from dtn_jax.tables.stored_rows import BITS, numbers, to_bits

V, D, RATE, L2 = 12, 3, 0.1, 0.01
B1, B2, EPS = 0.9, 0.99, 1e-8
OPTIMIZERS = {"sgd": ro.sgd(), "adagrad": ro.adagrad(EPS), "adam": ro.adam(B1, B2, EPS)}
BATCHES = [
    [3, 1, 3, 3, 0],
    [3, 11, 12, 12, 0],
    [5, 5, 5, 5, 5],
    [12, 12, 12, 12, 12],
]  # 12: padding


def reference(name, table, batches, gradients):
    """The same by a loop over rows, from the papers' update rules."""
    table = table.copy()
    total, m, v = np.zeros(V), np.zeros((V, D)), np.zeros((V, D))
    count = np.zeros(V)
    for ids, gradient in zip(batches, gradients, strict=True):
        for row in sorted({i for i in ids if i < V}):
            g = sum(gradient[k] for k, i in enumerate(ids) if i == row) + L2 * table[row]
            if name == "sgd":
                table[row] -= RATE * g
            elif name == "adagrad":
                total[row] += (g**2).mean()
                table[row] -= RATE * g / (np.sqrt(total[row]) + EPS)
            else:
                count[row] += 1
                m[row] = B1 * m[row] + (1 - B1) * g
                v[row] = B2 * v[row] + (1 - B2) * g**2
                m_hat, v_hat = m[row] / (1 - B1 ** count[row]), v[row] / (1 - B2 ** count[row])
                table[row] -= RATE * m_hat / (np.sqrt(v_hat) + EPS)
    return table


def scalars(rate, l2, dtype="float32", step=0):
    return ro.Scalars(jnp.asarray(rate, dtype), jnp.asarray(l2, dtype), jnp.int32(step))


def look_up(table, ids):
    return table.at[jnp.asarray(ids)].get(mode="fill", fill_value=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("short", [0, V])  # rows by sort, and the table as a whole
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_updates_equal_a_loop_over_rows(name, short, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(ro, "SHORT", short)
    rng = np.random.default_rng(0)
    start = rng.normal(size=(V, D))
    gradients = [rng.normal(size=(5, D)) for _ in BATCHES]
    with jax.enable_x64(dtype == "float64"):
        table = jnp.asarray(start, dtype)
        slots = OPTIMIZERS[name].init(table)
        for ids, gradient in zip(BATCHES, gradients, strict=True):
            table, slots = ro.update(
                OPTIMIZERS[name],
                table,
                slots,
                jnp.asarray(ids, jnp.int32),
                look_up(table, ids),
                jnp.asarray(gradient, dtype),
                scalars(RATE, L2, dtype),
            )
        expected = reference(name, start, BATCHES, gradients)
        np.testing.assert_allclose(table, expected, rtol=tolerance, atol=tolerance)
        untouched = [i for i in range(V) if i not in {3, 1, 0, 11, 5}]
        np.testing.assert_array_equal(np.asarray(table)[untouched], start.astype(dtype)[untouched])


@pytest.mark.parametrize("ids", [*BATCHES, [4, 3, 2, 1, 0]])
def test_unique_rows_are_sorted_unique_and_keep_the_sum(ids):
    gradient = np.arange(5 * D, dtype=np.float32).reshape(5, D)
    found = ro.unique_rows(jnp.asarray(ids, jnp.int32), jnp.asarray(gradient), V)
    rows, summed, source = (np.asarray(a) for a in found)
    assert [ids[s] for s in source[rows < V]] == rows[rows < V].tolist()
    assert (np.diff(rows) > 0).all()  # sorted and unique, the tail out of range included
    for row in set(ids) - {V}:
        expected = gradient[np.asarray(ids) == row].sum(axis=0)
        np.testing.assert_allclose(summed[rows == row][0], expected)
    assert set(rows[rows < V]) == set(ids) - {V}


def test_the_dense_option_is_optax_adam_on_the_whole_table():
    rng = np.random.default_rng(0)
    start = jnp.asarray(rng.normal(size=(V, D)), jnp.float32)
    optim = base.get_config().optim
    optim.tables = "dense"
    init, update = table_updater(optim)
    table, slots = start, init(start)
    adam = optax.adam(RATE, optim.b1, optim.b2, optim.eps)
    expected, state = start, adam.init(start)
    for ids in BATCHES[:3]:
        gradient = rng.normal(size=(5, D)).astype(np.float32)
        given = jnp.asarray(ids), look_up(table, ids), jnp.asarray(gradient)
        table, slots = update(table, slots, *given, scalars(RATE, L2))
        dense = np.zeros((V, D), np.float32)
        for row, g in zip(ids, gradient, strict=True):
            if row < V:
                dense[row] += g
        for row in {i for i in ids if i < V}:
            dense[row] += L2 * np.asarray(expected)[row]
        moves, state = adam.update(jnp.asarray(dense), state)
        expected = optax.apply_updates(expected, moves)
        np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-6)


def test_an_update_copies_no_table():
    """The compiled update writes in place: its temporaries do not grow with the table."""

    def temporaries(rows):
        table = jnp.zeros((rows, 8))
        adam = OPTIMIZERS["adam"]

        def step(table, slots, ids, gradient):
            looked_up = look_up(table, ids)
            return ro.update(adam, table, slots, ids, looked_up, gradient, scalars(1, 1))

        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(
            table, adam.init(table), jnp.zeros(64, jnp.int32), jnp.zeros((64, 8))
        )
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporaries(200_000) < 1.1 * temporaries(2_000) + 4096


def test_bfloat16_rounds_at_random_and_right_on_average():
    """To one of the two neighbours, each as often as it is near; the same wherever a row stands."""
    rng = np.random.default_rng(0)
    old, values = (jnp.asarray(rng.uniform(1.0, 2.0, (20_000, 8)), jnp.float32) for _ in "ab")
    step = jnp.int32(7)
    stored = numbers(ro.rounded(values, old, step, BITS))
    np.testing.assert_array_equal(stored, stored.astype(jnp.bfloat16).astype(jnp.float32))
    spacing = 2.0**-7  # of bfloat16 in [1, 2)
    error = np.asarray(stored, np.float64) - np.asarray(values)
    assert np.abs(error).max() < spacing
    assert abs(error.mean()) < 4 * spacing / np.sqrt(error.size)
    part = (np.asarray(values) / spacing) % 1  # the share of the way to the upper neighbour
    up = np.asarray(stored, np.float64) > np.asarray(values)
    for low in np.arange(0, 1, 0.1):
        inside = (part >= low) & (part < low + 0.1)
        assert abs(up[inside].mean() - part[inside].mean()) < 0.02
    backwards = numbers(ro.rounded(values[::-1], old[::-1], step, BITS))
    np.testing.assert_array_equal(backwards[::-1], stored)
    assert (np.asarray(numbers(ro.rounded(values, old, step + 1, BITS))) != stored).any()


def test_small_steps_are_not_lost_in_bfloat16():
    start = np.random.default_rng(0).uniform(1.0, 1.5, (1000, 4))
    table = to_bits(jnp.asarray(start))
    ids = jnp.arange(1000, dtype=jnp.int32)
    gradient = jnp.full((1000, 4), 1e-3)  # an eighth of the spacing above 1
    before = np.asarray(numbers(table), np.float64).mean()
    for step in range(20):
        table, _ = ro.update(
            ro.sgd(), table, {}, ids, look_up(table, ids), gradient, scalars(-1.0, 0.0, step=step)
        )
    assert np.asarray(numbers(table), np.float64).mean() == pytest.approx(before + 0.02, abs=0.0015)


@pytest.mark.parametrize("dtype", [jnp.float32, BITS])
def test_a_step_makes_no_copy_of_the_table(dtype):
    """Nor does its time grow with the table: XLA would write into bfloat16 through such a copy."""
    rows, n = 100_000, 64
    table = jax.ShapeDtypeStruct((rows, 16), dtype)
    optimizer = ro.adam(0.9, 0.999, 1e-8)
    slots = jax.eval_shape(optimizer.init, jax.ShapeDtypeStruct((rows, 16), jnp.float32))

    def step(table, slots, ids, gradient):
        looked_up = look_up(table, ids)
        return ro.update(optimizer, table, slots, ids, looked_up, gradient, scalars(0.1, 0.0))

    shapes = (jax.ShapeDtypeStruct((n,), jnp.int32), jax.ShapeDtypeStruct((n, 16), jnp.float32))
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(table, slots, *shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < rows

"""Row updates against plain numpy loops, and that they touch nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from dtn_jax.optimizers import table_updater
from dtn_jax.tables import row_optimizers as ro
from dtn_jax.tables import update_by_search, update_by_sort
from dtn_jax.tables.exchange import Local
from dtn_jax.tables.rounding import rounded
from dtn_jax.tables.stored_rows import BITS, StoredRows, lay_out, numbers, to_bits

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


def updated(way, optimizer, lie, table, slots, ids, gradient, given, repeats=0):
    """One update, as on a CPU (`search`) or an accelerator (`sort`)."""
    ids = jnp.asarray(ids, jnp.int32)
    if way == "sort":
        return update_by_sort.update(optimizer, lie, table, slots, ids, gradient, given, repeats)
    looked_up = lie.take(table, ids)
    return update_by_search.update(optimizer, lie, table, slots, ids, looked_up, gradient, given)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "way",
    ["search", "whole", "gpu", "tpu", "2 to a line", "windows", "gpu, windows", "columns", "sent"],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_updates_equal_a_loop_over_rows(name, way, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(update_by_search, "SHORT", V if way == "whole" else 0)
    if way == "columns":  # of numbers by row, as where they are too many for a TPU's chip
        monkeypatch.setattr(update_by_sort, "ON_CHIP", 0)
    if "windows" in way:  # of two places: runs are cut
        monkeypatch.setattr(update_by_sort, "window_of", lambda *_: 2)
    two = StoredRows(V, D, 2, 8)
    lies = {"tpu": lay_out(V, D, "tpu", 1), "2 to a line": two, "windows": two, "columns": two}
    lies["sent"] = two  # in messages, by as many devices as there are ids
    lie = lies.get(way, StoredRows(V, D))
    rng = np.random.default_rng(0)
    start = rng.normal(size=(V, D))
    gradients = [rng.normal(size=(5, D)) for _ in BATCHES]
    with jax.enable_x64(dtype == "float64"):
        padded = np.pad(start, ((0, lie.rows - V), (0, 0))).astype(dtype)
        table = jnp.asarray(lie.to_lines(padded))
        slots = OPTIMIZERS[name].init(table, lie)
        for ids, gradient in zip(BATCHES, gradients, strict=True):
            table, slots = updated(
                "search" if way in ("search", "whole") else "sort",
                OPTIMIZERS[name],
                lie,
                table,
                slots,
                [lie.rows if i == V else i for i in ids],
                jnp.asarray(gradient, dtype),
                scalars(RATE, L2, dtype),
                repeats=5 if way == "sent" else 0,
            )
        rows = lie.to_rows(np.asarray(table))
        expected = reference(name, start, BATCHES, gradients)
        np.testing.assert_allclose(rows[:V], expected, rtol=tolerance, atol=tolerance)
        untouched = [i for i in range(V) if i not in {3, 1, 0, 11, 5}]
        np.testing.assert_array_equal(rows[untouched], start.astype(dtype)[untouched])
        assert (rows[V:] == 0).all()


@pytest.mark.parametrize("stride", [1, 8])
@pytest.mark.parametrize("ids", [*BATCHES, [4, 3, 2, 1, 0], [V + 3, V, V + 3, 2, 2**31 - 1]])
def test_unique_rows_are_sorted_unique_and_keep_the_sum(ids, stride):
    gradient = np.arange(5 * D, dtype=np.float32).reshape(5, D)
    lie = lay_out(V, D, "cpu", 8, stride)
    given = jnp.asarray(ids, jnp.int32), jnp.asarray(gradient)
    places, summed, source = (np.asarray(a) for a in update_by_search.unique_rows(lie, *given))
    known = sorted({i for i in ids if i < lie.rows}, key=lambda i: lie.places(np.asarray([i]))[0])
    assert places[places < lie.rows].tolist() == lie.places(np.asarray(known)).tolist()
    assert [ids[s] for s in source[places < lie.rows]] == known
    assert (np.diff(places) > 0).all()  # sorted and unique, the tail out of range included
    for row, total in zip(known, summed[places < lie.rows]):
        np.testing.assert_allclose(total, gradient[np.asarray(ids) == row].sum(axis=0))


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_the_dense_option_is_optax_adam_on_the_whole_table(platform):
    rng = np.random.default_rng(0)
    start = jnp.asarray(rng.normal(size=(V, D)), jnp.float32)
    optim = base.get_config().optim
    optim.tables = "dense"
    lie = lay_out(V, D, platform, 1)
    updater = table_updater(optim, platform)
    table = jnp.pad(start, ((0, lie.rows - V), (0, 0)))
    table = jnp.asarray(lie.to_lines(np.asarray(table)))
    slots = updater.init(table, lie)
    adam = optax.adam(RATE, optim.b1, optim.b2, optim.eps)
    expected, state = start, adam.init(start)
    for ids in BATCHES[:3]:
        gradient = rng.normal(size=(5, D)).astype(np.float32)
        here = jnp.asarray([lie.rows if i == V else i for i in ids], jnp.int32)
        sums = updater.sums(lie, here, jnp.asarray(gradient))
        table, slots = updater.whole(lie, table, slots, sums, scalars(RATE, L2))
        dense = np.zeros((V, D), np.float32)
        for row, g in zip(ids, gradient, strict=True):
            if row < V:
                dense[row] += g
        for row in {i for i in ids if i < V}:
            dense[row] += L2 * np.asarray(expected)[row]
        moves, state = adam.update(jnp.asarray(dense), state)
        expected = optax.apply_updates(expected, moves)
        rows = lie.to_rows(np.asarray(table))[:V]
        np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_rounds_at_random_and_right_on_average():
    """To one of the two neighbours, each as often as it is near; the same wherever a row stands."""
    rng = np.random.default_rng(0)
    old, values = (jnp.asarray(rng.uniform(1.0, 2.0, (20_000, 8)), jnp.float32) for _ in "ab")
    step, lie = jnp.int32(7), StoredRows(20_000, 8)
    stored = numbers(rounded(values, old, step, BITS, lie))
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
    backwards = numbers(rounded(values[::-1], old[::-1], step, BITS, lie))
    np.testing.assert_array_equal(backwards[::-1], stored)
    assert (np.asarray(numbers(rounded(values, old, step + 1, BITS, lie))) != stored).any()


def test_small_steps_are_not_lost_in_bfloat16():
    start = np.random.default_rng(0).uniform(1.0, 1.5, (1000, 4))
    table = to_bits(jnp.asarray(start))
    ids = jnp.arange(1000, dtype=jnp.int32)
    gradient = jnp.full((1000, 4), 1e-3)  # an eighth of the spacing above 1
    before = np.asarray(numbers(table), np.float64).mean()
    lie = StoredRows(1000, 4)
    for step in range(20):
        given = scalars(-1.0, 0.0, step=step)
        table, _ = updated("search", ro.sgd(), lie, table, {}, ids, gradient, given)
    assert np.asarray(numbers(table), np.float64).mean() == pytest.approx(before + 0.02, abs=0.0015)


@pytest.mark.parametrize("dtype", [jnp.float32, BITS])
@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_a_step_makes_no_copy_of_the_table(dtype, platform):
    """The compiled update writes in place: its temporaries do not grow with the table.

    XLA would write into bfloat16 through such a copy. Of fewer than 60,000 rows a TPU works through
    bfloat16 in windows, which is another program. As on TPUs without Adam's counts: a CPU copies
    those, to turn them.
    """
    n, width = 64, 16
    optimizer = ro.sgd() if platform == "tpu" else ro.adam(0.9, 0.999, 1e-8)

    def temporaries(rows):
        lie = lay_out(rows, width, platform, 1)
        table = jax.ShapeDtypeStruct(lie.shape, dtype)
        like = jax.ShapeDtypeStruct(lie.shape, jnp.float32)
        slots = jax.eval_shape(lambda t: optimizer.init(t, lie), like)

        def step(table, slots, ids, gradient):
            way = "search" if platform == "cpu" else "sort"
            return updated(way, optimizer, lie, table, slots, ids, gradient, scalars(0.1, 0.0))

        shapes = jax.ShapeDtypeStruct((n,), jnp.int32), jax.ShapeDtypeStruct((n, width), "float32")
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(table, slots, *shapes)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporaries(400_000) < 1.1 * temporaries(60_000) + 4096


@pytest.mark.parametrize("name", [*OPTIMIZERS, "dense"])
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_on_accelerators_no_write_meets_another(name, platform):
    """Their sums would depend on timing: all rows that a scatter writes are distinct."""
    optim = base.get_config().optim
    optim.tables = name
    lie = lay_out(V, 16, platform, 1)
    exchange = Local(lie, table_updater(optim, platform))
    table = jnp.zeros(lie.shape)
    given = jnp.zeros((9, 16)), scalars(0.1, 0.0), None

    @jax.jit
    def step(table, slots):
        _, asked = exchange.look_up(table, exchange.route(jnp.zeros(9, jnp.int32)))
        return exchange.update(table, slots, asked, *given)

    text = step.lower(table, exchange.updater.init(table, lie)).as_text()
    scatters = [line for line in text.splitlines() if '"stablehlo.scatter"(' in line]
    assert scatters
    assert all("unique_indices = true" in line for line in scatters)
    assert "indices_are_sorted = true" not in text  # TPUs would pass over the whole table

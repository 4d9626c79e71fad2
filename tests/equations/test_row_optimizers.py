"""Row updates against plain numpy loops, and that they touch nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from dtn_jax.tables import row_optimizers as ro
from dtn_jax.tables import update_by_search, update_by_sort
from dtn_jax.tables.exchange import Local
from dtn_jax.tables.rounding import rounded
from dtn_jax.tables.run_sums import BLOCK, rank_sums, run_sums
from dtn_jax.tables.stored_rows import BITS, StoredRows, lay_out, numbers, to_bits
from dtn_jax.tables.updater import table_updater

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
    """The same by a loop over rows, from the papers' update rules; `dense` is Adam of all rows,
    those that no example names too."""
    table = table.copy()
    total, m, v = np.zeros(V), np.zeros((V, D)), np.zeros((V, D))
    count = np.zeros(V)
    for ids, gradient in zip(batches, gradients, strict=True):
        for row in range(V) if name == "dense" else sorted({i for i in ids if i < V}):
            g = sum(gradient[k] for k, i in enumerate(ids) if i == row)
            g = g + (row in ids) * L2 * table[row]
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
    return ro.Scalars(jnp.asarray(rate, dtype), jnp.asarray(l2, dtype), jnp.asarray(step, "int32"))


def update(way, optimizer, lie, table, slots, ids, gradient, given, repeats=0):
    """One update, as on a CPU (`search`) or an accelerator (`sort`)."""
    if way == "sort":
        return update_by_sort.update(optimizer, lie, table, slots, ids, gradient, given, repeats)
    looked_up = lie.take(table, ids)
    return update_by_search.update(optimizer, lie, table, slots, ids, looked_up, gradient, given)


def after_all(start, gradients, lie, updated, init):
    """The rows after all BATCHES: `updated(table, slots, ids, gradient) -> (table, slots)`."""
    dtype = gradients.dtype
    padded = np.pad(start, ((0, lie.rows - V), (0, 0))).astype(dtype)
    ids = np.where(np.asarray(BATCHES) == V, lie.rows, BATCHES).astype(np.int32)

    @jax.jit
    def run(table, ids, gradients):
        def one(carry, given):
            return updated(*carry, *given), None

        return jax.lax.scan(one, (table, init(table)), (ids, gradients))[0][0]

    return lie.to_rows(np.asarray(run(lie.to_lines(padded), ids, gradients)))


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    return rng.normal(size=(V, D)), rng.normal(size=(len(BATCHES), 5, D))


WAYS = ("search", "whole", "gpu", "tpu", "2 to a line")
WAYS += ("windows", "gpu, windows", "columns", "sent")
CASES = [
    *(("adam", way) for way in WAYS),
    *(("adagrad", way) for way in ("search", "whole", "columns")),
    *(("sgd", way) for way in ("search", "tpu")),
]


@pytest.mark.parametrize(("name", "way"), CASES)
def test_updates_equal_a_loop_over_rows(name, way, drawn, monkeypatch):
    assert_loop(name, way, *drawn, monkeypatch)


@pytest.mark.parametrize("way", ["search", pytest.param("tpu", marks=pytest.mark.slow)])
def test_so_they_do_in_float32(way, drawn, monkeypatch):
    assert_loop("adam", way, *drawn, monkeypatch, "float32", 1e-5)


def assert_loop(name, way, start, gradients, monkeypatch, dtype="float64", tolerance=1e-10):
    monkeypatch.setattr(update_by_search, "SHORT", V if way == "whole" else 0)
    if way == "columns":  # of numbers by row, as where they are too many for a TPU's chip
        monkeypatch.setattr(update_by_sort, "ON_CHIP", 0)
    if "windows" in way:  # of two places: runs are cut
        monkeypatch.setattr(update_by_sort, "window_of", lambda *_: 2)
    two = StoredRows(V, D, 2, 8)
    lies = {"tpu": lay_out(V, D, "tpu", 1), "2 to a line": two, "windows": two, "columns": two}
    lies["sent"] = two  # in messages, by as many devices as there are ids
    lie, optimizer = lies.get(way, StoredRows(V, D)), OPTIMIZERS[name]

    def updated(table, slots, ids, gradient):
        by = "search" if way in ("search", "whole") else "sort"
        given = table, slots, ids, gradient, scalars(RATE, L2, dtype)
        return update(by, optimizer, lie, *given, repeats=5 if way == "sent" else 0)

    with jax.enable_x64(dtype == "float64"):
        init = functools.partial(optimizer.init, lie=lie)
        rows = after_all(start, gradients.astype(dtype), lie, updated, init)
    expected = reference(name, start, BATCHES, gradients)
    np.testing.assert_allclose(rows[:V], expected, rtol=tolerance, atol=tolerance)
    untouched = [i for i in range(V) if i not in {3, 1, 0, 11, 5}]
    np.testing.assert_array_equal(rows[untouched], start.astype(dtype)[untouched])
    assert (rows[V:] == 0).all()


@pytest.mark.parametrize("platform", ["cpu", "tpu", pytest.param("gpu", marks=pytest.mark.slow)])
def test_the_dense_option_is_adam_on_the_whole_table(platform, drawn):
    start, gradients = drawn
    optim = base.get_config().optim
    optim.tables, optim.b1, optim.b2, optim.eps = "dense", B1, B2, EPS
    lie, updater = lay_out(V, D, platform, 1), table_updater(optim, platform)

    def updated(table, slots, ids, gradient):
        sums = updater.sums(lie, ids, gradient)
        return updater.whole(lie, table, slots, sums, scalars(RATE, L2, "float64"))

    with jax.enable_x64(True):
        init = functools.partial(updater.init, lie=lie)
        rows = after_all(start, gradients, lie, updated, init)
    expected = reference("dense", start, BATCHES, gradients)
    np.testing.assert_allclose(rows[:V], expected, rtol=1e-8, atol=1e-9)


def test_bfloat16_rounds_at_random_and_right_on_average():
    """To one of the two neighbours, each as often as it is near; the same wherever a row stands."""
    rng = np.random.default_rng(0)
    old, values = (rng.uniform(1.0, 2.0, (20_000, 8)).astype(np.float32) for _ in "ab")
    lie = StoredRows(20_000, 8)
    store = jax.jit(lambda values, old, step: numbers(rounded(values, old, step, BITS, lie)))
    stored = np.asarray(store(values, old, 7))
    np.testing.assert_array_equal(stored, stored.astype(jnp.bfloat16).astype(np.float32))
    spacing = 2.0**-7  # of bfloat16 in [1, 2)
    error = np.asarray(stored, np.float64) - np.asarray(values)
    assert np.abs(error).max() < spacing
    assert abs(error.mean()) < 4 * spacing / np.sqrt(error.size)
    part = (np.asarray(values) / spacing) % 1  # the share of the way to the upper neighbour
    up = np.asarray(stored, np.float64) > np.asarray(values)
    for low in np.arange(0, 1, 0.1):
        inside = (part >= low) & (part < low + 0.1)
        assert abs(up[inside].mean() - part[inside].mean()) < 0.02
    backwards = np.asarray(store(values[::-1], old[::-1], 7))
    np.testing.assert_array_equal(backwards[::-1], stored)
    assert (np.asarray(store(values, old, 8)) != stored).any()


def test_small_steps_are_not_lost_in_bfloat16():
    start = np.random.default_rng(0).uniform(1.0, 1.5, (1000, 4)).astype(np.float32)
    ids, lie = np.arange(1000, dtype=np.int32), StoredRows(1000, 4)
    gradient = np.full((1000, 4), 1e-3, np.float32)  # an eighth of the spacing above 1

    @jax.jit
    def means(start):
        def one(step, table):
            rows = jnp.asarray(ids), jnp.asarray(gradient)
            given = lie, table, {}, *rows, scalars(-1.0, 0.0, step=step)
            return update("search", ro.sgd(), *given)[0]

        table = to_bits(start)
        return [numbers(t).mean() for t in (table, jax.lax.fori_loop(0, 20, one, table))]

    before, after = means(start)
    assert float(after) == pytest.approx(float(before) + 0.02, abs=0.0015)


@pytest.mark.parametrize("dtype", [BITS, pytest.param(jnp.float32, marks=pytest.mark.slow)])
def test_a_step_makes_no_copy_of_the_table(dtype):
    """The compiled update writes in place: its temporaries do not grow with the table.

    XLA would write into bfloat16 through such a copy. Other platforms are in nightly/test_compiled.
    """
    n, width, optimizer = 64, 16, ro.adam(0.9, 0.999, 1e-8)

    def temporaries(rows):
        lie = lay_out(rows, width, "cpu", 1)
        table = jax.ShapeDtypeStruct(lie.shape, dtype)
        like = jax.ShapeDtypeStruct(lie.shape, jnp.float32)
        slots = jax.eval_shape(lambda t: optimizer.init(t, lie), like)

        def step(table, slots, ids, gradient):
            given = lie, table, slots, ids, gradient, scalars(0.1, 0.0)
            return update("search", optimizer, *given)

        shapes = jax.ShapeDtypeStruct((n,), jnp.int32), jax.ShapeDtypeStruct((n, width), "float32")
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(table, slots, *shapes)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporaries(400_000) < 1.1 * temporaries(60_000) + 4096


@pytest.mark.parametrize(
    ("name", "platform"), [*((name, "tpu") for name in (*OPTIMIZERS, "dense")), ("adam", "gpu")]
)
def test_on_accelerators_no_write_meets_another(name, platform):
    """Their sums would depend on timing: all rows that a scatter writes are distinct."""
    optim = base.get_config().optim
    optim.tables = name
    lie = lay_out(V, 16, platform, 1)
    exchange = Local(lie, table_updater(optim, platform))
    table = jax.ShapeDtypeStruct(lie.shape, jnp.float32)

    @jax.jit
    def step(table):
        _, asked = exchange.look_up(table, exchange.route(jnp.zeros(9, jnp.int32)))
        given = jnp.zeros((9, 16)), scalars(0.1, 0.0)
        return exchange.update(table, exchange.updater.init(table, lie), asked, *given)

    text = step.lower(table).as_text()
    scatters = [line for line in text.splitlines() if '"stablehlo.scatter"(' in line]
    assert scatters
    assert all("unique_indices = true" in line for line in scatters)
    assert "indices_are_sorted = true" not in text  # TPUs would pass over the whole table


def loop(starts, values):
    """Sums over runs of equal neighbours, place by place."""
    found = np.array(values)
    for i in range(1, len(values)):
        if not starts[i]:
            found[i] = found[i - 1] + values[i]
    return found


@pytest.mark.parametrize(
    ("n", "rest"), [(1, ()), (2, (3,)), (BLOCK, ()), (BLOCK + 1, (3,)), (5 * BLOCK**2 + 3, (3,))]
)
def test_sums_of_runs_equal_a_loop(n, rest):
    """Whatever the share of places that start a run."""
    rng, sums = np.random.default_rng(n), jax.jit(run_sums)
    for share in (0.0, 0.01, 0.3, 1.0):
        starts = rng.random(n) < share
        starts[0] = True
        values = rng.integers(-9, 9, (n, *rest)).astype(np.int32)
        np.testing.assert_array_equal(sums(starts, values), loop(starts, values))


@pytest.mark.parametrize("most", [1, 7, 64])
def test_sums_of_short_runs_equal_a_loop(most):
    rng = np.random.default_rng(most)
    lengths = rng.integers(1, most + 1, 40)
    starts = np.zeros(lengths.sum(), bool)
    starts[np.cumsum(lengths) - lengths] = True
    values = rng.integers(-9, 9, (len(starts), 3)).astype(np.int32)
    sums = jax.jit(rank_sums, static_argnums=2)
    np.testing.assert_array_equal(sums(starts, values, most), loop(starts, values))


def test_an_infinite_gradient_stays_in_its_own_run():
    values = np.array([[1.0], [np.inf], [2.0], [3.0]], np.float32)
    starts = np.array([True, False, True, False])
    assert jax.jit(run_sums)(starts, values)[:, 0].tolist() == [1.0, np.inf, 2.0, 5.0]

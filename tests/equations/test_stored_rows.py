"""How rows lie in memory: nothing is lost, nothing is wasted, and all platforms draw one table."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import small

from configs import base
from dtn_jax.run.train import train
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import huge_pages
from dtn_jax.tables.plan import init_tables, make_plan
from dtn_jax.tables.stored_rows import LANES, StoredRows, lay_out

WIDTHS = (1, 3, 10, 16, 24, 64, 100, 128, 192, 256)


@pytest.mark.parametrize(
    ("width", "platform", "stride"),
    [(10, "cpu", 1), *((width, "tpu", 1) for width in (1, 10, 24, 100, 192)), (16, "tpu", 64)],
)
def test_rows_become_lines_and_come_back(width, platform, stride):
    lie = lay_out(1000, width, platform, 64, stride)
    assert lie.rows >= 1000
    assert lie.lines % 64 == 0
    rows = np.random.default_rng(0).normal(size=(lie.rows, width)).astype(np.float32)
    lines = lie.to_lines(rows)
    assert lines.shape == lie.shape
    np.testing.assert_array_equal(lie.to_rows(lines), rows)
    ids = np.asarray([0, 1, 63, 64, 999, 5, 5, lie.rows - 1], np.int32)
    places = np.append(lie.places(ids), [lie.rows, lie.rows + 7]).astype(np.int32)
    found = jax.jit(lie.take)(lines, places)
    np.testing.assert_array_equal(found[: len(ids)], rows[ids])
    assert (np.asarray(found[len(ids) :]) == 0).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_on_tpus_a_line_is_whole_lanes(width):
    lie = lay_out(1000, width, "tpu", multiple=1)
    assert lie.lanes % LANES == 0
    assert lie.by_row == ((lie.rows,) if lie.per_line == 1 else (lie.lines, lie.per_line))


@pytest.mark.parametrize("width", [4, 8, 16, 32, 64, 128, 256, 512])
def test_widths_that_fit_lanes_cost_nothing(width):
    lie = lay_out(10**7, width, "tpu", multiple=1024)
    assert lie.storage == 1
    assert lie.rows * width <= 1.02 * 10**7 * width


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_elsewhere_rows_lie_alone(platform):
    assert lay_out(1000, 10, platform, multiple=1024) == StoredRows(1024, 10)


def test_a_table_starts_from_the_same_numbers_on_every_platform():
    fields = Field("a", rows=2000), Field("b", rows=1000)
    schema = Schema("s", fields, (Task("click"),))
    model = base.get_config().model
    model.embedding_dim = 24
    drawn, key = {}, jax.random.key(0)
    for platform in ("cpu", "tpu"):
        plan = make_plan(schema, model, ("shared",), 2, platform)
        tables = init_tables(plan, key, 0.5, 0.1)
        drawn[platform] = {
            name: lie.to_rows(np.asarray(tables[name])) for name, lie in plan.arrays.items()
        }
    for name, rows in drawn["cpu"].items():
        np.testing.assert_array_equal(drawn["tpu"][name][:3000], rows[:3000])


@pytest.mark.parametrize("width", [3, 100])
def test_numbers_by_row_meet_their_lanes(width):
    lie = lay_out(1, width, "tpu", multiple=1)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, lie.per_line, width)).astype(np.float32)
    lines = lie.to_lines(rows.reshape(-1, width))
    np.testing.assert_allclose(jax.jit(lie.mean)(lines), rows.mean(axis=2), rtol=1e-5, atol=1e-6)
    by_row = rng.normal(size=(4, lie.per_line)).astype(np.float32)
    spread = np.asarray(jax.jit(lie.spread)(by_row)) * np.ones((1, lie.lanes), "f4")
    expected = np.repeat(by_row[:, :, None], width, axis=2)
    np.testing.assert_array_equal(lie.to_rows(np.asarray(spread)).reshape(rows.shape), expected)
    place = rng.integers(0, lie.per_line, 4)
    alone = np.asarray(jax.jit(lie.alone)(rows[:, 0], place))
    expected = np.zeros_like(rows)
    expected[np.arange(4), place] = rows[:, 0]
    np.testing.assert_array_equal(alone, lie.to_lines(expected.reshape(-1, width)))


@pytest.mark.parametrize(("platform", "devices"), [("cpu", 8), ("tpu", 2), ("tpu", 1024)])
def test_each_device_has_every_nth_row(platform, devices):
    """So that neighbours, which are often equally frequent, are spread over devices."""
    lie = lay_out(20_000, 16, platform, 1024, 1024)
    places = lie.places(np.arange(lie.rows, dtype=np.int32))
    assert sorted(places.tolist()) == list(range(lie.rows))
    owners = places // (lie.rows // devices)
    for first in range(0, lie.rows, devices):
        assert len(set(owners[first : first + devices])) == devices
    np.testing.assert_array_equal(jax.jit(lie.places)(np.arange(lie.rows, dtype="i4")), places)
    out = np.asarray([-1, lie.rows, 2**31 - 1], np.int32)
    assert lie.places(out).tolist() == [lie.rows] * 3


def test_long_tables_on_tpus_have_whole_tiles_in_each_block():
    """Or a TPU's compiler copies them to draw their first rows."""
    for rows, tiled in ((10**6, False), (10**7, True), (10**9, True)):
        lie = lay_out(rows, 64, "tpu", 1024, 1024)
        assert (lie.lines // lie.stride % 8 == 0) == tiled
        assert rows <= lie.rows < 1.01 * rows
    most = 2**31 - 1 - 1024 * 32
    assert most <= lay_out(most, 4, "tpu", 1024, 1024).rows < 2**31  # no tiles beyond int32


def huge_bytes(array) -> int:
    """How much of an array's memory Linux has on huge pages."""
    first, held = array.unsafe_buffer_pointer(), 0
    with open("/proc/self/smaps") as areas:
        inside = False
        for line in areas:
            if area := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                inside = int(area[1], 16) < first + array.nbytes and int(area[2], 16) > first
            elif inside and line.startswith("AnonHugePages:"):
                held += int(line.split()[1]) * 1024
    return held


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux")
def test_a_long_table_moves_to_huge_pages_and_a_donated_step_leaves_it_there():
    rows = np.arange(2 * huge_pages.SMALLEST // 64)
    table = jax.jit(lambda r: jnp.broadcast_to(r[:, None], (len(r), 16)))(rows.astype("f4"))
    if not huge_pages.use({"table": table}):
        pytest.skip("this kernel grants no huge pages")
    assert huge_bytes(table) >= table.nbytes - 2 * huge_pages.HUGE_PAGE
    np.testing.assert_array_equal(np.asarray(table)[:, 3], rows)
    step = jax.jit(lambda t: t.at[5].add(1), donate_argnums=0)
    place = table.unsafe_buffer_pointer()
    stepped = step(table)
    assert stepped.unsafe_buffer_pointer() == place
    assert huge_bytes(stepped) >= stepped.nbytes - 2 * huge_pages.HUGE_PAGE


def test_short_arrays_are_left_where_they_are():
    assert huge_pages.use([jnp.asarray(np.zeros((1000, 16))), jnp.asarray(np.zeros(7))]) == 0


@pytest.mark.slow
def test_a_run_asks_for_huge_pages(monkeypatch, prepared_dir, tmp_path):
    asked = []
    monkeypatch.setattr(huge_pages, "use", lambda arrays: asked.append(arrays))
    train(small(prepared_dir, train__max_steps=1), tmp_path / "run")
    tables, slots = asked[0]
    assert set(tables) == set(slots) == {"embedding"}

"""How rows lie in memory: nothing is lost, nothing is wasted, and all platforms draw one table."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import huge_pages
from dtn_jax.tables.plan import init_tables, make_plan
from dtn_jax.tables.stored_rows import lay_out


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


@pytest.mark.parametrize("width", [4, 8, 16, 32, 64, 128, 256, 512])
def test_widths_that_fit_lanes_cost_nothing(width):
    lie = lay_out(10**7, width, "tpu", multiple=1024)
    assert lie.storage == 1
    assert lie.rows * width <= 1.02 * 10**7 * width


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


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux")
def test_a_long_table_moves_to_huge_pages_and_a_donated_step_leaves_it_there():
    rows = np.arange(2 * huge_pages.SMALLEST // 64)
    table = jax.jit(lambda r: jnp.broadcast_to(r[:, None], (len(r), 16)))(rows.astype("f4"))
    if not huge_pages.use({"table": table}):
        pytest.skip("this kernel grants no huge pages")
    np.testing.assert_array_equal(np.asarray(table)[:, 3], rows)
    step = jax.jit(lambda t: t.at[5].add(1), donate_argnums=0)
    place = table.unsafe_buffer_pointer()
    assert step(table).unsafe_buffer_pointer() == place
    assert huge_pages.use([jnp.zeros((1000, 16)), jnp.zeros(7)]) == 0  # too short

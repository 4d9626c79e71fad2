"""Rows of tables: how they lie in memory, and how they are looked up."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import batch_of

from configs import base
from dtn_jax.errors import UserError
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import huge_pages, lookup
from dtn_jax.tables.addresses import pair_addresses
from dtn_jax.tables.exchange import look_ups
from dtn_jax.tables.plan import init_tables, make_plan
from dtn_jax.tables.stored_rows import lay_out

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SCHEMA = Schema(
    "toy",
    fields=(
        Field("user", rows=5),
        Field("bag", kind="bag", rows=4, slots=3),
        Field("mean_bag", kind="bag", rows=4, slots=2, table="bag", pooling="mean"),
        Field("price", kind="numeric", rows=2, standardised=True),
        Field("item", rows=5, table="user"),
    ),
    tasks=(Task("click"), Task("like")),
)
IDS = np.asarray([[4, 1, 2, -1, 3, 3, 1, 2], [0, -1, -1, -1, 1, -1, 0, 1]], np.int32)
PRICE = np.asarray([[2.5], [1.0]], np.float32)


def batch(ids=IDS, row_mask=(True, True)):
    given = {"numeric": jnp.asarray(PRICE), "row_mask": jnp.asarray(row_mask)}
    return batch_of(jnp.asarray(ids), np.zeros((2, 2), "f4"), **given)


def plan(views=("shared",), codebooks=0, **hcnet):
    model = base.get_config().model
    model.embedding_dim = 2
    for key, value in hcnet.items():
        model.hcnet[key] = value
    return make_plan(SCHEMA, model, views, codebooks)


def row_ids(plan, *given, **changes):
    rows = jax.jit(functools.partial(lookup.row_ids, plan))(batch(*given, **changes))
    return {name: np.asarray(ids) for name, ids in rows.items()}


def test_masked_rows_touch_no_row():
    rows = row_ids(plan(codebooks=2, codebook_rows=50), row_mask=(True, False))
    assert (rows["embedding"][1] == 1024).all()
    assert (rows["codebook"][1] == 1024).all()
    assert (rows["codebook"][0] < 50).all()


def test_codebooks_lie_side_by_side():
    p = plan(codebooks=3, codebook_rows=50, hashes=2)

    @jax.jit
    def found(key):
        tables, rows = init_tables(p, key, 1.0, 1.0), lookup.row_ids(p, batch())
        inputs = lookup.to_inputs(p, lookup.gather(tables, rows, look_ups(p)), batch())
        return tables, rows, inputs

    tables, rows, inputs = jax.tree.map(np.asarray, found(jax.random.key(0)))
    assert p.codebook_slots == (0, 7)  # of the fields with one id, not the standardised number
    assert inputs.codewords.shape == (2, 1, 2, 3, 2)  # B P N C D
    address = int(rows["codebook"][1, 0, 1])
    np.testing.assert_array_equal(
        inputs.codewords[1, 0, 1, 2], tables["codebook"][address].reshape(3, 2)[2]
    )


def test_hcnet_options_change_the_addresses_and_wrong_ones_are_refused():
    def addresses(**hcnet):
        return row_ids(plan(codebooks=1, codebook_rows=50, **hcnet))["codebook"]

    assert (addresses() != addresses(seed=1)).any()
    assert addresses(hashes=3).shape == (2, 1, 3)
    assert (addresses(fields=("user", "item")) == addresses()).all()
    with pytest.raises(UserError, match=r"'bag'.*choices are: user, item"):
        plan(codebooks=1, fields=("user", "bag"))
    with pytest.raises(UserError, match="only 1 can form pairs"):
        plan(codebooks=1, fields=("user",))


def test_initial_scales():
    p = plan(codebooks=2, codebook_rows=1000)
    tables = jax.jit(lambda key: init_tables(p, key, 0.5, 0.1))(jax.random.key(0))
    np.testing.assert_allclose(np.std(tables["embedding"]), 0.5, rtol=0.1)
    np.testing.assert_allclose(np.std(tables["codebook"]), 0.1, rtol=0.1)


# Addresses: everywhere the same, uniform and independent.


def test_addresses_are_golden_in_every_program():
    # A saved model's codebook is worthless under other addresses: these numbers must stay.
    ids = np.array([[1, 2, 3], [-1, 0, 2_000_000_000]], np.int32)
    addresses = functools.partial(pair_addresses, hashes=2, rows=100_000, seed=0)
    found = [addresses(ids)]
    for x64 in (False, True):
        with jax.enable_x64(x64):
            found.append(np.asarray(jax.jit(addresses)(ids)))
    for got in found:
        assert got.dtype == np.int32
        assert got[0].tolist() == [[96296, 65150], [96251, 44022], [92110, 72526]]
        assert got[1].tolist() == [[46910, 18308], [83336, 42141], [4908, 19599]]


# How rows lie in memory: nothing is lost, nothing is wasted, and all platforms draw one tab.


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

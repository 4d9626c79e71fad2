"""Row numbers, look-ups, and how rows become field embeddings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import lookup
from dtn_jax.tables.exchange import look_ups
from dtn_jax.tables.plan import ROW_MULTIPLE, init_tables, make_plan

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
    b = len(ids)
    return Batch(
        ids=jnp.asarray(ids),
        weights=jnp.zeros((b, 0)),
        numeric=jnp.asarray(PRICE),
        labels=jnp.zeros((b, 2)),
        label_mask=jnp.ones((b, 2), bool),
        sample_weight=jnp.ones(b),
        row_mask=jnp.asarray(row_mask),
    )


def plan(views=("shared",), codebooks=0, **hcnet):
    model = base.get_config().model
    model.embedding_dim = 2
    for key, value in hcnet.items():
        model.hcnet[key] = value
    return make_plan(SCHEMA, model, views, codebooks)


def test_fields_that_share_a_table_share_its_rows():
    rows = lookup.row_ids(plan(), batch())["embedding"]
    assert plan().rows == ROW_MULTIPLE
    user, item, bag, mean_bag = rows[:, 0, 0], rows[:, 0, 7], rows[:, 0, 1], rows[:, 0, 4]
    assert user.tolist() == [4, 0]  # table `user` starts at 0
    assert item.tolist() == [2, 1]
    assert bag.tolist() == [5 + 1, 1024]  # table `bag` starts at 5; padding is out of range
    assert mean_bag.tolist() == [5 + 3, 5 + 1]


def test_views_have_tables_of_their_own():
    both = plan(("click", "like"))
    rows = np.asarray(lookup.row_ids(both, batch())["embedding"])
    assert rows.shape == (2, 2, 8)
    in_table = rows[:, 0] < 1024
    np.testing.assert_array_equal((rows[:, 1] - rows[:, 0])[in_table], 5 + 4 + 2)


def test_pooling_against_a_loop():
    p = plan()
    tables = init_tables(p, jax.random.key(0), 1.0, 1.0)
    rows = lookup.row_ids(p, batch())
    inputs = lookup.to_inputs(p, lookup.gather(tables, rows, look_ups(p)), batch())
    fields = np.asarray(inputs.fields["shared"])
    table = p.arrays["embedding"].to_rows(np.asarray(tables["embedding"]))
    user, bag, price = table[:5], table[5:9], table[9:11]
    np.testing.assert_allclose(fields[0, 0], user[4])
    np.testing.assert_allclose(fields[0, 1], bag[1] + bag[2], rtol=1e-6)
    np.testing.assert_allclose(fields[0, 2], bag[3], rtol=1e-6)  # the mean of two equal rows
    np.testing.assert_allclose(fields[0, 3], 2.5 * price[1], rtol=1e-6)
    np.testing.assert_allclose(fields[0, 4], user[2])
    np.testing.assert_array_equal(fields[1, 1], 0)  # an empty bag
    np.testing.assert_allclose(fields[1, 2], bag[1])  # padding does not count in the mean
    np.testing.assert_allclose(fields[1, 3], price[0])  # missing: the unknown row


def test_masked_rows_touch_no_row():
    rows = lookup.row_ids(plan(codebooks=2, codebook_rows=50), batch(row_mask=(True, False)))
    assert (rows["embedding"][1] == 1024).all()
    assert (rows["codebook"][1] == 1024).all()
    assert (rows["codebook"][0] < 50).all()


def test_codebooks_lie_side_by_side():
    p = plan(codebooks=3, codebook_rows=50, hashes=2)
    assert p.codebook_slots == (0, 7)  # of the fields with one id, not the standardised number
    tables = init_tables(p, jax.random.key(0), 1.0, 1.0)
    rows = lookup.row_ids(p, batch())
    inputs = lookup.to_inputs(p, lookup.gather(tables, rows, look_ups(p)), batch())
    assert inputs.codewords.shape == (2, 1, 2, 3, 2)  # B P N C D
    address = int(rows["codebook"][1, 0, 1])
    np.testing.assert_array_equal(
        inputs.codewords[1, 0, 1, 2], tables["codebook"][address].reshape(3, 2)[2]
    )


def test_hcnet_options_change_the_addresses_and_wrong_ones_are_refused():
    def addresses(**hcnet):
        p = plan(codebooks=1, codebook_rows=50, **hcnet)
        return lookup.row_ids(p, batch())["codebook"]

    assert (addresses() != addresses(seed=1)).any()
    assert addresses(hashes=3).shape == (2, 1, 3)
    assert (addresses(fields=("user", "item")) == addresses()).all()
    with pytest.raises(UserError, match=r"'bag'.*choices are: user, item"):
        addresses(fields=("user", "bag"))
    with pytest.raises(UserError, match="only 1 can form pairs"):
        addresses(fields=("user",))


def test_ids_out_of_range_are_counted_by_slot():
    ids = IDS.copy()
    ids[0, 0], ids[1, 0], ids[1, 4] = 5, 77, -2
    bad = lookup.ids_out_of_range(plan(), batch(ids))
    assert bad.tolist() == [2, 0, 0, 0, 1, 0, 0, 0]
    masked = lookup.ids_out_of_range(plan(), batch(ids, row_mask=(True, False)))
    assert masked.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_initial_scales():
    p = plan(codebooks=2, codebook_rows=1000)
    tables = init_tables(p, jax.random.key(0), 0.5, 0.1)
    np.testing.assert_allclose(tables["embedding"].std(), 0.5, rtol=0.1)
    np.testing.assert_allclose(tables["codebook"].std(), 0.1, rtol=0.1)

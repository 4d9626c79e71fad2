"""What stands beside the events of histories that are made from the log's own rows."""

import numpy as np
import polars as pl
import pytest
from event_log import ROWS, SCHEMA, found, log
from shop_log import prepared, small_pieces

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.fit import vocabulary_file
from dtn_jax.datasets.logs.rows.user_histories import gap
from dtn_jax.datasets.logs.write.finish_set import VOCABULARY
from dtn_jax.errors import UserError

BESIDE = """
  action: {beside: seen, value: act, unknown: [odd]}
  ordered: {kind: sequence, beside: seen, value: order, encoder: hash, size: 50}
  ago: {kind: sequence, beside: seen, gap: true}
tasks:"""
WITH = SCHEMA.replace("\ntasks:", BESIDE)


def acting():
    """With actions, of which `odd` and missing ones are unknown, and one has no click."""
    acts = np.random.default_rng(2).choice(["view", "buy", "odd", None], ROWS).tolist()
    frame = log().with_columns(act=pl.Series(acts))
    return frame.with_columns(
        act=pl.when(pl.col("click") == 0).then(pl.lit("none")).otherwise("act")
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        return prepared(tmp_path_factory.mktemp("beside"), acting(), WITH)


def rows_of(data, table, values):
    names = pl.Series(values)
    opened = vocabulary_file.load(vocabulary_file.path_of(data.folder / VOCABULARY, table))
    return dict(zip(values, opened.look_up(keys.keys(names)[0]).tolist()))


def test_each_value_stands_beside_its_event(made):
    frame = acting()
    actions = rows_of(made, "action", ["view", "buy", "none"])
    assert actions.pop("none") == 0  # of rows that are no events
    gaps = rows_of(made, "ago", list(range(8)))
    orders = dict(
        enumerate((1 + keys.hashed_rows(keys.keys(pl.Series([0, 1]))[0], 50, 0)).tolist())
    )
    lists = {name: found(made, name) for name in ("seen", "action", "ordered", "ago")}
    assert sum(len(own) == 4 for own in lists["seen"].values()) > 0.5 * ROWS
    for n, items in lists["seen"].items():
        own = frame.row(n, named=True)
        past = frame.filter(pl.col("user") == own["user"], pl.col("t") < own["t"])
        past = past.filter(pl.col("item") != "none", pl.col("click") == 1)
        past = past.sort("t", maintain_order=True).tail(4)
        assert len(items) == len(past)
        assert lists["action"][n] == [actions.get(act, 0) for act in past["act"]]
        assert lists["ordered"][n] == [orders[order] for order in past["order"]]
        assert lists["ago"][n] == [gaps[int(np.log2(1 + own["t"] - t))] for t in past["t"]]


def test_the_fields_are_companions(made):
    fields = {field.name: field for field in made.schema.fields}
    for name in ("action", "ordered", "ago"):
        assert (fields[name].kind, fields[name].beside, fields[name].slots) == (
            "sequence",
            "seen",
            4,
        )


def test_gaps_are_in_octaves_of_whole_seconds():
    seconds = np.array([1, 2, 3, 6, 7, 8, 86_400, 2**40])
    expected = [1, 1, 2, 2, 3, 3, 16, 40]
    np.testing.assert_array_equal(gap(seconds * 1_000_000 + 999_999, True), expected)
    np.testing.assert_array_equal(gap(seconds, False), expected)
    np.testing.assert_array_equal(gap(np.array([1, 999_999]), True), [0, 0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gap: true", "gap: true, value: act", "'ago' has both value and gap: expected one"),
        ("gap: true", "gap: maybe", "gap of field 'ago': expected true or false"),
        ("value: act", "value: ac", r"unknown column 'ac'. Did you mean 'act'"),
        (
            "shown: {kind: sequence, hist",
            "shown: {gap: true, hist",
            "gap is an option of companion",
        ),
        (
            'seen: {history: {of: item, where: "click == 1", last: 4}}',
            "seen: {kind: sequence, target: item, column: lists}",
            "field 'ago' stands beside 'seen', which is a column: expected a column of gaps",
        ),
        (
            'seen: {history: {of: item, where: "click == 1", last: 4}}\n  shown',
            "seen: {kind: sequence, target: item, column: lists}\n"
            "  x: {kind: sequence, beside: seen, value: act + 1}\n  shown",
            "field 'x' stands beside 'seen', a list: expected a column of lists",
        ),
    ],
)
def test_companions_that_make_no_sense(tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, acting(), WITH.replace(old, new, 1))

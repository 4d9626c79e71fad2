"""Histories that are made from the log's own rows: a user's earlier events, the newest last."""

import concurrent.futures

import numpy as np
import polars as pl
import pytest
from event_log import ROWS, SCHEMA, expected, found, log, rows_of_items
from shop_log import everything, prepared, schema_file, small_pieces

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.rows import by_user, user_histories
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        return prepared(tmp_path_factory.mktemp("own"), log(), SCHEMA)


@pytest.mark.parametrize(("field", "last", "clicked"), [("seen", 4, True), ("shown", 50, False)])
def test_a_row_lists_its_users_events_strictly_before_it(made, field, last, clicked):
    """Equal times of a user are in the order of the log."""
    frame, row = log(), rows_of_items(made)
    lists = found(made, field)
    assert sum(map(bool, lists.values())) > 0.7 * ROWS
    for n, ids in lists.items():
        assert ids == [row[item] for item in expected(frame, n, last, clicked)]


def test_the_field_is_a_sequence_beside_its_target(made):
    item, _, seen, shown = made.schema.fields
    assert (seen.kind, seen.target, seen.table, seen.rows) == (
        "sequence",
        "item",
        "item",
        item.rows,
    )
    assert (seen.slots, seen.pooling) == (4, "mean")
    assert shown.slots <= 50


def test_values_count_once_for_the_vocabulary(tmp_path):
    """Items that train shows once stay below min_count: their rows count, histories do not."""
    frame = log().with_columns(item=pl.col("place").cast(pl.String), part=pl.lit("train"))
    tail = frame.tail(40).with_columns(part=pl.Series(["validation", "test"] * 20))
    frame = pl.concat([frame.head(ROWS - 40), tail])
    data = prepared(tmp_path, frame, SCHEMA.replace("unknown: [none]", "min_count: 2"))
    assert data.schema.fields[0].rows == 1


def test_users_without_a_name_have_no_history(tmp_path):
    frame = log().with_columns(who=pl.when(pl.col("place") % 3 > 0).then("user"))
    data = prepared(
        tmp_path,
        frame,
        SCHEMA.replace("by: user", "by: who").replace(
            'where: "click == 1"', 'by: who, where: "click == 1"'
        ),
    )
    lists = found(data, "shown")
    assert not any(ids for n, ids in lists.items() if n % 3 == 0)
    named = frame.filter(pl.col("who").is_not_null())
    row = rows_of_items(data)
    for n in [n for n in lists if n % 3][:100]:
        of = named.with_row_index().filter(pl.col("place") == n)["index"][0]
        assert lists[n] == [row[item] for item in expected(named, of, 50, False)]


@pytest.mark.parametrize("way", ["pieces", "processes", "machines", "killed"])
def test_the_bytes_are_those_of_one_process(made, tmp_path, monkeypatch, way):
    small_pieces(monkeypatch)
    source, schema = (
        str(made.folder.parents[3] / "raw" / "*.parquet"),
        schema_file(tmp_path, SCHEMA),
    )
    options = {"processes": 3 if way == "processes" else 1}
    if way == "pieces":
        monkeypatch.setattr(by_user, "RUN_ROWS", 70)
        monkeypatch.setattr(by_user, "PART_ROWS", 90)
    if way == "killed":
        with monkeypatch.context() as patch:
            patch.setattr(user_histories, "earlier", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                logs.prepare(schema, source, tmp_path / "data", **options)
    machines = [(0, 2), (1, 2)] if way == "machines" else [(0, 1)]
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        calls = [
            threads.submit(
                logs.prepare, schema, source, tmp_path / "data", machine=machine, **options
            )
            for machine in machines
        ]
        data = calls[0].result()
    assert everything(data.folder) == everything(made.folder)


def test_sampled_negatives_stay_in_histories(tmp_path):
    text = SCHEMA + "sample_negatives: {click: 0.2}\n"
    data = prepared(tmp_path, log(), text)
    assert data.rows["train"] < 0.8 * ROWS / 2
    names = [f.slots for f in data.schema.fields]
    own = np.asarray(SplitReader(data, "test").everything().ids)[:, -names[-1] :]
    frame = log()
    tests = frame.with_row_index().filter(pl.col("part") == "test")["index"].to_list()
    lengths = [len(expected(frame, n, 50, False)) for n in tests]
    assert sorted((own >= 0).sum(axis=1)) == sorted(lengths)


def test_a_bad_row_is_in_no_history(tmp_path):
    frame = log().with_columns(order=pl.when(pl.col("place") != 700).then("order"))
    data = prepared(tmp_path, frame, SCHEMA)
    own = frame.row(700, named=True)
    later = frame.filter(pl.col("user") == own["user"], pl.col("t") > own["t"])["place"].to_list()
    good, row = frame.filter(pl.col("order").is_not_null()), rows_of_items(data)
    lists = found(data, "shown")
    assert later
    for n in (set(later) & set(lists)) - {700}:
        at = good.with_row_index().filter(pl.col("place") == n)["index"][0]
        assert lists[n] == [row[item] for item in expected(good, at, 50, False)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("of: item, where", "where", r"line 6: history of field 'seen': expected 'of', the field"),
        (
            "of: item, where",
            "of: itm, where",
            r"'of' in the history of 'seen': 'itm'. Did you mean 'item'",
        ),
        ("last: 4", "lats: 4", r"key of history of field 'seen': 'lats'. Did you mean 'last'"),
        ("last: 4", "last: 0", r"last of history of field 'seen': expected a whole number"),
        ("time: t\n", "", r"history of field 'seen' is earlier in time: expected a time column"),
        ("group: user\n", "", r"history of field 'seen': expected 'by', the column of users"),
        ("click == 1", "clik == 1", r"history of field 'seen': where.*'clik'.*mean 'click'"),
        ("by: user", "by: usr", r"history of field 'shown' is by 'usr', that of 'seen' by 'user'"),
        ("{history:", "{target: item, history:", r"'seen' has a history, in place of 'target'"),
        ("{history:", "{kind: bag, history:", r"history is an option of sequence; field 'seen' is"),
    ],
)
def test_a_history_that_makes_no_sense(tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, log(), SCHEMA.replace(old, new, 1))

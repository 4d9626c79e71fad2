"""What stands beside a history's values stays beside them, from a log to its prepared set."""

import collections
import json

import numpy as np
import polars as pl
import pytest
from schema_files import spoiled
from shop_log import prepared, small_pieces

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.fit import vocabulary_file
from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.logs.write.finish_set import VOCABULARY
from dtn_jax.errors import UserError
from dtn_jax.export.write.card.data import kind
from dtn_jax.input.reader import SplitReader
from dtn_jax.report.description import overview

ROWS, MOST = 600, 4
SCHEMA = """
name: shop
fields:
  action: {kind: sequence, beside: viewed, column: viewed_action, unknown: ["?"], min_count: 2}
  item: {min_count: 2, unknown: [none]}
  viewed: {kind: sequence, target: item, max_values: 4}
  ago: {kind: sequence, beside: viewed, value: viewed_gap, encoder: hash, size: 50}
  before: {kind: sequence, beside: viewed, table: item, min_count: 2, optional: true}
tasks: [click]
split: {by: column, column: part}
"""


def log():
    """Whose parallel lists have missing and unknown values, or are missing together."""
    rng = np.random.default_rng(0)
    names, actions = [*"abcdefghij", "none", None], ["look", "cart", "buy", "?", None]
    columns = collections.defaultdict(list)
    for row in range(ROWS):
        count = int(rng.integers(0, 9))
        for name, words in (("viewed", names), ("viewed_action", actions), ("before", names)):
            columns[name].append([words[i] for i in rng.integers(0, len(words), count)])
        columns["viewed_gap"].append(rng.integers(0, 9, count).tolist())
        if row % 10 == 3:
            columns["before"][row] = None  # it may: it is optional
        if row % 20 == 4:  # missing together, or missing beside an empty one
            for name in ("viewed", "viewed_action", "viewed_gap", "before"):
                columns[name][row] = [] if (row, name) == (24, "viewed") else None
    return pl.DataFrame(
        {
            **columns,
            "item": [names[i] for i in rng.integers(0, 10, ROWS)],
            "click": rng.integers(0, 2, ROWS),
            "part": np.repeat(["train", "validation", "test"], ROWS // 3),
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("companions"), log(), SCHEMA)


def expected(data, part):
    """The ids of a part's rows by the set's vocabularies, one value at a time."""

    def look_up(table, unknown):
        file = vocabulary_file.load(vocabulary_file.path_of(data.folder / VOCABULARY, table))

        def row(value):
            made, _ = keys.keys(pl.Series([value]))
            return 0 if value in (None, unknown) else int(file.look_up(made)[0])

        return row

    def hashed(value):
        return 1 + int(keys.hashed_rows(keys.keys(pl.Series([value]))[0], 50, 0)[0])

    def padded(values, row):
        newest = [row(value) for value in (values or [])[-MOST:]]
        return (*newest, *[-1] * (MOST - len(newest)))

    item, action = look_up("item", "none"), look_up("action", "?")
    before = look_up("item", "")
    return [
        (
            *padded(r["viewed_action"], action),
            item(r["item"]),
            *padded(r["viewed"], item),
            *padded(r["viewed_gap"], hashed),
            *padded(r["before"], before),
        )
        for r in part.iter_rows(named=True)
    ]


def ids_of(data, split):
    return list(map(tuple, np.asarray(SplitReader(data, split).everything().ids).tolist()))


def test_the_newest_of_each_list_stand_at_the_same_places(data):
    kinds = {f.name: (f.kind, f.slots, f.target, f.beside) for f in data.schema.fields}
    assert kinds == {
        "action": ("sequence", MOST, "", "viewed"),
        "item": ("categorical", 1, "", ""),
        "viewed": ("sequence", MOST, "item", ""),
        "ago": ("sequence", MOST, "", "viewed"),
        "before": ("sequence", MOST, "", "viewed"),
    }
    assert data.schema.tables() | {"item": 12} == {"action": 4, "item": 12, "ago": 51}
    for n, split in enumerate(("train", "validation", "test")):
        part = log()[n * ROWS // 3 : (n + 1) * ROWS // 3]
        assert sorted(ids_of(data, split)) == sorted(expected(data, part))


def test_pages_say_what_stands_beside_what(data):
    action, _, viewed, *_ = data.schema.fields
    assert overview.kind(action) == "sequence beside viewed"
    assert overview.kind(viewed) == "sequence"
    assert kind(action, "mean") == "sequence, 4 values at most, beside those of viewed"
    told = "4 values at most, din, of earlier values of item, table of item"
    assert kind(viewed, "din").endswith(told)


def test_sampled_negatives_keep_what_stands_beside(tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    text = f"{SCHEMA}sample_negatives: {{click: 0.5}}\n"
    sampled = prepared(tmp_path, log(), text)
    found = collections.Counter(ids_of(sampled, "train"))
    every = collections.Counter(expected(sampled, log()[: ROWS // 3]))
    assert ROWS // 6 < found.total() < ROWS // 3
    assert found <= every


def test_a_companion_that_train_lacks_has_its_historys_slots(tmp_path):
    frame = log().with_columns(before=None)
    made = prepared(tmp_path, frame.drop("before"), SCHEMA)
    (before,) = (f for f in made.schema.fields if f.name == "before")
    assert before.slots == MOST
    assert (np.asarray(SplitReader(made, "train").everything().ids)[:, -MOST:] == -1).all()


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("viewed_action", ["look"], "viewed_action"),
        ("viewed_action", None, "viewed_action"),
        ("viewed_gap", [1, 2, 3, 4], "viewed_gap"),
        ("before", [], "before"),
        ("viewed", None, "viewed_action"),  # the first in the file
    ],
)
def test_lists_of_different_lengths_are_bad_rows(tmp_path, column, value, field):
    frame = log()
    rows = np.flatnonzero(frame["viewed"].list.len() == 3)[:2].tolist()
    values = frame[column].to_list()
    for row in rows:
        values[row] = value
    frame = frame.with_columns(pl.Series(column, values, dtype=frame[column].dtype))
    made = prepared(tmp_path, frame, SCHEMA, max_reject_rate=0.01)
    kept = [json.loads(t) for t in (made.folder / "rejects.jsonl").read_text().splitlines()]
    assert len(kept) == 2
    for line in kept:
        assert line["column"] == field
        assert line["reason"] == f"list of '{field}' of another length than 'viewed'"


HISTORY = "h: {kind: sequence, target: item, max_values: 7, keep: first, longest: 9}\n  "


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("c: {kind: sequence, beside: user}", "stands beside 'user', which is categorical: expect"),
        (
            "c: {kind: sequence, beside: h}\n  d: {kind: sequence, beside: c}",
            "field 'd' stands beside 'c', which is a companion itself: expected a sequence with a "
            "target, such as h",
        ),
        (
            "c: {kind: sequence, beside: d}\n  d: {kind: sequence, beside: h}",
            "field 'c' stands beside 'd', which is a companion itself",
        ),
        ("hist: {kind: sequence, target: item}\n  c: {kind: sequence, beside: hit}", "'hist'?"),
        (
            "c: {kind: sequence, beside: h, encoder: hash, size: 5, functions: 2}",
            "stands beside 'h' and has two rows a value (functions: 2), and a sequence one for",
        ),
        (
            "c: {kind: sequence, beside: h, value: a + 1}",
            "field 'c' stands beside 'h', a list: expected a column of lists",
        ),
        (
            "c: {kind: sequence, beside: h, table: item, min_count: 3}",
            "field 'c' shares table 'item' with 'item'",
        ),
    ],
)
def test_companions_that_make_no_sense(field, part):
    with pytest.raises(UserError) as caught:
        schema_file.loads(spoiled(field=HISTORY + field), "shop.yaml")
    assert part in str(caught.value)
    assert str(caught.value).startswith("shop.yaml, line ")


def test_a_companion_keeps_what_its_history_keeps():
    text = spoiled(field="c: {kind: sequence, beside: h}\n  " + HISTORY.strip())
    companion, plain = (
        next(f for f in schema_file.loads(t).fields if f.name == "c")
        for t in (text, spoiled(field="c: {kind: bag}"))
    )
    assert (companion.max_values, companion.keep, companion.longest) == (7, "first", 9)
    assert (companion.encoder, companion.table) == ("vocabulary", "c")
    assert "beside" not in schema_file.meaning(schema_file.loads(spoiled()))["fields"][0]
    assert plain.beside == ""

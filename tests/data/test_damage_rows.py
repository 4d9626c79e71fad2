"""Every way in which a row can be bad: told with file, row, column and value; counted; kept."""

import math

import pytest
from damaged_logs import (
    FLAT,
    SCHEMA,
    Finished,
    columns,
    frame,
    lines_of,
    schema_file,
    small_pieces,
    write,
)

from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.errors import UserError

NAN, INF = math.nan, math.inf
TYPE, ENDLESS = "wrong type", "number that is not finite"
LARGE = "number beyond the range of 32-bit floats"
WEIGHT = "weight that is no finite number, 0 or more"
CLICK, ORDER = (f"label of '{name}' outside its range, 0 or 1" for name in ("click", "order"))
WATCH = "label of 'watch' outside its range, 0 to 100"
LENGTHS = "weights of another length than 'tags'"
NO_SPLIT = "split of no known name, expected 'train'; 'validation'; 'test'"

LOG = columns()
CLICKED = [row for row, click in enumerate(LOG["click"]) if click]
ONE_TAG = [row for row, tags in enumerate(LOG["tags"]) if len(tags) == 1]
ANYWHERE = [5, 600, 1999]  # of the first, a middle and the last unit

CASES = [  # column, its bad value, reason; rows
    ("price", "cheap", TYPE),
    ("price", INF, ENDLESS),
    ("price", -INF, ENDLESS),
    ("price", "inf", ENDLESS),
    ("price", 1e39, LARGE),
    ("age", "old", TYPE),
    ("age", -1e300, LARGE),
    ("click", 2, CLICK),
    ("click", 0.5, CLICK),
    ("click", -1, CLICK),
    ("click", "yes", TYPE),
    ("click", "", TYPE),
    ("click", None, "missing label"),
    ("click", NAN, "missing label"),
    ("order", 2, ORDER, CLICKED),
    ("order", None, "missing label", CLICKED),
    ("order", "often", TYPE, CLICKED),
    ("watch", -0.1, WATCH),
    ("watch", 100.5, WATCH),
    ("watch", INF, ENDLESS),
    ("watch", None, "missing label"),
    ("watch", "long", TYPE),
    ("w", -1.0, WEIGHT),
    ("w", None, WEIGHT),
    ("w", "heavy", TYPE),
    ("w", NAN, WEIGHT),
    ("w", 1e300, LARGE),
    ("user", None, "missing group"),
    ("t", None, "missing time"),
    ("t", "yesterday", "time that does not parse"),
    ("t", "2026-02-30 10:00:00", "time that does not parse"),
    ("t", "2026-03-02T10:00:00+25:99x", "time that does not parse"),
    ("tags", [1] * 5, "list of more than 4 values"),
    ("tag_weights", [1.0, 2.0], LENGTHS, ONE_TAG),
    ("tag_weights", None, LENGTHS, ONE_TAG),
    ("tag_weights", ["a"], TYPE, ONE_TAG),
    ("tag_weights", [None], TYPE, ONE_TAG),
    ("tag_weights", [INF], ENDLESS, ONE_TAG),
    ("tag_weights", [1e39], LARGE, ONE_TAG),
    ("vec", [1.0, 2.0], "list of other than 3 numbers"),
    ("vec", [], "list of other than 3 numbers"),
    ("vec", [1.0] * 4, "list of other than 3 numbers"),
    ("vec", [1.0, None, 2.0], TYPE),
    ("vec", [1.0, "x", 2.0], TYPE),
    ("vec", [1.0, NAN, 2.0], ENDLESS),
    ("vec", [1.0, 1e39, 2.0], LARGE),
    ("part", "trian", NO_SPLIT),
    ("part", None, "missing split"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        return Finished(tmp_path_factory.mktemp("finished"))


def named(case):
    return f"{case[0]} {case[1]}"


@pytest.mark.parametrize("case", CASES, ids=map(named, CASES))
def test_too_many_bad_rows_are_told_and_nothing_is_written(
    case, finished, tmp_path, monkeypatch, capsys
):
    small_pieces(monkeypatch)
    column, value, reason, rows = (*case, ANYWHERE)[:4]
    rows = rows[:3]  # of 2,000
    raw = write(tmp_path / "bad.parquet", frame({column: dict.fromkeys(rows, value)}))
    schema = schema_file(tmp_path, FLAT if column == "part" else SCHEMA)
    with pytest.raises(UserError, match="3 of 2,000 rows are bad") as told:
        prepare(schema, str(raw), finished.data_dir, processes=1, replace=True)
    first = f"{raw}, row {rows[0] + 1}, column {column!r}"
    assert f"3 of 2,000 rows rejected: {reason}: {first}" in str(told.value)
    shown = capsys.readouterr().out
    assert f"3 of 2,000 rows rejected: {reason}: {first}" in shown
    assert f"row {rows[2] + 1:,}, column {column!r}" in shown
    finished.check()
    kept = lines_of(finished.target.parent / "rejects.jsonl")
    assert [line["row"] for line in kept] == [row + 1 for row in rows]
    for line in kept:
        assert (line["file"], line["column"], line["reason"]) == (str(raw), column, reason)
        assert line["value"] in (repr(value), repr(str(value)), repr(texts(value)))


def texts(value):
    return [str(v) for v in value] if isinstance(value, list) else value


def test_bad_rows_of_every_kind_are_counted_and_all_others_are_prepared(tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    changed, expected, where = {}, {}, {}
    cases = [case for case in CASES if case[0] != "part"]
    for place, (column, value, reason, *pool) in enumerate(cases):
        row = pool[0][place] if pool else 1_000 + place
        reason = ENDLESS if value is NAN else reason  # these columns hold texts, too
        assert row not in where
        where[row] = (column, reason)
        changed.setdefault(column, {})[row] = value
        expected[reason] = expected.get(reason, 0) + 1
    raw = write(tmp_path / "bad.parquet", frame(changed))
    made = prepare(schema_file(tmp_path), str(raw), tmp_path, processes=1, max_reject_rate=0.05)
    assert made.notes["rejected"] == expected
    assert made.notes["read"] == 2_000
    assert sum(made.rows.values()) == 2_000 - len(cases)
    kept = lines_of(made.folder / "rejects.jsonl")
    assert {line["row"] - 1: (line["column"], line["reason"]) for line in kept} == where


def test_a_row_that_is_bad_twice_is_counted_once(tmp_path):
    raw = write(tmp_path / "bad.parquet", frame({"w": {5: -1.0}, "click": {5: 2, 7: 2}}))
    made = prepare(schema_file(tmp_path), str(raw), tmp_path, processes=1, max_reject_rate=0.1)
    assert made.notes["rejected"] == {WEIGHT: 1, CLICK: 1}
    assert sum(made.rows.values()) == 1_998


def test_what_known_spares_is_not_bad(tmp_path):
    unclicked = [row for row, click in enumerate(LOG["click"]) if not click][:4]
    values = dict(zip(unclicked, [None, "2", "-1", "never"], strict=True))
    raw = write(tmp_path / "log.parquet", frame({"order": values}))
    made = prepare(schema_file(tmp_path), str(raw), tmp_path, processes=1, max_reject_rate=0.0)
    assert sum(made.rows.values()) == 2_000
    assert made.notes["rejected"] == {}


def test_an_expression_shows_all_that_it_reads(tmp_path):
    text = SCHEMA.replace("  click:\n", "  click:\n  dear: {label: price * age > 500}\n", 1)
    text = text.replace(
        "  price: {kind: numeric}\n  age: {kind: numeric, encoder: standardise}", ""
    )
    raw = write(tmp_path / "bad.parquet", frame({"age": {5: INF}}))
    made = prepare(schema_file(tmp_path, text), str(raw), tmp_path, processes=1)
    (line,) = lines_of(made.folder / "rejects.jsonl")
    assert line["column"] == "price * age > 500"
    assert line["reason"] == TYPE
    assert line["value"] == str({"price": LOG["price"][5], "age": INF})


def test_times_of_other_zones_are_read(tmp_path):
    same = ["2026-03-01 01:40:00", "2026-03-01T01:40:00Z", "2026-03-01T03:40:00+02:00"]
    texts = {row: str(time) for row, time in enumerate(LOG["t"])} | dict(zip([5, 6, 7], same))
    raw = write(tmp_path / "log.parquet", frame({"t": texts}))
    made = prepare(schema_file(tmp_path), str(raw), tmp_path, processes=1, max_reject_rate=0.0)
    hours = [f.name for f in made.schema.fields].index("hour")
    slot = sum(field.slots for field in made.schema.fields[:hours])
    block = next(b for b in [made.source("train")[0]] if len(b["ids"]) > 7)
    assert len(set(block["ids"][5:8, slot].tolist())) == 1

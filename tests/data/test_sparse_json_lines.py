"""JSON lines that leave out what is null, as Spark writes them: a column may first appear late."""

import json

import polars as pl
import pytest
import raw_logs
from damaged_logs import frame, lines_of, schema_file

from dtn_jax.datasets.logs.infer import sample
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.datasets.logs.raw import files, json_lines, json_types, read
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.errors import UserError

TEXT = """
name: shop
fields:
  user:
  coupon: {min_count: 2}
  tags: {kind: bag, weights: tag_weights}
tasks:
  click:
group: user
time: t
"""
ROWS = 400


def rows_of(changed=None):
    """The log's rows; every seventh has a coupon, from row 100 on. `changed` is {row: coupon}."""
    coupons = {n: f"c{n % 3}" for n in range(100, ROWS, 7)} | (changed or {})
    every = frame(rows=ROWS).with_columns(t=pl.col("t").cast(pl.String)).to_dicts()
    return [row | ({"coupon": coupons[n]} if n in coupons else {}) for n, row in enumerate(every)]


def write(folder, rows, parts=1):
    """Part files, without the keys of what is null or an empty list."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        lines = rows[part * len(rows) // parts : (part + 1) * len(rows) // parts]
        kept = [{k: v for k, v in row.items() if v is not None and v != []} for row in lines]
        (folder / f"part-{part}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in kept))
    return str(folder)


def prepared(folder, rows, parts=1, most=0.0, text=TEXT):
    folder.mkdir(parents=True, exist_ok=True)
    schema = schema_file(folder, text)
    raw = write(folder / "raw", rows, parts)
    return prepare(schema, raw, folder, processes=1, max_reject_rate=most)


def coupons(made):
    (field,) = [field for field in made.schema.fields if field.name == "coupon"]
    return field.rows


def test_a_column_that_one_file_shows_is_null_in_the_others(tmp_path, monkeypatch):
    """Part 0 has no coupon, part 1 one in its first lines, part 2 only later."""
    expected = prepared(
        tmp_path / "one", [row | {"coupon": row.get("coupon")} for row in rows_of()]
    )
    monkeypatch.setattr(json_lines, "HEAD_LINES", 60)
    found = prepared(tmp_path / "many", rows_of(), parts=5)
    assert (found.rows, coupons(found)) == (expected.rows, 4)
    for split in found.rows:
        for mine, theirs in zip(found.source(split), expected.source(split), strict=True):
            assert (mine["ids"] == theirs["ids"]).all()


def test_a_column_that_no_first_lines_show_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "HEAD_LINES", 50)
    words = (
        r"field 'coupon': unknown column 'coupon' in the first 50 lines of any file\. The choices"
    )
    with pytest.raises(UserError, match=words):
        prepared(tmp_path, rows_of())
    text = TEXT.replace("time: t\n", "time: tt\n")
    with pytest.raises(UserError, match=r"time: unknown column 'tt' in the first 50 lines of any"):
        prepared(tmp_path, rows_of(), text=text)


def test_a_wrong_type_in_a_column_that_the_first_lines_lack_is_seen(tmp_path, monkeypatch):
    """Among single values a list, beside a list of the whole chunk; an object."""
    monkeypatch.setattr(json_lines, "HEAD_LINES", 120)
    rows = rows_of({300: ["x"], 301: {"of": "x"}})
    with pytest.raises(UserError, match="2 of 400 rows are bad") as told:
        prepared(tmp_path, rows, parts=2)
    assert "row 101" in str(told.value) or "row 102" in str(told.value)
    kept = (tmp_path / "logs/shop/rejects.jsonl").read_text()
    assert json_types.NOT_SCALAR in kept
    assert json_types.NESTED in kept


@pytest.mark.parametrize("name", ["t", "user", "coupon", "price", "click", "w", "part"])
def test_lists_in_a_file_that_first_lacks_the_column_are_bad_rows(name, tmp_path, monkeypatch):
    """All that a file has of a column of single values is two lists."""
    monkeypatch.setattr(json_lines, "HEAD_LINES", 10)
    rows = rows_of({0: "c1", 1: "c1"})
    last = [row | {name: None} for row in rows[:50]]
    last[20][name] = last[40][name] = [1, 2]
    text = TEXT.replace("  tags:", "  price: {kind: numeric}\n  tags:") + "weight: w\n"
    text += "split: {by: column, column: part}\n" if name == "part" else ""
    (tmp_path / "logs/shop").mkdir(parents=True)
    made = prepared(tmp_path, [*rows, *last], parts=9, most=0.5, text=text)
    kept = lines_of(made.folder / "rejects.jsonl")
    wrong = [line["row"] for line in kept if line["reason"] == "wrong type"]
    assert wrong == [21, 41]
    assert {line["column"] for line in kept} == {name}


@pytest.mark.parametrize(
    ("later", "kept", "reasons"),
    [
        (["x", [1], "y"], ["x", "y"], [json_types.NOT_SCALAR]),
        ([[1], 2, [3]], [[1], [3]], [json_types.NOT_LIST]),
        ([1, "x", 2.5], ["1", "x", "2.5"], []),
        ([{"b": 1}, 2], [2], [json_types.NESTED]),
        ([{"b": 1}, {"b": 2}], [], [json_types.NESTED] * 2),
    ],
)
def test_the_chunk_decides_where_the_first_lines_say_nothing(
    later, kept, reasons, tmp_path, monkeypatch
):
    monkeypatch.setattr(json_lines, "HEAD_LINES", 1)
    for first in ({"n": 0}, {"n": 0, "a": None}):
        lines = [first, *({"n": n, "a": value} for n, value in enumerate(later, 1))]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        found, _, broken = raw_logs.whole(tmp_path / "a.jsonl", ["a"])
        assert found["a"].to_list() == [None, *kept]
        assert [reject.reason for reject in broken] == reasons


def test_a_sample_has_a_column_that_some_first_lines_lack(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "HEAD_LINES", 60)
    raw = write(tmp_path / "raw", rows_of(), parts=5)
    found = sample.read(files.find([raw]), InputSpec())
    assert "coupon" in found.frame.columns
    assert found.frame["coupon"].drop_nulls().len() == len(range(100, ROWS, 7))
    assert not found.refused


def test_the_schema_of_a_log_is_that_of_all_its_files(tmp_path):
    write(tmp_path, [{"a": 1}, {"b": "x"}], parts=2)
    found = read.schemas(files.find([str(tmp_path)]), InputSpec())
    first, second = (list(types.items()) for types in found.values())
    assert first == [("_file", pl.String), ("a", pl.Int64), ("b", pl.Null)]
    assert second == [("_file", pl.String), ("b", pl.String), ("a", pl.Null)]

"""0, midnight, the empty text and the texts 'nan' and 'null' are values, never the unknown id."""

import datetime

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.logs.prepare import prepare

ROWS = 900
TEXTS = ["0", "nan", "null", "None", "", "NaN", "inf", "false", "-", " "]
FIELDS = """
fields:
  word: {}
  number: {}
  truth: {}
  price: {kind: numeric}
  age: {kind: numeric, encoder: standardise}
  hour: {value: hour(t)}
  dear: {value: price > 5}
tasks: [click]
time: t
group: user
split: {by: random}
"""
LISTS = "  tags: {kind: bag}\n  vec: {kind: vector, length: 2}\n"


def log():
    start = datetime.datetime(1970, 1, 1)
    every = range(ROWS)
    return pl.DataFrame(
        {
            "word": [TEXTS[n % len(TEXTS)] for n in every],
            "number": [n % 3 - 1 for n in every],
            "truth": [n % 2 == 1 for n in every],
            "price": [float(n % 2 * 10) for n in every],
            "age": [float(n % 5 - 2) for n in every],
            "t": [start + datetime.timedelta(minutes=30 * n) for n in every],
            "click": [n % 4 // 3 for n in every],
            "user": [n % 7 for n in every],
            "tags": [[0] * (n % 2 + 1) for n in every],
            "vec": [[0.0, 0.0]] * ROWS,
        }
    )


def prepared(folder, data, kind, more="", fields=FIELDS):
    raw = folder / f"log.{kind}"
    if kind == "parquet":
        data.write_parquet(raw)
    elif kind == "csv":
        data.drop("tags", "vec").write_csv(raw)
    else:
        data.with_columns(data["t"].cast(pl.String)).write_ndjson(raw)
    text = fields if kind == "csv" else fields.replace("tasks:", LISTS + "tasks:", 1)
    (folder / "zeros.yaml").write_text(text + more)
    return prepare(
        folder / "zeros.yaml", str(raw), folder, processes=1, max_reject_rate=0.0, replace=True
    )


def ids(made, name, split="train"):
    """Of the first slot of a field, without the rows that pad records."""
    names = [f.name for f in made.schema.fields for _ in range(f.slots)]
    lengths, source = np.diff(made.layout.starts(made.rows[split])), made.source(split)
    found = [source[i]["ids"][:n, names.index(name)] for i, n in enumerate(lengths)]
    return np.concatenate(found)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_natural_zeros_are_values(kind, tmp_path):
    made = prepared(tmp_path, log(), kind)
    empty = kind == "csv"  # where nothing is a missing value
    distinct = {"number": 3, "truth": 2, "hour": 24, "dear": 2, "word": len(TEXTS) - empty}
    for name, count in distinct.items():
        found = ids(made, name)
        assert len(set(found[found > 0].tolist())) == count, name
    for split, unknown in made.unknown_values.items():
        words = unknown.pop("word")
        assert (words > 0) == empty
        assert not any(unknown.values()), split
    assert set(ids(made, "age").tolist()) == {1}
    assert made.groups("train").min() == 0
    assert not any(made.notes["rejected"].values())


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_zeros_in_lists_are_values(kind, tmp_path):
    made = prepared(tmp_path, log(), kind)
    assert set(ids(made, "tags").tolist()) == {1}
    assert set(ids(made, "vec").tolist()) == {1}


def test_what_is_missing_is_the_unknown_id(tmp_path):
    nothing = {
        name: pl.when(pl.int_range(ROWS) % 3 > 0).then(name) for name in ("word", "number", "price")
    }
    made = prepared(tmp_path, log().with_columns(**nothing), "parquet")
    for name in nothing:
        found = ids(made, name)
        assert 0 < (found == 0).sum() == made.unknown_values["train"][name] < len(found)


def test_the_schema_file_may_call_a_value_unknown(tmp_path):
    fields = FIELDS.replace("word: {}", "word: {unknown: [nan, '']}")
    fields = fields.replace("number: {}", "number: {unknown: ['0']}")
    made = prepared(tmp_path, log(), "parquet", fields=fields)
    assert len(set(ids(made, "word").tolist()) - {0}) == len(TEXTS) - 2
    assert len(set(ids(made, "number").tolist()) - {0}) == 2
    assert (ids(made, "number") == 0).any()


def test_the_schema_file_may_call_a_text_of_csv_missing(tmp_path):
    made = prepared(tmp_path, log(), "csv", "input: {missing: [nan, 'null']}\n")
    assert len(set(ids(made, "word").tolist()) - {0}) == len(TEXTS) - 3


def test_zero_and_minus_zero_are_one_value(tmp_path):
    numbers = [[0.0, -0.0, 1.5][n % 3] for n in range(ROWS)]
    made = prepared(tmp_path, log().with_columns(number=pl.Series(numbers)), "parquet")
    assert set(ids(made, "number").tolist()) == {1, 2}


def test_seconds_since_1970_may_be_zero(tmp_path):
    data = log().with_columns(t=pl.int_range(ROWS) * 3600)
    data = data.with_columns(click=pl.lit(0).cast(pl.Int8), user=pl.lit(0))
    fields = FIELDS.replace("time: t", "time: {column: t, unit: s}")
    made = prepared(tmp_path, data, "parquet", fields=fields)
    assert made.unknown_values["train"]["hour"] == 0
    assert made.notes["rejected"] == {}
    assert made.notes["days"]["rows"][0][0] == 0

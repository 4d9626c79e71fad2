"""Logs that are odd but not wrong: they are prepared, and what is odd is said."""

import numpy as np
import polars as pl
import pytest
from damaged_logs import FLAT, ROWS, SCHEMA, columns, frame, schema_file, small_pieces, write

from dtn_jax.datasets.logs.prepare import prepare

GOOD = frame()
NO_NUMBERS = pl.Series([[]] * ROWS, dtype=pl.List(pl.Float64))


@pytest.fixture(autouse=True)
def pieces(monkeypatch):
    small_pieces(monkeypatch)


def prepared(folder, data=GOOD, text=SCHEMA, name="log.parquet"):
    raw = write(folder / "log.parquet", data).rename(folder / name)
    return prepare(schema_file(folder, text), str(raw), folder, processes=1, max_reject_rate=0.0)


def slot(made, name):
    """The first of a field's slots, and its table's rows."""
    at = 0
    for field in made.schema.fields:
        if field.name == name:
            return at, field.rows
        at += field.slots
    raise KeyError(name)


def ids(made, name, split="train"):
    at, _ = slot(made, name)
    lengths = np.diff(made.layout.starts(made.rows[split]))  # records are padded with rows
    source = made.source(split)
    found = [source[i]["ids"][:rows, at].tolist() for i, rows in enumerate(lengths)]
    return [number for part in found for number in part if number != -1]


def test_constant_fields(tmp_path):
    data = GOOD.with_columns(item=pl.lit("a"), price=pl.lit(3.0), age=pl.lit(40.0))
    made = prepared(tmp_path, data)
    assert set(ids(made, "item")) == {1}
    assert len(set(ids(made, "price"))) == 1
    assert not made.source("train")[0]["numeric"][:, 0].any()  # (40 - mean) / 1


def test_fields_that_are_missing_everywhere(tmp_path):
    nothing = [pl.lit(None).alias(name) for name in ("item", "price", "age", "vec")]
    made = prepared(tmp_path, GOOD.with_columns(nothing))
    for name in ("item", "price", "age", "vec"):
        assert set(ids(made, name)) == {0}, name
        assert made.unknown_values["train"][name] == made.rows["train"]
    assert slot(made, "item")[1] == 1  # the unknown id alone


def test_bags_that_are_empty_everywhere(tmp_path):
    data = GOOD.with_columns(tags=NO_NUMBERS.cast(pl.List(pl.Int64)), tag_weights=NO_NUMBERS)
    made = prepared(tmp_path, data)
    assert ids(made, "tags") == []
    assert slot(made, "tags")[1] == 1
    (tmp_path / "null").mkdir()
    data = GOOD.with_columns(tags=pl.lit(None), tag_weights=pl.lit(None))
    assert ids(prepared(tmp_path / "null", data), "tags") == []


def test_a_vocabulary_of_no_value(tmp_path):
    made = prepared(tmp_path, GOOD, SCHEMA.replace("min_count: 2", "min_count: 5000"))
    assert slot(made, "item")[1] == 1
    assert set(ids(made, "item")) == {0}


def test_labels_of_which_nothing_can_be_learned_are_told(tmp_path):
    made = prepared(tmp_path, GOOD.with_columns(click=pl.lit(0)))
    assert made.notes["account"] == [
        "task 'click': all known labels are negative",  # by weight, so that they are not counted
        "task 'order': its label is known in no row of 'click'",
    ]


def test_a_label_that_is_always_positive_is_told(tmp_path):
    made = prepared(tmp_path, GOOD.with_columns(click=pl.lit(True), order=pl.lit(1)))
    assert made.notes["account"] == [
        f"task {name!r}: all known labels are positive" for name in ("click", "order")
    ]


def test_a_good_log_has_no_account(tmp_path):
    assert "account" not in prepared(tmp_path).notes


def test_two_hundred_columns(tmp_path):
    more = {f"c{n}": pl.int_range(ROWS) % (n + 2) for n in range(200)}
    text = SCHEMA.replace("  user:\n", "  user:\n" + "".join(f"  {name}:\n" for name in more))
    made = prepared(tmp_path, GOOD.with_columns(**more), text)
    assert len(made.schema.fields) == 207
    for n in (0, 7, 199):
        assert len(set(ids(made, f"c{n}"))) == n + 2


NAMES = ["a / b", "ünï ☃", "../up", "a.b", "%2F", "with 'quotes'", "[x]", " begins with a space"]


def test_names_of_fields_and_files_may_be_any_text(tmp_path):
    text = SCHEMA.replace(
        "  user:\n",
        "  user:\n" + "".join(f'  "{name}": {{table: "{name}"}}\n' for name in NAMES),
    )
    data = GOOD.with_columns(**dict.fromkeys(NAMES, GOOD["item"]))
    made = prepared(tmp_path, data, text, name="ü ö [1] ☃ 'x'.parquet")
    assert [field.name for field in made.schema.fields][1 : 1 + len(NAMES)] == NAMES
    expected = ids(prepared_again(tmp_path), "item")
    for name in NAMES:
        assert len(set(ids(made, name))) == len(set(expected))
    inside = {path.parent.name for path in made.folder.rglob("*.arrow")}
    assert inside == {"vocabulary"}  # none is written elsewhere


def prepared_again(folder):
    (folder / "plain").mkdir()
    return prepared(folder / "plain", GOOD, SCHEMA.replace("{min_count: 2}", "{}"))


OTHER_TYPES = {
    "text": GOOD.with_columns(pl.col("user", "click", "price").cast(pl.String)),
    "floats": GOOD.with_columns(pl.col("user", "click", "order").cast(pl.Float64)),
    "small": GOOD.with_columns(pl.col("user").cast(pl.UInt8), pl.col("click").cast(pl.Boolean)),
    "unsigned": GOOD.with_columns(pl.col("user").cast(pl.UInt64)),
    "times": GOOD.with_columns(pl.col("t").cast(pl.String)),
}


@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_a_column_may_have_another_type_in_another_file(kind, tmp_path):
    found = []
    for name, second in (("same", GOOD), ("other", OTHER_TYPES[kind])):
        folder = tmp_path / name
        (folder / "logs").mkdir(parents=True)
        write(folder / "logs/a.parquet")
        write(folder / "logs/b.parquet", second)
        schema = schema_file(folder)
        made = prepare(schema, str(folder / "logs"), folder, processes=1, max_reject_rate=0.0)
        found.append((made.fingerprint, made.groups("test").tolist()))
    assert found[0] == found[1]


def test_empty_files_among_others_hold_no_rows(tmp_path):
    found = []
    for kind in ("jsonl", "parquet"):
        folder = tmp_path / kind
        folder.mkdir()
        write(folder / f"part-1.{kind}")
        empty = folder / f"part-0.{kind}"
        if kind == "parquet":
            write(empty, GOOD.head(0))
        else:
            empty.write_bytes(b"")  # as Spark leaves them
        made = prepare(schema_file(tmp_path, FLAT), str(folder), folder, processes=1)
        found.append(made.rows)
    assert found[0] == found[1]
    assert sum(found[0].values()) == len(columns()["user"])

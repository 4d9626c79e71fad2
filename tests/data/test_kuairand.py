"""KuaiRand's reader: days decide the split, columns may be missing, damage is named."""

import datetime
import json
import os
import pathlib

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.kuairand import files as kuairand_files
from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError

FIRST = datetime.date(2022, 4, 8)  # a Friday


def log(days=15, rows=40, seed=0):
    """A small log; every day has `rows` impressions."""
    rng = np.random.default_rng(seed)
    dates = [int((FIRST + datetime.timedelta(d)).strftime("%Y%m%d")) for d in range(days)]
    n = days * rows
    click = rng.integers(0, 2, n)
    columns = {
        "user_id": rng.integers(0, 12, n),
        "video_id": rng.integers(0, 60, n),
        "date": np.repeat(dates, rows),
        "hourmin": rng.integers(0, 24, n) * 100,
        "duration_ms": rng.integers(1_000, 90_000, n),
        "is_click": click,
        "long_view": click * rng.integers(0, 2, n),
        "tab": rng.integers(0, 3, n),  # not read
    }
    rare = ("is_profile_enter", "is_comment", "is_forward", "is_follow")
    return pl.DataFrame(columns | {name: rng.integers(0, 2, n) for name in rare})


def prepare(frames, tmp_path, **kwargs):
    """Writes {file name: frame} and prepares them."""
    folder = tmp_path / "manual" / "kuairand"
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        if name.endswith(".csv"):
            frame.write_csv(folder / name)
        else:
            frame.write_parquet(folder / name)
    return catalog.load(
        "kuairand", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path / "manual"), **kwargs
    )


def rows(prepared, split):
    """The ids, labels and groups of a split, in file order."""
    source = prepared.source(split)
    lengths = prepared.layout.blocks(prepared.rows[split])
    read = [{k: source[i][k][:n] for k in ("ids", "labels")} for i, n in enumerate(lengths)]
    joined = {k: np.concatenate([r[k] for r in read]) for k in read[0]}
    return joined | {"group": prepared.groups(split)}


def account_of(prepared, capsys):
    """What was said of a set when it was prepared, which is also kept."""
    lines = prepared.notes.get("account", [])
    shown = capsys.readouterr().out
    assert all(f"kuairand: {line}" in shown for line in lines)
    return lines


SHARED = pathlib.Path(os.environ.get("DTN_MANUAL_DIR", "nowhere"))


def test_days_decide_the_split(tmp_path, capsys):
    frame = log()
    published = {  # two files, as published
        "log_standard_4_08_to_4_21_1k.csv": frame[:400],
        "log_standard_4_22_to_5_08_1k.csv": frame[400:],
    }
    prepared = prepare(published, tmp_path)
    assert prepared.rows == {"train": 400, "validation": 80, "test": 80}
    assert (
        "kuairand: skipped 40 rows of 1 later days (2022-04-22 to 2022-04-22)"
        in capsys.readouterr().out
    )
    assert prepared.notes["account"] == [
        "skipped 40 rows of 1 later days (2022-04-22 to 2022-04-22)"
    ]
    assert [t.name for t in prepared.schema.tasks] == list(kuairand_files.LABELS)
    long_view = prepared.schema.tasks[1]
    assert long_view.upstream == long_view.also_report == ("click",)
    test, expected = rows(prepared, "test"), frame[480:560]
    np.testing.assert_array_equal(test["group"], expected["user_id"])
    days = expected["date"].cast(pl.String).str.to_date("%Y%m%d").to_physical()
    np.testing.assert_array_equal(prepared.days("test"), days)
    labels = expected.select(kuairand_files.LABELS.values()).to_numpy()
    np.testing.assert_array_equal(test["labels"], labels)
    np.testing.assert_array_equal(test["ids"][:, 2], expected["hourmin"] // 100 + 1)
    # The thirteenth and fourteenth days are a Wednesday and a Thursday.
    np.testing.assert_array_equal(test["ids"][:, 3], [3] * 40 + [4] * 40)


def test_long_views_without_a_click_are_kept_and_counted(tmp_path, capsys):
    frame = log().with_columns(long_view=pl.lit(1))
    prepared = prepare({"log_standard.csv": frame}, tmp_path)
    odd = (frame["is_click"] == 0).to_numpy()
    counts = f"{odd[:400].sum()} of train, {odd[400:480].sum()} of validation, "
    counts += f"{odd[480:560].sum()} of test"
    line = f"long views without a click, kept as they are: {counts}"
    assert line in capsys.readouterr().out
    assert line in prepared.notes["account"]
    assert rows(prepared, "train")["labels"][:, 1].all()


def test_rare_videos_share_the_unknown_id(tmp_path):
    frame = log()
    prepared = prepare({"log_standard.csv": frame}, tmp_path, options="min_count=8")
    counts = frame[:400]["video_id"].value_counts()
    often = counts.filter(pl.col("count") >= 8)["video_id"].to_list()
    assert 0 < len(often) < 60
    assert prepared.schema.fields[1].rows == 1 + len(often)
    unknown = rows(prepared, "train")["ids"][:, 1] == 0
    np.testing.assert_array_equal(unknown, ~frame[:400]["video_id"].is_in(often).to_numpy())


def test_durations_may_stay_numbers(tmp_path):
    frames = {"log_standard.csv": log()}
    kept = prepare(frames, tmp_path, options="min_count=1,numbers=standardise")
    assert kept.folder == tmp_path / "data" / "kuairand" / "min_count1_standardised" / "1.0.0"
    duration, first = log()["duration_ms"].to_numpy()[:400], kept.layout.blocks(400)[0]
    expected = (duration[:first] - duration.mean()) / duration.std()
    stored = kept.source("train")[0]["numeric"][:first, 0]
    np.testing.assert_allclose(stored, expected, rtol=1e-5, atol=1e-6)
    usual = prepare(frames, tmp_path, options="min_count=1")
    assert [f.standardised for f in (usual.schema.fields[4], kept.schema.fields[4])] == [
        False,
        True,
    ]
    np.testing.assert_array_equal(
        rows(usual, "test")["ids"][:, :4], rows(kept, "test")["ids"][:, :4]
    )


def test_a_subset_in_parquet_gives_the_same(tmp_path):
    csv = prepare({"log_standard.csv": log()}, tmp_path / "csv")
    parquet = prepare({"subset.parquet": log().drop("tab")}, tmp_path / "parquet")
    assert csv.fingerprint == parquet.fingerprint


@pytest.mark.skipif(not (SHARED / "kuairand").exists(), reason="needs the real subset")
def test_the_real_subset(tmp_path):
    prepared = catalog.load("kuairand", data_dir=str(tmp_path), manual_dir=str(SHARED))
    assert sum(prepared.rows.values()) == 41_828
    labels = np.concatenate([rows(prepared, split)["labels"] for split in prepared.rows])
    assert labels[:, 1].sum() == 19_320
    np.testing.assert_allclose(labels[:, 0].mean(), 0.657, atol=5e-4)


OPTIONAL = {n: c for n, c in kuairand_files.SOURCES.items() if c not in kuairand_files.NEEDED}


@pytest.mark.parametrize("name", ["long_view", "hour", "follow"])
def test_a_missing_column_drops_its_task_or_field(name, tmp_path, capsys):
    prepared = prepare({"log_standard.csv": log().drop(OPTIONAL[name])}, tmp_path)
    what = "task" if name in kuairand_files.LABELS else "field"
    lines = account_of(prepared, capsys)
    assert f"no column {OPTIONAL[name]!r}: dropped {what} {name!r}" in lines
    known = (*prepared.schema.field_names, *(t.name for t in prepared.schema.tasks))
    assert known == tuple(n for n in kuairand_files.SOURCES if n != name)
    whole = rows(prepare({"log_standard.csv": log()}, tmp_path / "whole"), "test")
    part, key = rows(prepared, "test"), "ids" if what == "field" else "labels"
    at = list(kuairand_files.FEATURES if what == "field" else kuairand_files.LABELS).index(name)
    np.testing.assert_array_equal(part[key], np.delete(whole[key], at, axis=1))


def test_a_column_that_one_of_two_files_lacks_has_no_values_there(tmp_path, capsys):
    files = {"log_standard_1.csv": log()[:400], "log_standard_2.csv": log()[400:].drop("long_view")}
    prepared = prepare(files, tmp_path)
    line = "no column 'long_view' in log_standard_2.csv: no values"
    assert line in account_of(prepared, capsys)
    facts = json.loads((prepared.folder / "prepared.json").read_text())
    assert [found["long_view"] for found in facts["missing_labels"].values()] == [0, 80, 80]


def test_empty_columns_hold_missing_values(tmp_path, capsys):
    empty = {name: pl.lit(None) for name in ("hourmin", "duration_ms", "long_view", "is_follow")}
    prepared = prepare({"log_standard.csv": log().with_columns(**empty)}, tmp_path)
    assert not rows(prepared, "test")["ids"][:, [2, 4]].any()
    facts = json.loads((prepared.folder / "prepared.json").read_text())
    missing = {name: n for name, n in facts["missing_labels"]["train"].items() if n}
    assert missing == {"long_view": 400, "follow": 400}
    told = [line for line in account_of(prepared, capsys) if "known in no row of train" in line]
    assert [line.split("'")[1] for line in told] == ["long_view", "follow"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (log(days=13), r"hold 13 days; expected at least 14"),
        (log().drop("date"), "column 'date' is missing"),
        (log().with_columns(is_click=pl.lit(2)), r"click.* 0, 1 or missing"),
        (log().with_columns(pl.col("date") / 1), "'date' must hold whole numbers, got Float64"),
        (log().with_columns(pl.lit(None, pl.Int64).alias("user_id")), "user_id"),
        (log().with_columns(long_view=pl.lit("1")), "label 'long_view' must hold numbers, got Str"),
        (pl.DataFrame({"a" * 10**7: [1]}), r"the columns are: a{60}…$"),
    ],
)
def test_bad_files_are_named(frame, message, tmp_path):
    with pytest.raises(UserError, match=message):
        prepare({"subset.parquet": frame}, tmp_path)


def with_date(row, date):
    """The log with another date in one row."""
    changed = pl.when(pl.int_range(pl.len()) == row).then(date).otherwise(pl.col("date"))
    return log().with_columns(changed.alias("date"))


@pytest.mark.parametrize("date", [None, 20220230, 202204081])
def test_what_is_no_date_is_named_with_its_row(date, tmp_path):
    frame, got = with_date(407, date), "missing" if date is None else date
    message = rf"subset.parquet, row 408: date is {got}, expected a calendar date"
    with pytest.raises(UserError, match=message):
        prepare({"subset.parquet": frame}, tmp_path / "parquet")
    message = rf"log_standard_2.csv, line 9: date is {got}, expected a calendar date"
    files = {"log_standard_1.csv": frame[:400], "log_standard_2.csv": frame[400:]}
    with pytest.raises(UserError, match=message):
        prepare(files, tmp_path / "csv")


def test_a_stray_date_does_not_shift_the_split(tmp_path, capsys):
    message = r"2022-01-05 \(1 rows\) is followed by 2022-04-08 \(40 rows\); expected 14 days that"
    with pytest.raises(UserError, match=message + r".* of 20220105 is .*subset.parquet, row 408"):
        prepare({"subset.parquet": with_date(407, 20220105)}, tmp_path / "early")
    gap = log(days=16).filter(pl.col("date") != 20220412)
    with pytest.raises(UserError, match=r"2022-04-11 \(40 rows\) is followed by 2022-04-13"):
        prepare({"subset.parquet": gap}, tmp_path / "gap")
    late = prepare({"subset.parquet": with_date(570, 20991231)}, tmp_path / "late")
    line = "skipped 40 rows of 2 later days (2022-04-22 to 2099-12-31)"
    assert line in account_of(late, capsys)
    assert late.rows == {"train": 400, "validation": 80, "test": 80}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.rpartition(",")[0], r"Row #8: Expected 12 columns, got 11"),
        (lambda line: line + ",1", r"Row #8: Expected 12 columns, got 13"),
        (lambda line: "", r"line 8: date is missing"),
        (lambda line: "u" + line, r"Row #8: CSV conversion error to int64: invalid value 'u"),
        (lambda line: line.replace(",2022", ",2022-"), r"Row #8: .*invalid value '2022-0408'"),
    ],
)
def test_a_line_that_is_not_as_the_header_is_named(change, message, tmp_path):
    prepare({"log_standard.csv": log()}, tmp_path)
    path = tmp_path / "manual" / "kuairand" / "log_standard.csv"
    lines = path.read_text().splitlines()
    lines[7] = change(lines[7])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=rf"log_standard\.csv.*{message}") as caught:
        catalog.load("kuairand", data_dir=str(tmp_path / "2"), manual_dir=str(tmp_path / "manual"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "column", "value", "message"),
    [
        ("csv", "is_click", 2, "label is_click is 2, expected 0, 1 or missing"),
        ("parquet", "is_follow", -1, "label is_follow is -1, expected 0, 1 or missing"),
        ("csv", "user_id", None, "user_id is missing, expected a user"),
        ("parquet", "hourmin", 2360, "hourmin is 2360, expected a time as HHMM, from 0 to 2359"),
        ("csv", "hourmin", 2400, "hourmin is 2400, expected a time"),
    ],
)
def test_a_bad_value_is_named_by_file_and_line(kind, column, value, message, tmp_path):
    frame = log()
    changed = [value if i in (301, 305) else v for i, v in enumerate(frame[column])]
    frame = frame.with_columns(pl.Series(column, changed, pl.Int64))
    where = "b.csv, line 3" if kind == "csv" else "b.parquet, row 2"
    with pytest.raises(UserError, match=rf"standard_{where}: {message}.* \(in 2 rows\)"):
        prepare(
            {f"log_standard_a.{kind}": frame[:300], f"log_standard_b.{kind}": frame[300:]}, tmp_path
        )

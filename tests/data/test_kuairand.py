"""KuaiRand's reader: days decide the split, columns may be missing, damage is named."""

import datetime
import json
import os
import pathlib

import numpy as np
import polars as pl
import pytest
from twins import TASKS

from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError

FIRST = datetime.date(2022, 4, 8)  # a Friday
FIELDS = {"user": "user_id", "video": "video_id", "hour": "hourmin", "weekday": "date"}
FIELDS["duration"] = "duration_ms"


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
    assert all(line in shown for line in lines)
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
    line = "skipped 40 rows of 1 other days (20220422 to 20220422)"
    assert account_of(prepared, capsys)[0] == line
    assert [t.name for t in prepared.schema.tasks] == list(TASKS)
    long_view = prepared.schema.tasks[1]
    assert long_view.upstream == long_view.also_report == ("click",)
    test, expected = rows(prepared, "test"), frame[480:560]
    np.testing.assert_array_equal(test["group"], expected["user_id"])
    days = expected["date"].cast(pl.String).str.to_date("%Y%m%d").to_physical()
    np.testing.assert_array_equal(prepared.days("test"), days)
    labels = expected.select(TASKS.values()).to_numpy()
    np.testing.assert_array_equal(test["labels"], labels)
    np.testing.assert_array_equal(test["ids"][:, 2], expected["hourmin"] // 100 + 1)
    # The thirteenth and fourteenth days are a Wednesday and a Thursday.
    np.testing.assert_array_equal(test["ids"][:, 3], [3] * 40 + [4] * 40)


def test_rows_of_a_day_stay_in_the_order_of_the_files(tmp_path):
    frame = log().sample(fraction=1, shuffle=True, seed=1)
    files = {"log_standard_1.csv": frame[:200], "log_standard_2.csv": frame[200:]}
    train = rows(prepare(files, tmp_path), "train")
    expected = frame.filter(pl.col("date") < 20220418).sort("date", maintain_order=True)
    np.testing.assert_array_equal(train["group"], expected["user_id"])
    np.testing.assert_array_equal(train["labels"][:, 0], expected["is_click"])


def test_long_views_without_a_click_are_kept_and_counted(tmp_path, capsys):
    frame = log().with_columns(long_view=pl.lit(1))
    prepared = prepare({"log_standard.csv": frame}, tmp_path)
    odd = (frame["is_click"][:560] == 0).sum()
    line = (
        f"{odd} of 560 positives of task 'long_view' ({odd / 5.6:.1f} %) lie on rows where 'click'"
    )
    assert any(told.startswith(line) for told in account_of(prepared, capsys))
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
    kept = prepare({"log_standard.csv": log()}, tmp_path, options="min_count=1,numbers=standardise")
    assert kept.folder.parts[-2] == "min_count1_numbersstandardise"
    duration, first = log()["duration_ms"].to_numpy()[:400], kept.layout.blocks(400)[0]
    expected = (duration[:first] - duration.mean()) / duration.std()
    stored = kept.source("train")[0]["numeric"][:first, 0]
    np.testing.assert_allclose(stored, expected, rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize("name", ["long_view", "hour", "follow"])
def test_a_missing_column_drops_its_task_or_field(name, tmp_path, capsys):
    every = FIELDS | TASKS
    frames = {"log_standard.csv": log().drop(every[name])}
    prepared = prepare(frames, tmp_path)
    assert f"no column {every[name]!r}: dropped {name!r}" in account_of(prepared, capsys)
    known = (*prepared.schema.field_names, *(t.name for t in prepared.schema.tasks))
    assert known == tuple(n for n in every if n != name)
    whole = rows(prepare({"log_standard.csv": log()}, tmp_path / "whole"), "test")
    key, names = ("ids", FIELDS) if name in FIELDS else ("labels", TASKS)
    part, at = rows(prepared, "test"), list(names).index(name)
    np.testing.assert_array_equal(part[key], np.delete(whole[key], at, axis=1))
    (tmp_path / "manual" / "kuairand" / "log_standard.csv").unlink()  # the set is enough
    again = catalog.load("kuairand", "", str(tmp_path / "data"), str(tmp_path / "manual"))
    assert again.fingerprint == prepared.fingerprint


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
    told = [line for line in account_of(prepared, capsys) if "known in no row" in line]
    assert [line.split("'")[1] for line in told] == ["long_view", "follow"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (log(days=13), r"no row is of 20220421; expected rows of all days from 20220408 to"),
        (log().filter(pl.col("date") != 20220412), "no row is of 20220412"),
        (log().drop("date"), "column 'date' is missing"),
        (log().drop("is_click"), "column 'is_click' is missing"),
        (pl.DataFrame({"a" * 10**7: [1]}), r"the columns are: a{60}…$"),
    ],
)
def test_bad_files_are_named(frame, message, tmp_path):
    with pytest.raises(UserError, match=message):
        prepare({"subset.parquet": frame}, tmp_path)


@pytest.mark.parametrize("date", [20220105, 20991231])
def test_a_stray_date_does_not_shift_the_split(date, tmp_path, capsys):
    dates = log()["date"].to_list()
    dates[570] = date
    prepared = prepare({"subset.parquet": log().with_columns(date=pl.Series(dates))}, tmp_path)
    line = f"of 2 other days ({min(date, 20220422)} to {max(date, 20220422)})"
    assert f"skipped 40 rows {line}" in account_of(prepared, capsys)
    assert prepared.rows == {"train": 400, "validation": 80, "test": 80}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.rpartition(",")[0], "line 8: 11 values, expected 12"),
        (lambda line: line + ",1", "line 8: 13 values, expected 12"),
        (lambda line: "", "line 8: 1 values, expected 12"),
        (lambda line: "u" + line, "line 8: user_id is 'u"),
        (lambda line: '"' + line, "line 8: user_id is '\""),
        (lambda line: line.replace(",2022", ",2022-"), "line 8: date is '2022-0408', expected a"),
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
        ("csv", "is_click", 2, "is_click is '2', expected 0, 1 or missing"),
        ("parquet", "is_follow", -1, "is_follow is '-1', expected 0, 1 or missing"),
        ("csv", "user_id", None, "user_id is '', expected a user"),
        ("parquet", "hourmin", 2360, "hourmin is '2360', expected a time as HHMM, from 0 to 2359"),
        ("csv", "hourmin", 2400, "hourmin is '2400', expected a time"),
        ("csv", "hourmin", 60, "hourmin is '60', expected a time"),
        ("csv", "date", None, "date is '', expected a date such as 20220408"),
        ("parquet", "date", 20220240, "date is '20220240', expected a date"),
        ("csv", "date", 202204081, "date is '202204081', expected a date"),
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

"""Bad files, lines, values and dates of KuaiRand are named."""

import polars as pl
import pytest
from kuairand_logs import account_of, log, prepare

from dtn_jax.datasets.kuairand import files as kuairand_files
from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (log(days=13), r"hold 13 days; expected at least 14"),
        *((log().drop(name), f"column '{name}' is missing") for name in kuairand_files.NEEDED),
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


@pytest.mark.parametrize("date", [None, 20220230, 2022048, 0, -20220408, 202204081])
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


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    prepare({"log_standard.csv": log()}, tmp_path)
    path = tmp_path / "manual/kuairand/log_standard.csv"
    path.write_text(path.read_text().replace(",tab,", ",is_click,", 1))
    with pytest.raises(UserError, match="column 'is_click' is there twice"):
        catalog.load("kuairand", data_dir=str(tmp_path / "2"), manual_dir=str(tmp_path / "manual"))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("is_click", 2, "label is_click is 2, expected 0, 1 or missing"),
        ("is_follow", -1, "label is_follow is -1, expected 0, 1 or missing"),
        ("user_id", None, "user_id is missing, expected a user"),
        ("hourmin", 2360, "hourmin is 2360, expected a time as HHMM, from 0 to 2359"),
        ("hourmin", 2400, "hourmin is 2400, expected a time"),
    ],
)
def test_a_bad_value_is_named_by_file_and_line(column, value, message, kind, tmp_path):
    frame = log()
    changed = [value if i in (301, 305) else v for i, v in enumerate(frame[column])]
    frame = frame.with_columns(pl.Series(column, changed, pl.Int64))
    where = "b.csv, line 3" if kind == "csv" else "b.parquet, row 2"
    with pytest.raises(UserError, match=rf"standard_{where}: {message}.* \(in 2 rows\)"):
        prepare(
            {f"log_standard_a.{kind}": frame[:300], f"log_standard_b.{kind}": frame[300:]}, tmp_path
        )


def test_a_stray_day_beside_the_others_is_refused(tmp_path):
    stray = log(1, 1).with_columns(date=pl.lit(20220407))
    with pytest.raises(UserError, match=r"20220407 has 1 rows, .* is 400; .*_a\.csv, line 2$"):
        prepare({"log_standard_a.csv": stray, "log_standard_b.csv": log(15, 400)}, tmp_path)

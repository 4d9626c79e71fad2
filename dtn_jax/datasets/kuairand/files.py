"""KuaiRand's log files: finds them, reads the columns used, and reports the first wrong line."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import polars as pl
import pyarrow as pa
from pyarrow import csv

from dtn_jax.datasets.preparation.checks import check_columns
from dtn_jax.errors import UserError

HOME = "https://kuairand.com"
LABELS = {  # task: column
    "click": "is_click",
    "long_view": "long_view",
    "profile_enter": "is_profile_enter",
    "comment": "is_comment",
    "forward": "is_forward",
    "follow": "is_follow",
}
FEATURES = {  # field: column; hourmin is HHMM
    "user": "user_id",
    "video": "video_id",
    "hour": "hourmin",
    "weekday": "date",
    "duration": "duration_ms",
}
SOURCES = FEATURES | LABELS
AGAIN = "_duplicated_"  # polars appends it, and a number, to the name of a CSV's second column
WHOLE = ("user_id", "video_id", "date", "hourmin")
WANTED = {"user_id": "a user", "hourmin": "a time as HHMM, from 0 to 2359"}
NEEDED = ("user_id", "video_id", "date", "is_click")


def locate(folder: pathlib.Path) -> list[pathlib.Path]:
    """The log's files, in order of time by their names: CSV as published, else Parquet."""
    for pattern in ("log_standard*.csv", "*.parquet"):
        if found := sorted(folder.glob(pattern)):
            return found
    raise UserError(f"{folder} holds neither log_standard*.csv nor *.parquet; see {HOME}")


def raw_logs(manual_dir: pathlib.Path | None) -> list[pathlib.Path]:
    """The log's files in the user's folder of raw files; raises UserError that says how to get
    them."""
    if not manual_dir:
        raise UserError(
            f"kuairand is not downloaded: get it from {HOME} and give data.manual_dir (or "
            "$DTN_MANUAL_DIR), a folder whose folder kuairand holds log_standard*.csv"
        )
    return locate(manual_dir / "kuairand")


def as_day(dates: pl.Expr) -> pl.Expr:
    """Whole numbers such as 20220408 to dates; null where there is no such day."""
    day = pl.when(dates.is_between(1000_00_00, 9999_99_99)).then(dates)  # else 2022048 would be one
    return day.cast(pl.String).str.to_date("%Y%m%d", strict=False)


def read(path: pathlib.Path) -> pl.LazyFrame:
    """The used columns that the file has, lazily."""
    if path.suffix == ".csv":  # an empty column, or empty first rows, would be taken for text
        log = pl.scan_csv(path, schema_overrides=dict.fromkeys(SOURCES.values(), pl.Int64))
    else:
        log = pl.scan_parquet(path)
    empty = collect(log.head(0), path)
    check_columns(empty, NEEDED, str(path))
    columns = [name for name in SOURCES.values() if name in empty.columns]
    for name in columns:
        if f"{name}{AGAIN}0" in empty.columns:
            raise UserError(f"{path}: column {name!r} is there twice")
        dtype = empty[name].dtype
        if name in LABELS.values() and not (dtype.is_numeric() or dtype in (pl.Null, pl.Boolean)):
            raise UserError(f"{path}: label {name!r} must hold numbers, got {dtype}")
        if name in WHOLE and not dtype.is_integer() and dtype != pl.Null:
            raise UserError(f"{path}: column {name!r} must hold whole numbers, got {dtype}")
    nothing = [name for name in columns if empty[name].dtype == pl.Null]
    return log.select(columns).with_columns(pl.col(nothing).cast(pl.Int64))


def check_csv(path: pathlib.Path, columns: Sequence[str]) -> None:
    """Raises UserError that names the first line with too many or too few columns, or with
    something else than a whole number or nothing in one of `columns`. polars would read a short
    line as one that ends in missing values."""
    try:
        with csv.open_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.int64()),
                null_values=[""],
            ),
        ) as batches:
            for _ in batches:
                pass
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: {error}. Expected as many columns as in its first line (row 1), and whole "
            f"numbers or nothing in {', '.join(columns)}"
        ) from None


def check_labels(paths: Sequence[pathlib.Path]) -> None:
    """Raises UserError that names the first label that is not 0, 1 or missing, the first time that
    is none, or the first row without a user."""
    for path in paths:
        log = read(path)
        labels = [name for name in LABELS.values() if name in log.collect_schema()]
        wrong = {name: ~pl.col(name).cast(pl.Float32).is_in([0.0, 1.0]) for name in labels}
        wrong["user_id"] = pl.col("user_id").is_null()
        if "hourmin" in log.collect_schema():
            minute = pl.col("hourmin") % 100
            wrong["hourmin"] = ~pl.col("hourmin").is_between(0, 2359) | (minute > 59)
        log = log.select(**{name: bad.fill_null(False) for name, bad in wrong.items()})
        for name, count in collect(log.sum(), path).row(0, named=True).items():
            if not count:
                continue
            at = collect(log.select(pl.col(name).arg_true().first()), path).item()
            value = collect(read(path).select(name).slice(at, 1), path).item()
            what, wanted = ("label ", "0, 1 or missing") if name in labels else ("", WANTED[name])
            raise UserError(
                f"{place(path, at)}: {what}{name} is {'missing' if value is None else value}, "
                f"expected {wanted} (in {count:,} rows)"
            )


def place(path: pathlib.Path, row: int) -> str:
    """Where a row is, counted from 0, for a message; a CSV's first line is its header."""
    return f"{path}, " + (f"line {row + 2}" if path.suffix == ".csv" else f"row {row + 1}")


def first_row(paths: Sequence[pathlib.Path], date: int | None) -> str:
    """Where the first row with this date is, for a message."""
    for path in paths:
        same = read(path).select(pl.col("date").eq_missing(date)).with_row_index("row")
        row = collect(same.filter("date").select(pl.col("row").min()), path).item()
        if row is not None:
            return place(path, row)
    return f"in none of {len(paths)} files"


def collect(rows: pl.LazyFrame, path: pathlib.Path | None = None) -> pl.DataFrame:
    """Reads rows, of one file or all; raises UserError where a file is damaged."""
    try:
        return rows.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path or 'kuairand: the log'} cannot be read: {error}") from error

"""KuaiRand's standard log (Gao et al., CIKM 2022): a short-video recommender's impressions.

Reads, from `<manual_dir>/kuairand`, the published `log_standard*.csv` (of KuaiRand-1K, -27K or
-Pure) or Parquet files with the same columns, such as a subset of them. All columns but NEEDED may
be missing: a missing column drops its task or field, with a message. Days decide the split: the
first ten are train, the next two validation, the next two test. These days must be consecutive;
later ones are counted and skipped. files.py says what else is checked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from dtn_jax.datasets.kuairand.files import (
    LABELS,
    SOURCES,
    as_day,
    check_csv,
    check_labels,
    collect,
    first_row,
    raw_logs,
    read,
)
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.encoders import Encoder, Identity, Vocabulary
from dtn_jax.datasets.preparation.kept_numbers import NUMBERS, numeric_encoder, variant
from dtn_jax.errors import UserError
from dtn_jax.options import Option
from dtn_jax.schema import Task

DAYS = {"train": 10, "validation": 2, "test": 2}
FEW = 0.01  # of a usual day's rows: fewer can only be stray


class KuaiRand(BlockBuilder):
    """KuaiRand's standard log: click → long view, profile enter, comment, forward, follow.

    Fields: user, video, hour, weekday, duration. Users and videos seen less than `min_count` times
    in train share the unknown id. The group of a row, for GAUC, is its user; its day is its date.
    """

    name = "kuairand"  # TFDS would make it kuai_rand
    OPTIONS: ClassVar = {
        "min_count": Option(2, "times that train must show a user or a video", least=1),
        "numbers": NUMBERS,
    }
    FIELD_OPTIONS: ClassVar = ("min_count", "numbers")
    group = "user_id"
    day = "day"

    def __init__(self, **kwargs):
        self.odd: dict[str, int] = {}  # long views without a click, by split
        super().__init__(**kwargs)

    def variant(self):
        found = f"min_count{self.own.min_count}"
        return found if self.own.numbers == "buckets" else f"{found}_{variant(self.own.numbers)}"

    def encoders(self):
        every = every_encoder(**vars(self.own))
        return {name: e for name, e in every.items() if name not in self.absent}

    def tasks(self):
        return tuple(task for task in every_task() if task.name not in self.absent)

    def recipe(self):
        # Which columns are missing is a fact of the raw files, which may be gone.
        return self.recipe_of(every_encoder(**vars(self.own)), every_task())

    def layout(self):
        return Layout(lanes=32, block_rows=128)

    def raw_files(self):
        return raw_logs(self.manual_dir)

    @functools.cached_property
    def absent(self) -> dict[str, str]:
        """The fields and tasks whose columns no file has, {name: column}."""
        try:
            known = {name for path in self.raw_files() for name in read(path).collect_schema()}
        except UserError:  # a prepared set needs no raw files; `log` says what is wrong with them
            return {}
        return {name: column for name, column in SOURCES.items() if column not in known}

    @functools.cached_property
    def log(self) -> pl.LazyFrame:
        """The rows of all files, in the files' order; null where a file lacks a column."""
        files = {path: read(path) for path in self.raw_files()}
        for path, rows in files.items():
            if path.suffix == ".csv":
                check_csv(path, rows.collect_schema().names())
        return pl.concat(files.values(), how="diagonal_relaxed")

    @functools.cached_property
    def days(self) -> pl.DataFrame:
        """Columns `date`, `day` (that date) and `len`, in order of time."""
        days = collect(self.log.group_by("date").len().sort("date"))
        days = days.with_columns(day=as_day(pl.col("date")))
        for date, rows in days.filter(pl.col("day").is_null()).select("date", "len").iter_rows():
            got = "missing" if date is None else date
            raise UserError(
                f"{first_row(self.raw_files(), date)}: date is {got}, expected a calendar date, "
                f"such as 20220408 (in {rows:,} rows)"
            )
        wanted = sum(DAYS.values())
        gaps = (days["day"].diff().dt.total_days()[:wanted] > 1).arg_true()
        if len(gaps):
            # A stray date would move the days of each split, and nothing else would show it.
            sides = days[int(gaps[0]) - 1 : int(gaps[0]) + 1]
            before, after = (f"{day} ({n:,} rows)" for day, n in sides["day", "len"].iter_rows())
            fewer = sides.sort("len", maintain_order=True)["date"][0]
            raise UserError(
                f"kuairand: {before} is followed by {after}; expected {wanted} days that follow "
                f"one another, because the split is by time. The first row of {fewer} is "
                f"{first_row(self.raw_files(), fewer)}"
            )
        if len(days) < wanted:
            raise UserError(
                f"kuairand: the files in {self.manual_dir / 'kuairand'} hold {len(days)} days; "
                f"expected at least {wanted}, because the split is by time"
            )
        usual = days["len"][:wanted].median()
        for date, rows in days[:wanted].filter(pl.col("len") < FEW * usual)["date", "len"].rows():
            raise UserError(
                f"kuairand: {date} has {rows:,} rows, but the median of the first {wanted} days is "
                f"{usual:,.0f}; is it a stray date? It would move the days of each split. "
                f"Its first row is {first_row(self.raw_files(), date)}"
            )
        check_labels(self.raw_files())
        return days

    def expected_rows(self):
        return {split: self.days["len"][span].sum() for split, span in spans().items()}

    def raw(self, dl_manager):
        dates = self.days["date"]
        return {
            split: functools.partial(self.frames, split, dates[span].to_list())
            for split, span in spans().items()
        }

    def account(self):
        lines, later = [], self.days[sum(DAYS.values()) :]
        for name, column in self.absent.items():
            what = "task" if name in LABELS else "field"
            lines.append(f"no column {column!r}: dropped {what} {name!r}")
        for path in self.raw_files():
            known = read(path).collect_schema()
            lacking = [c for n, c in SOURCES.items() if n not in self.absent and c not in known]
            if lacking:
                lines.append(f"no column {', '.join(map(repr, lacking))} in {path.name}: no values")
        if len(later):
            first, last = later["day"][0], later["day"][-1]
            rows, dates = f"{later['len'].sum():,} rows", f"{first} to {last}"
            lines.append(f"skipped {rows} of {len(later)} later days ({dates})")
        if any(self.odd.values()):
            counts = ", ".join(f"{n:,} of {split}" for split, n in self.odd.items())
            lines.append(f"long views without a click, kept as they are: {counts}")
        return lines

    def frames(self, split: str, dates: list[int]) -> Iterator[pl.DataFrame]:
        """A frame per day: memory holds one day, not the log."""
        self.odd[split] = 0
        for date in dates:
            columns = {name: pl.col(column) for name, column in SOURCES.items()}
            columns["hour"] = columns["hour"] // 100 + 1
            columns["weekday"] = as_day(columns["weekday"]).dt.weekday()
            columns = {name: c for name, c in columns.items() if name not in self.absent}
            columns["day"] = as_day(pl.col("date"))
            rows = self.log.filter(pl.col("date") == date).select("user_id", **columns)
            frame = collect(rows)
            if "long_view" in columns:
                self.odd[split] += len(frame.filter(pl.col("long_view") > pl.col("click")))
            yield frame


def every_encoder(min_count: int, numbers: str) -> dict[str, Encoder]:
    """The encoders of a log that has all columns."""
    vocabulary = Vocabulary(min_count=min_count)
    return {
        "user": vocabulary,
        "video": vocabulary,
        "hour": Identity(24),
        "weekday": Identity(7),
        "duration": numeric_encoder(numbers),
    }


def every_task() -> tuple[Task, ...]:
    """The tasks of a log that has all columns."""
    follows = {"long_view": {"upstream": ("click",), "also_report": ("click",)}}
    return tuple(Task(name, **follows.get(name, {})) for name in LABELS)


def spans() -> dict[str, slice]:
    """The days of each split, counted from the first."""
    found, start = {}, 0
    for split, days in DAYS.items():
        found[split], start = slice(start, start + days), start + days
    return found

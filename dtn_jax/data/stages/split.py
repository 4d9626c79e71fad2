"""Which split a row belongs to, and which train rows negative down-sampling keeps.

A split by time is cut where the times of all rows say it; by the order of users each user's last
rows are test, those before them validation. The other ways need nothing but the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import keys, times
from dtn_jax.data.rows import GROUP, LABEL, ROW, SPLIT, TIME, WEIGHT, Rows, Values
from dtn_jax.data.schemas.spec import Spec, SplitSpec
from dtn_jax.errors import UserError
from dtn_jax.shapes import Int8, Int64, UInt64

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
NONE = -1  # of a row that the column of splits names none of
# Tables: rows by time; and of each row user, time, unit and place in the unit.
TIMES, ORDER = "times", "user_rows"
Query = Callable[[str, str], Mapping[str, np.ndarray]]  # in SQL, and by what it is sorted: columns
Cuts = Mapping[str, int]  # {validation, test: the first time of the split}


def assign(spec: Spec, cuts: Cuts, file: int, rows: Rows) -> Int8[np.ndarray, " B"]:
    """The split of each row: its place in SPLITS, or NONE.

    Args:
      spec: the schema file.
      cuts: of a split by time.
      file: the place of the rows' file in the list of files.
      rows: the rows.
    """
    split = spec.split
    if split.by == "time":
        time = rows.numbers(TIME)
        return (time >= cuts["validation"]).astype(np.int8) + (time >= cuts["test"])
    by_group = split.by == "group" or (split.by == "column" and spec.group)
    number = keys.drawn(rows.keys(GROUP) if by_group else row_keys(file, rows), split.seed)
    if split.by == "column":
        places = named(split, rows.column(SPLIT))
        if split.values and "validation" not in split.values:
            places[(number < split.validation) & (places == TRAIN)] = VALIDATION
        return places
    validation = number < split.test + split.validation
    places = np.where(number < split.test, TEST, np.where(validation, VALIDATION, TRAIN))
    return places.astype(np.int8)


def named(split: SplitSpec, column: pa.DictionaryArray) -> Int8[np.ndarray, " B"]:
    """The split that the column of splits names in each row; NONE where it names none."""
    values = Values.of(column)
    places = np.full(len(values.keys), NONE, np.int8)
    for place, texts in enumerate(expected(split).values()):
        wanted, _ = keys.keys(pl.Series(texts, dtype=pl.String))
        places[np.isin(values.keys, wanted)] = place
    return values.spread(places, NONE)


def expected(split: SplitSpec) -> dict[str, Sequence[str]]:
    """{name: the values of the column that name this split}, in the order of SPLITS."""
    return {n: split.values.get(n, () if split.values else (n,)) for n in SPLITS}


def row_keys(file: int, rows: Rows) -> UInt64[np.ndarray, " B"]:
    """A key of each row that tells it from every other row of the log."""
    return keys.crossed(np.full(len(rows), file, np.uint64), rows.numbers(ROW).astype(np.uint64))


# Negative down-sampling.

_SAMPLING = 0x5EED  # apart from the seeds of a random split
SplitRows = tuple[Rows, np.ndarray]  # clean rows, and each one's place in SPLITS


def split_rows(spec: Spec, file: int, rows: Rows, split: Int8[np.ndarray, " B"]) -> SplitRows:
    """The rows that stay, with their splits, and the weights that make up for those that do not.

    A train row stays with a probability q: the largest over the tasks of `sample_negatives`, for
    each 1 where the label is 1 or not known, else the task's rate. A row that stays weighs 1 / q.
    So the weighted sum of any loss over the rows that stay is that over all rows in expectation,
    and every task's probabilities are those of the log as it was.
    """
    if not spec.sample_negatives:
        return rows, split
    share = np.zeros(len(rows))
    for task, rate in spec.sample_negatives.items():
        share = np.maximum(share, np.where(rows.numbers(LABEL + task) == 0, rate, 1.0))
    share = np.where(split == TRAIN, share, 1.0)
    stay, weight = keys.drawn(row_keys(file, rows), seed=_SAMPLING) < share, 1 / share
    if rows.has(WEIGHT):
        weight = weight * rows.numbers(WEIGHT)
    return rows.replaced(WEIGHT, pa.array(weight)).take(stay), split[stay]


# Where a split by time is cut: a share of the rows turned into a date.

STEPS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1)  # a day to a microsecond
TENS = tuple(10**n for n in range(18, -1, -1))  # the steps of plain numbers
ENOUGH = 10  # different times: with fewer, cuts are made at a finer step
MOST = 100_000  # different times that are looked at
Histogram = tuple[
    Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]
]  # times, ascending; rows at each


def cut_times(split: SplitSpec, query: Query, unit: str) -> dict:
    """{validation, test: the first time of the split}, for shares or for times that are given.

    A share is cut at the coarsest step (days, hours, …) of which the log has ENOUGH.

    Args:
      split: of the schema file.
      query: of a table TIMES with columns time and n, the rows at each.
      unit: of the times.

    Raises:
      UserError: validation is not before test, or there are too few different times.
    """
    given = {name: getattr(split, name) for name in ("validation", "test")}
    if all(isinstance(value, str) for value in given.values()):
        cuts = {name: times.read(value, unit) for name, value in given.items()}
        if cuts["validation"] >= cuts["test"]:
            raise UserError(
                f"split: validation {given['validation']} is not before {given['test']}"
            )
        return cuts
    counts = _histogram(query, unit)
    if not len(counts[0]):
        return {"validation": 0, "test": 0}
    return cut_by_share(split, *counts)


def _histogram(query: Query, unit: str) -> Histogram:
    """Rows by time: by the coarsest step of which there are ENOUGH, or else by the finest that
    leaves MOST different times."""
    counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for step in TENS if unit == "number" else STEPS:
        start = f"time - (time % {step} + {step}) % {step}"  # as DuckDB and Spark both read it
        rows = f"CAST(sum(n) AS BIGINT) AS n FROM {TIMES} GROUP BY start ORDER BY start"
        by_time = query(f"SELECT {start} AS start, {rows} LIMIT {MOST + 1}", "start")
        finer = by_time["start"], by_time["n"]
        if len(counts[0]) and len(finer[0]) > MOST:
            break
        counts = finer
        if unit != "number" and len(counts[0]) >= ENOUGH:
            break
    return counts


def cut_by_share(
    split: SplitSpec, known: Int64[np.ndarray, " N"], rows: Int64[np.ndarray, " N"]
) -> dict[str, int]:
    """The first times of validation and test for shares of the rows, which are met as closely as
    the times allow.

    Args:
      split: gives the shares.
      known: different times, ascending.
      rows: how many rows there are at each.

    Raises:
      UserError: there are too few different times.
    """
    if len(known) < len(SPLITS):
        raise UserError(
            f"the log has rows of {len(known)} different times, too few to split it by time into "
            "train, validation and test; give another split"
        )
    before = np.cumsum(rows) - rows  # rows that come before each time
    total = rows.sum()
    test = _nearest(before, total * (1 - split.test), len(SPLITS) - 1, len(known) - 1)
    share = total * (1 - split.test - split.validation)
    validation = _nearest(before, share, 1, test - 1)
    return {"validation": int(known[validation]), "test": int(known[test])}


def _nearest(before: np.ndarray, wanted: float, least: int, most: int) -> int:
    """The place from `least` to `most` whose rows before it are nearest to those wanted."""
    places = np.arange(least, most + 1)
    return int(places[np.abs(before[places] - wanted).argmin()])


# Each user's rows in order of time: the last ones are test, those before validation.


def by_user_order(split: SplitSpec) -> str:
    """The split of each row of the table ORDER, in SQL of any engine: unit, place, split.

    A share below 1 is one of each user's rows, rounded down; a number from 1 on so many rows. A
    user's first row is always train, then test comes before validation.
    """
    tested = f"least({_wanted(split.test)}, n - 1)"
    picked = f"least({_wanted(split.validation)}, n - 1 - tested)"
    return f"""
        SELECT unit, place, CASE WHEN later < tested THEN {TEST}
          WHEN later < tested + {picked} THEN {VALIDATION} ELSE {TRAIN} END AS split
        FROM (SELECT *, {tested} AS tested FROM (
          SELECT r.unit, r.place, count(*) OVER (PARTITION BY r.user) AS n, row_number() OVER
            (PARTITION BY r.user ORDER BY r.time DESC, r.unit DESC, r.place DESC) - 1 AS later
          FROM {ORDER} AS r))"""


def _wanted(share: int | float) -> str:
    """So many of a user's n rows; a share is no decimal of SQL's."""
    return str(math.floor(share)) if share >= 1 else f"floor({share:.17e} * n + 1e-9)"

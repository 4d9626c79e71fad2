"""The time column and the column of the groups: given, or guessed by name and values."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.infer import names
from dtn_jax.datasets.logs.infer.columns import Column
from dtn_jax.datasets.logs.infer.draft import Role
from dtn_jax.datasets.logs.infer.sample import FEW
from dtn_jax.datasets.logs.infer.words import percent, shown
from dtn_jax.errors import UserError, choose


def time(columns: Mapping[str, Column], given: str) -> Role:
    """The time column.

    Args:
      columns: {name: column} of single values.
      given: --time, or ''.

    Raises:
      UserError: the given one is not there, or some of its values are no times.
    """
    if given:
        column = columns[choose("column in --time", given, columns)]
        unit = times.unit_of(column.raw)
        lost = unreadable(column, unit)
        if lost > FEW:
            raise UserError(
                f"--time={given}: {percent(lost)} of its values in the sample are missing, or no "
                "times, and such rows are rejected. Mend the log, or name another column"
            )
        return Role(given, False, _facts(column, unit), _written(column, unit))
    ranked = [(*rank, n, name) for n, (name, c) in enumerate(columns.items()) if (rank := _rank(c))]
    if not ranked:
        return Role()
    column = columns[min(ranked)[-1]]
    unit = times.unit_of(column.raw)
    return Role(column.name, True, _facts(column, unit), _written(column, unit))


def unreadable(column: Column, unit: str) -> float:
    """The share of rows without a time."""
    return times.to_time(column.raw, unit).null_count() / max(len(column.raw), 1)


def time_unit(column: Column) -> str:
    """The unit of a column of times; '' of one that holds none."""
    dtype = column.raw.dtype
    if times.is_date(dtype):
        return "date"
    if not column.known or not (dtype.is_numeric() or dtype == pl.String):
        return ""
    if dtype == pl.String and not column.is_number:
        head = column.raw.drop_nulls().head(1000)
        return "date" if times.to_time(head, "date").null_count() <= 0.01 * len(head) else ""
    unit = times.unit_of(column.raw)
    return "" if unit == "number" else unit


def _rank(column: Column) -> tuple | None:
    """The smallest is the likeliest time column; None is none.

    A telling name counts most; then a column that tells hours comes before one that tells days,
    and one whose type is a time before numbers.
    """
    typed = times.is_date(column.raw.dtype) or (column.is_text and _iso(column))
    rank = names.time_rank(column.name)
    unit = time_unit(column)
    if not unit or (not typed and rank is None) or column.distinct < 3:
        return None
    if unreadable(column, unit) > FEW:
        return None
    other, vague, place = rank or (False, True, 100)
    coarse = unit == "yyyymmdd" or of_days(column, unit)
    return other, vague, coarse, not typed, place


def _iso(column: Column) -> bool:
    return bool(column.known) and time_unit(column) == "date"


def of_days(column: Column, unit: str) -> bool:
    found = times.to_time(column.raw.head(1000), unit).drop_nulls()
    return bool((found % times.DAY == 0).all())


def _facts(column: Column, unit: str) -> str:
    found = times.to_time(column.raw, unit)
    return f"{_moment(found.min(), unit)} to {_moment(found.max(), unit)}"


def _moment(value: int | None, unit: str) -> str:
    """A time to the second."""
    if value is None or unit == "number":
        return shown(value)
    return times.show(value // times.SECOND * times.SECOND, unit)


def _written(column: Column, unit: str) -> str:
    """The unit, where the column's type does not say it."""
    return "" if times.is_date(column.raw.dtype) else unit


def group(columns: Mapping[str, Column], given: str) -> Role:
    """The column of the users or sessions. Arguments and errors as of `time`, for --group."""
    if given:
        column = columns[choose("column in --group", given, columns)]
        if column.missing > FEW:
            raise UserError(
                f"--group={given}: {percent(column.missing)} of its values in the sample are "
                "missing, and such rows are rejected. Write a value for them (one of its own for "
                "each row), or name another column"
            )
        return Role(given, False, _groups(column))
    ranked = []
    for place, (name, column) in enumerate(columns.items()):
        rank = names.user_rank(name)
        if rank >= 0 and column.raw.null_count() == 0 and 1 < column.distinct < column.known:
            ranked.append((rank, place, name))
    if not ranked:
        return Role()
    name = min(ranked)[-1]
    return Role(name, True, _groups(columns[name]))


def _groups(column: Column) -> str:
    rows = column.known / max(column.distinct, 1)
    return f"{column.distinct:,} groups, of {rows:.3g} rows on average"

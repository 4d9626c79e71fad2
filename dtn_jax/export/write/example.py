"""A row of a model's raw columns that is like those of train, for people to try in /docs.

Values that name a person are not shown: those of the group, of the users whose histories a field
holds, of columns called as users' are, and of whatever shares a table with them.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from dtn_jax.data import times, vocabulary
from dtn_jax.data.encode import Fitted
from dtn_jax.data.infer import names
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.raw.types import Type, as_type
from dtn_jax.export.encoding import Encoding
from dtn_jax.field import SEVERAL


def example_row(data: Prepared, encoding: Encoding) -> dict[str, Any]:
    """{raw column: a value, as JSON has it}: the most frequent id of train, alone in a list; a
    frequent number, or the middle; noon of the day with the most rows. Columns of which nothing is
    known, such as those that only expressions read, are left out.

    Args:
      data: the prepared set.
      encoding: of the same set.
    """
    spec, row, folder = encoding.spec, {}, data.folder / vocabulary.FOLDER
    days = data.notes.get("days") or {}
    specs = [field.spec for field in encoding.fitted.values()]
    people = {spec.group} | {one.history.by for one in specs if one.history}
    people |= {name for name in encoding.columns if names.user_rank(name) >= 0}
    tables = {one.table for one in specs if one.value and one.value.column in people}
    for field in encoding.fitted.values():
        column = field.spec.value.column if field.spec.value else ""
        shown = column in encoding.columns and not {column, field.spec.table} & {*people, *tables}
        value = _value(field, folder) if shown else None
        if value is not None and field.spec.kind in SEVERAL:
            row[column] = [_in_type(value, encoding.types[column].inner)]
            row[field.spec.weights] = [1.0]
        elif value is not None:
            row[column] = _in_type(value, encoding.types[column])
    if spec.time in encoding.columns and days.get("dated"):
        row[spec.time] = _noon(days["rows"], spec.time_unit, encoding.types[spec.time])
    return {name: row[name] for name in encoding.columns if name in row}


def _value(field: Fitted, folder: pathlib.Path) -> str | float | list[float] | None:
    """What a field often holds; None where nothing tells.

    Args:
      field: as fitted.
      folder: of the set's vocabularies.
    """
    spec = field.spec
    if spec.encoder == "vocabulary" and not spec.cross:  # of pairs, keys alone are kept
        return vocabulary.names(folder, spec.table, [1]).get(1)
    if spec.kind == "vector":
        mean = np.zeros(spec.length) if field.mean is None else field.mean
        return [float(f"{number:.4g}") for number in mean]
    if field.buckets is not None:
        often = field.buckets.dominating or field.buckets.edges or (0.0,)
        middle = often[len(often) // 2]
    elif field.mean is not None:
        middle = float(field.mean)
    else:
        return None
    if spec.log:  # back to what the column holds
        middle = np.sign(middle) * np.expm1(abs(middle))
    return float(f"{middle:.4g}")


def _in_type(value: Any, kind: Type) -> Any:
    """A value as JSON has it in a column of a type; times stay texts."""
    if isinstance(value, str) and not times.is_date(kind):
        return as_type(pl.Series([value]), kind)[0]
    return round(value) if kind.is_integer() else value


def _noon(days: Sequence[tuple[int, int]], unit: str, kind: Type) -> str | int:
    """Noon of the day with the most rows, as a column of times has it.

    Args:
      days: (day, its rows) of each.
      unit: one of times.TIME_UNITS.
      kind: the column's type.
    """
    day = max(days, key=lambda pair: pair[1])[0] * times.DAY
    if unit in times.PER_UNIT:
        return round((day + times.DAY // 2) / times.PER_UNIT[unit])
    date = times.show(day, unit)
    if unit == "yyyymmdd":
        return int(date.replace("-", ""))
    return date if kind == pl.Date else f"{date}T12:00:00Z"

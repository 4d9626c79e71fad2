"""The rows of a run's tables put into the tables of another run, which has some more.

A packed array holds tables one after another (`TablePlan`). Where a data set extends another, row r
of a table is the same id in both, and the longer tables begin elsewhere.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from dtn_jax.shapes import Array, Shaped
from dtn_jax.tables.plan import TablePlan
from dtn_jax.tables.stored_rows import StoredRows


class Part(NamedTuple):
    """Rows of a packed array that stand elsewhere in another one: the first of each, how many."""

    old: int
    new: int
    rows: int


def parts(old: TablePlan, new: TablePlan, name: str) -> tuple[Part, ...]:
    """Where the rows of the packed array `name` stand in both plans."""
    if name != "embedding":  # codewords: their addresses do not depend on tables
        return (Part(0, 0, old.used[name]),)
    was, now = old.schema.tables(), new.schema.tables()
    places, starts = [], [0, 0]
    for _ in new.views:
        for table in now:
            places.append(Part(*starts, was[table]))
            starts = [starts[0] + was[table], starts[1] + now[table]]
    return tuple(places)


def put(
    array: Shaped[Array, ...],
    known: Shaped[Array, ...],
    lie: StoredRows,
    was: StoredRows,
    places: tuple[Part, ...],
) -> Shaped[Array, ...]:
    """An array with the known rows of another one, its own elsewhere.

    Args:
      array: of lines, or of a number by row.
      known: the other one.
      lie, was: how the rows of each lie, as lines.
      places: where they stand.
    """
    shape = array.shape
    if shape != lie.shape:  # a number for each row
        lie, was = (_by_row(one) for one in (lie, was))
    rows, others = lie.to_rows(array.reshape(lie.shape)), was.to_rows(known.reshape(was.shape))
    for part in places:
        rows = rows.at[part.new : part.new + part.rows].set(others[part.old : part.old + part.rows])
    return lie.to_lines(rows).reshape(shape)


def _by_row(lie: StoredRows) -> StoredRows:
    return dataclasses.replace(lie, width=1, lanes=lie.per_line)

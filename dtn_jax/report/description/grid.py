"""A table of a description as text, and how its numbers are written."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

import rich.box
import rich.table
import rich.text

from dtn_jax.data.progress import percent
from dtn_jax.report.terminal import label, room_beside

EPOCH = datetime.datetime(1970, 1, 1)


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
      header: a text a column.
      rows: a text a cell.
      texts: how many of the first columns are texts; the others are numbers.
      title: above it; '' without.
      note: below it; '' without.
      shown: rows that a terminal shows; the others are in the page alone.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    title: str = ""
    note: str = ""
    shown: int = 40


def as_table(grid: Grid) -> rich.table.Table:
    """A grid for a terminal; where it is wide, columns are closer and task@space has two lines."""
    shown = [list(cells) for cells in grid.rows[: grid.shown]]
    first, *others = zip(grid.header, *shown)
    room = room_beside(others)
    dense = room - len(others) < max(map(len, first))
    table = rich.table.Table(
        box=rich.box.SIMPLE_HEAD,
        title=rich.text.Text(grid.title) if grid.title else None,
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        padding=(0, 0 if dense else 1, 0, 0),
    )
    for i, name in enumerate(grid.header):
        left = i < grid.texts
        table.add_column(
            rich.text.Text(name),
            justify="left" if left else "right",
            overflow="fold",
            no_wrap=not left,
            vertical="bottom",
        )
    for name, *cells in shown:
        table.add_row(*map(rich.text.Text, (label(name, room), *cells)))
    return table


def share(value: float | int | None, of: int = 10**9) -> str:
    """'1.2 %'; '' of None."""
    return "" if value is None else percent(round(value * of), of)


def auc(value: float | int) -> str:
    return f"{value:.4f}"


def number(value: float | int) -> str:
    """Four digits: '12,340', '1.234', '0.00123'."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e9):
        return f"{value:.3g}"
    digits = max(0, 3 - len(f"{abs(value):.0f}")) if abs(value) >= 1 else 4
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def moment(value: int, dated: bool) -> str:
    """A cut: a time in microseconds since 1970 (UTC), or a plain number."""
    if not dated:
        return f"{value:,}"
    found = EPOCH + datetime.timedelta(microseconds=value)
    return f"{found:%Y-%m-%d}" if found.time() == datetime.time() else f"{found:%Y-%m-%d %H:%M:%S}"

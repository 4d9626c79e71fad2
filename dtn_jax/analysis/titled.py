"""A table of what was found, in as many parts as a terminal's width makes of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import rich.box
import rich.console
import rich.table
import rich.text

BLANK = 3  # letters that a column takes beside its text


def titled(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    below: str = "",
    whole: Collection[int] = (0,),
    width: int = 0,
) -> rich.console.Group:
    """A table under a title, which may be wider than it; cells of `whole` columns stay one line.

    Where columns do not fit a `width` that is given, other tables below have the rest of them, each
    with the first column.
    """
    every = [range(1, len(columns))]
    parts = fitting(list(zip(columns, *rows)), width) if width else every
    shown: list[rich.console.RenderableType] = []
    for part in parts:
        shown += [""] if shown else []
        shown.append(plain((0, *part), columns, rows, whole))
    return rich.console.Group(rich.text.Text(title, "bold"), *shown, rich.text.Text(below, "dim"))


def fitting(columns: Sequence[Sequence[str]], width: int) -> Iterator[range]:
    """Which columns, given as texts, stand beside the first one in tables of a width."""
    letters = [BLANK + max(len(line) for text in c for line in text.split("\n")) for c in columns]
    start = 1
    for end in range(2, len(columns) + 1):
        if end == len(columns) or letters[0] + sum(letters[start : end + 1]) > width:
            yield range(start, end)
            start = end


def plain(
    places: Sequence[int],
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    whole: Collection[int],
) -> rich.table.Table:
    """A table of the columns at some places."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False)
    for i in places:
        table.add_column(
            columns[i],
            justify="right" if i else "left",
            vertical="bottom",
            no_wrap=i in whole,
            overflow="ellipsis" if i in whole else "fold",
        )
    for cells in rows:
        table.add_row(*(cells[i] for i in places))
    return table

"""What a description says of the labels: rates, days, and how they go together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dtn_jax.data.describe import labels
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.labels import MOST_DAYS, shown_days
from dtn_jax.report.description.grid import Grid, number, share
from dtn_jax.report.description.section import Section

WIDEST = 7  # labels whose pairs a terminal has room for


def rates(found: Description) -> Section:
    weighted = any(rate.weighted is not None for rate in found.rates)
    header = ("task@space", "split", "rows", "positive", "rate", "95 % interval")
    header += ("by weight",) if weighted else ()
    by_key = sorted(found.rates, key=lambda rate: _first(found, rate.key))
    cells = [
        (
            rate.key,
            rate.split,
            f"{rate.rows:,}",
            f"{rate.positives:,}",
            share(rate.rate) or "no rows",
            "" if rate.low is None else f"{share(rate.low)} to {share(rate.high)}",
            *([share(rate.weighted)] if weighted else ()),
        )
        for rate in by_key
    ]
    grids = [Grid(header, _once(cells), texts=2, shown=60)] if cells else []
    if found.spreads:
        names = [f"{100 * q:g} %" if q != 0.5 else "median" for q in labels.QUANTILES]
        spread = [
            (s.key, s.split, f"{s.rows:,}", *map(number, (s.mean, s.deviation, *s.quantiles)))
            for s in sorted(found.spreads, key=lambda spread: _first(found, spread.key))
        ]
        title = ("task@space", "split", "rows", "mean", "sd", *names)
        named = "Regression labels, with quantiles"
        note = "Rows count by their weights." if found.schema.weight else ""
        grids.append(Grid(title, _once(spread), texts=2, title=named, note=note))
    lost = [
        (task, *(share(by_task.get(task, 0.0)) for by_task in found.missing.values()))
        for task in found.schema.task_names
        if any(task in by_task for by_task in found.missing.values())
    ]
    if lost:
        grids.append(Grid(("label", *found.missing), lost, title="Missing labels"))
    texts = ["How often each label is positive, with Wilson's interval."] if found.rates else []
    return Section("Labels", texts, grids, ("rates",) if found.rates else ())


def _first(found: Description, key: str) -> int:
    keys = [f"{task.name}@{space}" for task in found.schema.tasks for space in task.spaces]
    return keys.index(key)


def _once(cells: list[tuple]) -> list[tuple]:
    """Rows whose first cell is that of the row before have an empty one."""
    firsts = ["", *(row[0] for row in cells)]
    return [("" if row[0] == before else row[0], *row[1:]) for row, before in zip(cells, firsts)]


def days(found: Description) -> Section | None:
    if not found.days:
        return None
    periods, width = shown_days(found.days)
    keys = list(found.days[0].sums)
    kinds = {task.name: task.kind for task in found.schema.tasks}
    cells = []
    for day in periods:
        row = [f"{day.date}", f"{day.rows:,}"]
        for key in keys:
            count, total = day.sums.get(key, (0, 0.0))
            write = share if kinds[key.partition("@")[0]] == "binary" else number
            row.append(write(total / count) if count else "")
        cells.append(tuple(row))
    texts = [
        f"{len(found.days):,} days (UTC) from {found.days[0].date} to {found.days[-1].date}: "
        "rows, and the rate (or mean) of each label."
    ]
    if width > 1:
        texts.append(
            f"More than {MOST_DAYS} days: put together by {width}, under the first of them."
        )
    ends = sorted(found.days, key=lambda day: day.rows)
    texts.append(
        f"Fewest rows: {ends[0].rows:,} on {ends[0].date}; most: {ends[-1].rows:,} on "
        f"{ends[-1].date}."
    )
    return Section("Days", texts, (), ("days",), (Grid(("day", "rows", *keys), cells),))


def pairs(found: Description) -> Section | None:
    if found.pairs is None:
        return None
    names = list(found.pairs.tasks)

    def cell(value: float, write: Callable[..., str]) -> str:
        return "" if np.isnan(value) else write(value)

    phi = [
        (name, *(cell(v, lambda v: f"{v:+.2f}") for v in row))
        for name, row in zip(names, found.pairs.phi, strict=True)
    ]
    given = [
        (name, *(cell(v, share) for v in row))
        for name, row in zip(names, found.pairs.given, strict=True)
    ]
    grids = (
        Grid(("where", *names), given, title="P(column | row): of rows with one label, the other"),
        Grid(("phi", *names), phi, title="Correlation (phi)"),
    )
    small = len(names) <= 7
    texts = ["How labels go together in train, where both are known."]
    return Section(
        "Pairs of labels", texts, grids if small else (), ("pairs",), () if small else grids
    )

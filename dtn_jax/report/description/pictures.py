"""Pictures of a data set: its labels, by day too and how they go together; its fields.

They are as wide as a telephone's screen is, so that their text stays readable there. What is too
much to be taken in at a glance is left out, and the title says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.fields import SOME, STRONG
from dtn_jax.data.describe.labels import Rate, shown_days
from dtn_jax.metrics.rates import wilson
from dtn_jax.report.pictures import (
    COLOURS,
    cells,
    clean,
    colour_bar,
    day_ticks,
    named_lines,
    percents,
    whole_numbers,
)

WIDTH = 6.0  # inches; 9-point text is then readable on a telephone
MOST = 20  # lines of a picture
LETTERS = 24  # of a name
SPLIT_COLOURS = (COLOURS[0], COLOURS[4], COLOURS[1], COLOURS[2])
MARKS = "osD^"
PANELS = 8  # of the picture by day
LABELS = 10  # of the heat map
COLOUR_MAP = colormaps["RdBu_r"].with_extremes(bad="#DDDDDD")
DAY = 86_400_000_000  # microseconds
LEAST = 1e-4  # of the axis of PSI; what is less stands there


def short(name: str, letters: int = LETTERS) -> str:
    """A name that fits; of task@space, the space stays."""
    task, at, space = name.rpartition("@")
    if len(name) <= letters:
        return name
    if at and len(space) < letters // 2:
        return f"{task[: letters - len(space) - 2]}…@{space}"
    return f"{name[: letters - 1]}…"


def _lines(names: Sequence[str], every: int, title: str) -> tuple[Figure, Axes]:
    """A figure with a line for each name, the first one on top; of how many in `every`."""
    figure = Figure(figsize=(WIDTH, 1.35 + 0.27 * len(names)), layout="constrained")
    axes = figure.subplots()
    clean(axes, _capped(title, len(names), every))
    named_lines(axes, names, 9)
    return figure, axes


def _capped(title: str, shown: int, every: int) -> str:
    return f"{title}: {shown} of {every}" if shown < every else title


def _below(axes: Axes, columns: int) -> None:
    """A legend below the axes, where it hides nothing."""
    place = {"loc": "outside lower center", "ncols": columns, "frameon": False, "fontsize": 9}
    axes.figure.legend(**place)


def _points(axes: Axes, place: int, split: str, x: Sequence[float], y: Sequence[float]) -> None:
    """A mark a line, of a split."""
    style = {"color": SPLIT_COLOURS[place % 4], "marker": MARKS[place % 4], "zorder": 3}
    axes.scatter(x, y, 22, label=split, clip_on=False, **style)


def rates(found: Description) -> Figure | None:
    """The rate of each binary label in each split, with its interval; by weight where negatives
    were sampled, so that train's is to be compared with the others."""
    known = [rate for rate in found.rates if rate.rate is not None]
    every = list(dict.fromkeys(rate.key for rate in known))
    keys = every[:MOST]
    if not keys:
        return None
    title = f"Positive rates{' by weight' * found.by_weight}, 95 % intervals"
    figure, axes = _lines([short(key) for key in keys], len(every), title)
    known = [_by_weight(rate) if found.by_weight else rate for rate in known if rate.key in keys]
    splits = list(found.rows)
    for i, split in enumerate(splits):
        own = {rate.key: rate for rate in known if rate.split == split}
        y = [keys.index(key) + 0.2 * (i - (len(splits) - 1) / 2) for key in own]
        middle = np.array([rate.rate for rate in own.values()])
        ends = np.array([(rate.low, rate.high) for rate in own.values()]).reshape(-1, 2)
        style = {"color": SPLIT_COLOURS[i % 4], "fmt": MARKS[i % 4], "ms": 4, "elinewidth": 1.5}
        bars = np.maximum(np.abs(ends.T - middle), 0)
        axes.errorbar(middle, y, xerr=bars, label=split, linestyle="none", **style)
    least = min((rate.rate for rate in known if rate.rate), default=1.0)
    if max(rate.rate for rate in known) > 20 * least:
        axes.set_xscale("log")
        axes.set_xlim(left=least / 2)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
    percents(axes.xaxis)
    _below(axes, len(splits))
    return figure


def _by_weight(rate: Rate) -> Rate:
    """The same with its rate by weight; its interval's odds change by the same factor."""
    if rate.weighted is None or rate.rate in (0, 1):
        return rate
    more, less = rate.weighted * (1 - rate.rate), rate.rate * (1 - rate.weighted)
    low, high = (end * more / (end * more + (1 - end) * less) for end in (rate.low, rate.high))
    return dataclasses.replace(rate, rate=rate.weighted, low=low, high=high)


def days(found: Description) -> Figure | None:
    """Rows, and each label's rate or mean, by day; where the splits are cut."""
    if not found.days:
        return None
    periods, width = shown_days(found.days)
    every = list(periods[0].sums)
    keys = every[:PANELS]
    kinds = {task.name: task.kind for task in found.schema.tasks}
    figure = Figure(figsize=(WIDTH, 0.5 + 1.5 * (1 + len(keys))), layout="constrained")
    panels = figure.subplots(1 + len(keys), 1, sharex=True)
    dates = date2num([day.date for day in periods])
    first = "Rows by day" if width == 1 else f"Rows by {width} days"
    clean(panels[0], _capped(first, len(keys), len(every)) + ("" if keys == every else " labels"))
    panels[0].bar(dates, [day.rows for day in periods], 0.8 * width, color=COLOURS[5])
    whole_numbers(panels[0].yaxis)
    for axes, key in zip(panels[1:], keys, strict=True):
        clean(axes, short(key))
        rows, sums = np.array([day.sums.get(key, (0, 0.0)) for day in periods], float).T
        with np.errstate(invalid="ignore", divide="ignore"):
            values = sums / rows
            if kinds[key.partition("@")[0]] == "binary":
                low, high = wilson(values, rows)
                axes.fill_between(dates, low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
                percents(axes.yaxis)
        axes.plot(dates, values, "-o", color=COLOURS[0], ms=2.5 if len(dates) < 60 else 0)
    # Half a day early: between two days' marks.
    cuts = {s: at / DAY - 0.5 for s, at in (found.notes.get("cuts") or {}).items()}
    for axes in panels:
        axes.tick_params(labelsize=9)
        axes.locator_params(axis="y", nbins=4)
        for at in cuts.values():
            axes.axvline(at, color=COLOURS[1], linestyle="--", linewidth=1.2)
    top = panels[0].get_ylim()[1]
    panels[0].set_ylim(0, 1.45 * top)
    for i, (split, at) in enumerate(cuts.items()):  # one above the other: cuts may be close
        style = {"color": COLOURS[1], "ha": "left", "va": "top", "fontsize": 9}
        panels[0].text(at, (1.43 - 0.2 * i) * top, f" {split} →", **style)
    locator = day_ticks(5, 7)
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return figure


def pairs(found: Description) -> Figure | None:
    """A cell for each pair of labels: phi as colour, P(column | row) in % as text."""
    if found.pairs is None:
        return None
    names = [short(name, 16) for name in found.pairs.tasks[:LABELS]]
    size = len(names)
    itself = np.eye(size, dtype=bool)
    phi = np.where(itself, np.nan, found.pairs.phi[:size, :size])
    given = np.where(itself, np.nan, found.pairs.given[:size, :size])
    most = max(0.1, np.abs(phi[np.isfinite(phi)]).max(initial=0))
    figure = Figure(figsize=(WIDTH, 2.3 + 0.4 * size), layout="constrained")
    axes = figure.subplots()
    title = _capped("Of a row's positives, % positive in a column", size, len(found.pairs.tasks))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    texts = [["" if np.isnan(value) else _hundredths(value) for value in row] for row in given]
    how = {"cmap": COLOUR_MAP, "vmin": -most, "vmax": most, "dark": 0.6 * most}
    image = cells(axes, phi, texts, names, names, size=9, **how)
    for label in axes.get_xticklabels():
        label.set(rotation=45, ha="right", rotation_mode="anchor")
    colour_bar(figure, axes, image, "correlation (phi)")
    return figure


def _hundredths(share: float) -> str:
    """In %, in four letters: '0.02', '1.2', '34'."""
    if 0 < share < 5e-5:
        return "<.01"
    return f"{100 * share:.2g}" if share < 0.995 else f"{100 * share:.0f}"


def alone(found: Description) -> Figure | None:
    """The fields that tell a label best by themselves."""
    best = list(found.alone)[:MOST]
    if not best:
        return None
    names = [
        f"{short(f.field)} → {short(f.key)}" + ("" if f.by == leaks.VALUE else f" ({f.by})")
        for f in best
    ]
    figure, axes = _lines(names, len(found.alone), "AUC of one field alone")
    colours = [COLOURS[1] if f.suspect else COLOURS[0] for f in best]
    axes.barh(range(len(best)), [f.auc - 0.5 for f in best], 0.7, left=0.5, color=colours)
    axes.set_xlim(min(0.5, *(f.auc for f in best)), 1.005)
    axes.axvline(leaks.SUSPECT, color=COLOURS[1], linestyle="--", linewidth=1.2)
    axes.set_xlabel(f"right of the dashed line ({leaks.SUSPECT}): a suspect", fontsize=9)
    return figure


def drifts(found: Description) -> Figure | None:
    """The fields and labels that moved most from train."""
    every = [*found.field_drift, *found.label_drift]
    largest: dict[str, float] = {}
    for moved in every:
        largest[moved.name] = max(largest.get(moved.name, 0.0), moved.psi)
    names = sorted(largest, key=lambda name: -largest[name])[:MOST]
    if not names:
        return None
    figure, axes = _lines([short(name) for name in names], len(largest), "Drift from train")
    for i, split in enumerate(list(found.rows)[1:], 1):
        own = [m for m in every if m.split == split and m.name in names]
        x, y = [max(m.psi, LEAST) for m in own], [names.index(m.name) for m in own]
        _points(axes, i, split, x, y)
    axes.set_xscale("log")
    high = max(1.0, 1.2 * largest[names[0]])
    axes.axvspan(SOME, STRONG, color=COLOURS[4], alpha=0.2, linewidth=0)
    axes.axvspan(STRONG, high, color=COLOURS[1], alpha=0.2, linewidth=0)
    axes.set_xlim(0.9 * LEAST, high)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"PSI; shaded: from {SOME} some drift, from {STRONG} strong", fontsize=9)
    _below(axes, len(found.rows))
    return figure


def unknown(found: Description) -> Figure | None:
    """The fields with most unknown values in a split; of hashed ones that is not known."""
    shares = {
        f.field.name: f.unknown for f in found.fields if any(f.unknown.values()) and not f.hashed
    }
    names = sorted(shares, key=lambda name: -max(shares[name].values()))[:MOST]
    if not names:
        return None
    title = "Values that are unknown, by field"
    figure, axes = _lines([short(name) for name in names], len(found.fields), title)
    for i, split in enumerate(found.rows):
        _points(axes, i, split, [shares[name][split] for name in names], range(len(names)))
    axes.set_xlim(left=0)
    percents(axes.xaxis)
    _below(axes, len(found.rows))
    return figure


PICTURES: Mapping[str, Callable[[Description], Figure | None]] = {
    "rates": rates,
    "days": days,
    "pairs": pairs,
    "alone": alone,
    "drift": drifts,
    "unknown": unknown,
}

"""Pictures of the labels: their rates, by day too, and how they go together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.dates import ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.labels import Rate, shown_days
from dtn_jax.metrics.rates import wilson
from dtn_jax.report.day_ticks import day_ticks
from dtn_jax.report.description.drawing import (
    FONT,
    MARKS,
    MOST,
    SPLIT_COLOURS,
    WIDTH,
    below,
    capped,
    lines,
    percents,
    short,
)
from dtn_jax.report.plots import COLOURS, clean

PANELS = 8  # of the picture by day
LABELS = 10  # of the heat map
COLOUR_MAP = colormaps["RdBu_r"].with_extremes(bad="#DDDDDD")
TILTED = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
DAY = 86_400_000_000  # microseconds


def rates(found: Description) -> Figure | None:
    """The rate of each binary label in each split, with its interval; by weight where negatives
    were sampled, so that train's is to be compared with the others."""
    known = [rate for rate in found.rates if rate.rate is not None]
    every = list(dict.fromkeys(rate.key for rate in known))
    keys = every[:MOST]
    if not keys:
        return None
    title = f"Positive rates{' by weight' * found.by_weight}, 95 % intervals"
    figure, axes = lines(keys, capped(title, len(keys), len(every)))
    if found.by_weight:
        known = [_by_weight(rate) for rate in known]
    splits = list(found.rows)
    for i, split in enumerate(splits):
        own = {rate.key: rate for rate in known if rate.split == split and rate.key in keys}
        y = [keys.index(key) + 0.2 * (i - (len(splits) - 1) / 2) for key in own]
        middle = np.array([rate.rate for rate in own.values()])
        ends = np.array([(rate.low, rate.high) for rate in own.values()]).reshape(-1, 2)
        style = {"color": SPLIT_COLOURS[i % 4], "fmt": MARKS[i % 4], "ms": 4, "elinewidth": 1.5}
        bars = np.maximum(np.abs(ends.T - middle), 0)
        axes.errorbar(middle, y, xerr=bars, label=split, linestyle="none", **style)
    least = min((rate.rate for rate in known if rate.rate and rate.key in keys), default=1.0)
    most = max(rate.rate for rate in known if rate.key in keys)
    if most > 20 * least:
        axes.set_xscale("log")
        axes.set_xlim(left=least / 2)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
    percents(axes.xaxis)
    below(axes, len(splits))
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
    clean(panels[0], capped(first, len(keys), len(every)) + ("" if keys == every else " labels"))
    panels[0].bar(dates, [day.rows for day in periods], 0.8 * width, color=COLOURS[5])
    panels[0].yaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
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
    cuts = _cuts(found)
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


def _cuts(found: Description) -> Mapping[str, float]:
    """Where the splits begin, in days since 1970, half a day early: between two days' marks."""
    cuts = found.notes.get("cuts") or {}
    return {split: at / DAY - 0.5 for split, at in cuts.items()}


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
    title = capped("Of a row's positives, % positive in a column", size, len(found.pairs.tasks))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    clean(axes)
    axes.grid(False)
    shown = axes.imshow(phi, cmap=COLOUR_MAP, vmin=-most, vmax=most, aspect="auto")
    bar = figure.colorbar(shown, ax=axes, shrink=0.9, fraction=0.06, pad=0.02)
    bar.set_label("correlation (phi)", fontsize=9)
    bar.ax.tick_params(labelsize=9)
    axes.set_xticks(range(size), names, **TILTED, **FONT)
    axes.set_yticks(range(size), names, **FONT)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for i, j in zip(*np.nonzero(np.isfinite(given)), strict=True):
        colour = "white" if abs(phi[i, j]) > 0.6 * most else "#222222"
        text = _hundredths(given[i, j])
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=9)
    return figure


def _hundredths(share: float) -> str:
    """In %, in four letters: '0.02', '1.2', '34'."""
    if 0 < share < 5e-5:
        return "<.01"
    return f"{100 * share:.2g}" if share < 0.995 else f"{100 * share:.0f}"

"""Pictures of a data set: its labels, by day too and how they go together; its fields.

They are as wide as a telephone's screen is, so that their text stays readable there. What is too
much to be taken in at a glance is left out, and the title says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.fields import SOME, STRONG
from dtn_jax.data.describe.labels import shown_days
from dtn_jax.metrics.rates import wilson
from dtn_jax.report.description.overview import unknown_share
from dtn_jax.report.pictures import (
    COLOURS,
    cells,
    clean,
    colour_bar,
    day_ticks,
    named_lines,
    percents,
    powers,
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


def _marks(title: str, table: pl.DataFrame, splits: Sequence[str], every: int = 0) -> Figure | None:
    """A line for each name of a table, and on it a mark for each split.

    Args:
      title: of the figure.
      table: name, split, value, and maybe the ends of the value's interval, low and high.
      splits: of the set, so that each has its colour.
      every: names of which these are some.
    """
    names = table["name"].unique(maintain_order=True).to_list()
    if not names:
        return None
    shown = names[:MOST]
    figure, axes = _lines([short(name) for name in shown], max(every, len(names)), title)
    for i, split in enumerate(splits):
        own = table.filter(pl.col("name").is_in(shown), split=split)
        x, bars, beside = own["value"].to_numpy(), None, 0.0
        if "low" in own.columns:  # below each other, so that they can be seen
            bars, beside = np.abs(own["low", "high"].to_numpy() - x[:, None]).T, 0.2 * (i - 1)
        y = [shown.index(name) + beside for name in own["name"]]
        style = {"color": SPLIT_COLOURS[i % 4], "fmt": MARKS[i % 4], "ms": 4.5, "clip_on": False}
        if len(own):
            axes.errorbar(x, y, xerr=bars, label=split, elinewidth=1.5, zorder=3, **style)
    axes.set_xlim(left=0)
    percents(axes.xaxis)
    place = {"loc": "outside lower center", "ncols": len(splits), "frameon": False, "fontsize": 9}
    figure.legend(**place)  # below the axes, where it hides nothing
    return figure


def rates(found: Description) -> Figure | None:
    """The rate of each binary label in each split, with its interval; by weight where negatives
    were sampled, so that train's is to be compared with the others."""
    names = {"task@space": "name", "rate": "value", "from": "low", "to": "high"}
    table = found.rates.drop_nulls("rate").rename(names)
    if found.by_weight:  # the odds of an interval's ends change by the factor of those of the rate
        value, weighted = pl.col("value"), pl.col("by weight")
        odds = weighted * (1 - value) / (value * (1 - weighted))
        ends = [pl.col(n) * odds / (pl.col(n) * odds + 1 - pl.col(n)) for n in ("low", "high")]
        moved = weighted.is_not_null() & value.is_between(0, 1, closed="none")
        table = table.with_columns(
            pl.when(moved).then(new).otherwise(old).alias(old)
            for old, new in zip(("value", "low", "high"), (weighted, *ends))
        )
    title = f"Positive rates{' by weight' * found.by_weight}, 95 % intervals"
    figure = _marks(title, table, list(found.data.rows))
    some = table.filter(pl.col("value") > 0)["value"]
    if figure and len(some) and some.max() > 20 * some.min():
        (axes,) = figure.axes
        axes.set(xscale="log", xlim=(some.min() / 2, None))
        powers(axes.xaxis, (1, 3))
        percents(axes.xaxis)
    return figure


def drifts(found: Description) -> Figure | None:
    """The fields and labels that moved most from train."""
    table = pl.concat(
        [t for t in (found.field_drift, found.label_drift) if len(t)], how="diagonal_relaxed"
    )
    table = table.sort(pl.col("psi").max().over("name"), descending=True, maintain_order=True)
    table = table.with_columns(value=pl.col("psi").clip(LEAST))
    figure = _marks("Drift from train", table, list(found.data.rows))
    if figure:
        (axes,), high = figure.axes, max(1.0, 1.2 * table["psi"].max())
        axes.axvspan(SOME, STRONG, color=COLOURS[4], alpha=0.2, linewidth=0)
        axes.axvspan(STRONG, high, color=COLOURS[1], alpha=0.2, linewidth=0)
        axes.set(xscale="log", xlim=(0.9 * LEAST, high))
        powers(axes.xaxis, (1,))
        axes.set_xlabel(f"PSI; shaded: from {SOME} some drift, from {STRONG} strong", fontsize=9)
    return figure


def unknown(found: Description) -> Figure | None:
    """The fields with most unknown values in a split; of hashed ones that is not known."""
    data = found.data
    known = [field for field in data.schema.fields if field.name not in data.hash_functions]
    records = [(f.name, split, unknown_share(data, split, f)) for f in known for split in data.rows]
    table = pl.DataFrame(records, ["name", "split", "value"], orient="row")
    most = pl.col("value").max().over("name")
    table = table.filter(most > 0).sort(most, descending=True, maintain_order=True)
    return _marks("Values that are unknown, by field", table, list(data.rows), len(known))


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


def days(found: Description) -> Figure | None:
    """Rows, and each label's rate or mean, by day; where the splits are cut."""
    if found.days.is_empty():
        return None
    periods, width = shown_days(found.days)
    (_, rows), *every = periods.group_by("key", maintain_order=True)
    labels = every[:PANELS]
    kinds = {task.name: task.kind for task in found.data.schema.tasks}
    figure = Figure(figsize=(WIDTH, 0.5 + 1.5 * (1 + len(labels))), layout="constrained")
    top, *panels = figure.subplots(1 + len(labels), 1, sharex=True, squeeze=False).ravel()
    first = "Rows by day" if width == 1 else f"Rows by {width} days"
    some = f": {len(labels)} of {len(every)} labels" if len(labels) < len(every) else ""
    clean(top, first + some)
    top.bar(rows["date"], rows["rows"], 0.8 * width, color=COLOURS[5])
    whole_numbers(top.yaxis)
    for axes, ((key,), own) in zip(panels, labels, strict=True):
        clean(axes, short(key))
        own = rows.select("date").join(own, on="date", how="left")  # a gap where there is none
        count, values = own["rows"].to_numpy(), (own["sum"] / own["rows"]).to_numpy()
        if kinds[key.partition("@")[0]] == "binary":
            low, high = wilson(values, count)
            axes.fill_between(own["date"], low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
            percents(axes.yaxis)
        axes.plot(own["date"], values, "-o", color=COLOURS[0], ms=2.5 if len(own) < 60 else 0)
    high = top.get_ylim()[1]
    top.set_ylim(0, 1.45 * high)
    for i, (split, at) in enumerate((found.data.notes.get("cuts") or {}).items()):
        place = at / DAY - 0.5  # half a day early: between two days' marks
        style = {"color": COLOURS[1], "ha": "left", "va": "top", "fontsize": 9}
        top.text(place, (1.43 - 0.2 * i) * high, f" {split} →", **style)  # cuts may be close
        for axes in (top, *panels):
            axes.axvline(place, color=COLOURS[1], linestyle="--", linewidth=1.2)
    for axes in (top, *panels):
        axes.tick_params(labelsize=9)
        axes.locator_params(axis="y", nbins=4)
    locator = day_ticks(5, 7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return figure


def pairs(found: Description) -> Figure | None:
    """A cell for each pair of labels: phi as colour, P(column | row) in % as text."""
    if found.pairs.is_empty():
        return None
    every = found.pairs["label"].unique(maintain_order=True).to_list()
    names = [short(name, 16) for name in every[:LABELS]]
    size = len(names)
    phi, given = (
        np.where(np.eye(len(every)), np.nan, found.pairs[name].to_numpy().reshape(len(every), -1))
        for name in ("phi", "given")
    )
    phi, given = phi[:size, :size], given[:size, :size]
    most = max(0.1, np.abs(phi[np.isfinite(phi)]).max(initial=0))
    figure = Figure(figsize=(WIDTH, 2.3 + 0.4 * size), layout="constrained")
    axes = figure.subplots()
    title = _capped("Of a row's positives, % positive in a column", size, len(every))
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

"""The pictures of the table `divergence`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from dtn_jax.papertables.content import comparisons
from dtn_jax.papertables.gap_text import FACTOR, by_level
from dtn_jax.papertables.gaps import MEAN
from dtn_jax.papertables.numbers import LEVEL
from dtn_jax.papertables.panels import GREY, MARKERS, panels
from dtn_jax.papertables.protocol import OURS
from dtn_jax.report.plots import COLOURS, LINES, NOTE, clean

APART = 0.055  # of two names beside a panel, as a share of its height
DODGE = 0.006  # of two models' error bars, as a share of a panel's width
NEAR = 10  # thousandths of AUC: the scale of differences is linear to there, logarithmic beyond
GAP = f"gap to the Bayes-optimal AUC × {FACTOR}"
SAME = "_dtns_experts"  # the end of the names of rivals with our experts


def gaps(found: Mapping) -> Figure | None:
    """Gaps over the first dial: the mean of tasks and each task; rivals with MLP experts, and
    those with our experts below."""
    sides, keys = sides_of(found), [MEAN, *found["tested_keys"]]
    figure = Figure(figsize=(4.1 * len(keys), 0.6 + 4.0 * len(sides)), layout="constrained")
    grid = figure.subplots(len(sides), len(keys), squeeze=False, sharey="col")
    for row, (whose, some) in zip(grid, sides.items()):
        for axes, key in zip(row, keys):
            of_first(axes, found, some, key)
            clean(axes, key)
        row[0].set_ylabel(f"{GAP}\n{whose}", fontsize=9)
    return titled(found, figure, "how far from the best AUC (lower is better)")


def mean_gaps(found: Mapping) -> Figure:
    """Gaps of the mean of tasks over the first dial, rivals with our experts at the right."""
    sides = sides_of(found)
    figure = Figure(figsize=(5.2 * len(sides), 4.2), layout="constrained")
    row = figure.subplots(1, len(sides), squeeze=False, sharey=True)[0]
    for axes, (whose, some) in zip(row, sides.items()):
        of_first(axes, found, some, MEAN)
        clean(axes, whose)
    row[0].set_ylabel(GAP, fontsize=9)
    return titled(found, figure, f"how far from the best AUC, {MEAN} (lower is better)")


def sides_of(found: Mapping) -> dict[str, list[str]]:
    """{what is shown: models}: rivals with MLP experts, then those with ours, beside our own."""
    names = list(dict.fromkeys(row["tuned_as"] for row in first_rows(found)))
    alike = [name for name in names if name.endswith(SAME)]
    ours = [name for name in names if name.startswith(found.get("ours", OURS))]
    sides = {"rivals with MLP experts": [name for name in names if name not in alike]}
    return sides | ({"rivals with DTN's experts": ours + alike} if alike else {})


def of_first(axes: Axes, found: Mapping, some: Sequence[str], key: str) -> None:
    """The lines of these models over the first dial."""
    rows = first_rows(found)
    names = list(dict.fromkeys(row["tuned_as"] for row in rows))
    lines(axes, [row for row in rows if row["tuned_as"] in some], key, names)
    axes.set_xlabel(f"{rows[0]['group']} (true divergence of the tasks)", fontsize=9)


def dials(found: Mapping) -> Figure | None:
    """Gaps of the mean of tasks over the other dials."""
    first = found["rows"][0]["group"]
    groups = [g for g in dict.fromkeys(r["group"] for r in found["rows"]) if g != first]
    if not groups:
        return None
    names = list(dict.fromkeys(r["tuned_as"] for r in found["rows"]))
    columns = len({group.partition(",")[0] for group in groups})
    figure, axes_of = panels(len(groups), 3.9, 3.2, columns, sharey=True)
    for axes, group in zip(axes_of, groups):
        lines(axes, [r for r in found["rows"] if r["group"] == group], MEAN, names)
        clean(axes, group)
    axes_of[0].set_ylabel(GAP, fontsize=9)
    return titled(found, figure, f"the other dials, {MEAN} (lower is better)")


def lines(axes: Axes, rows: Sequence[Mapping], key: str, names: Sequence[str]) -> None:
    """A line a model, mean ± standard deviation over seeds, its name at the right end."""
    levels = by_level(rows)
    place = {at: i for i, at in enumerate(levels)}
    wide, ends = max(1, len(levels) - 1), {}
    models = list(dict.fromkeys(row["tuned_as"] for row in rows))
    for name in models:
        at, own = place_of(name, names), [row for row in rows if row["tuned_as"] == name]
        gap = [[FACTOR * g for g in row["metrics"][key]["gap"]] for row in own]
        means = [statistics.mean(values) for values in gap]
        spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in gap]
        aside = DODGE * wide * (models.index(name) - (len(models) - 1) / 2)
        axes.errorbar(
            [place[row["at"]] + aside for row in own], means, yerr=spread, color=colour(at),
            marker=MARKERS[at % len(MARKERS)], ms=5, ls=LINES[at // len(COLOURS) % len(LINES)],
            lw=2.2 if at == 0 else 1.3, capsize=2, zorder=4 if at == 0 else 3,
        )  # fmt: skip
        ends[name] = means[-1]
    axes.set_yscale("log")  # one model far from the others would press them together
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(place.values()), [told(at, levels[at][0], rows) for at in levels])
    axes.tick_params(labelsize=8.5)
    low, high = np.log(axes.get_ylim())
    shares = {name: float((np.log(end) - low) / (high - low)) for name, end in ends.items()}
    for name, height in beside(shares).items():
        axes.annotate(
            short(name), (1.0, np.exp(low + height * (high - low))),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5,
            color=colour(place_of(name, names)), annotation_clip=False,
        )  # fmt: skip


def told(at: str, row: Mapping, rows: Sequence[Mapping]) -> str:
    """A level's value, with the true divergence below it where that differs by level."""
    truths = {round(one["true_divergence"], 6) for one in rows}
    return f"{at}\n({row['true_divergence']:.2f})" if len(truths) > 1 else at


def beside(ends: Mapping[str, float]) -> dict[str, float]:
    """Heights for the names of lines that end there, APART at least, in the same order; all as
    shares of the panel's height."""
    step, order = APART, sorted(ends, key=ends.__getitem__)
    heights = np.array([ends[name] for name in order])
    for _ in range(100):
        near = np.diff(heights) < step - 1e-9
        if not near.any():
            break
        for i in np.flatnonzero(near):
            missing = (step - (heights[i + 1] - heights[i])) / 2
            if missing > 0:
                heights[i], heights[i + 1] = heights[i] - missing, heights[i + 1] + missing
    return dict(zip(order, heights.tolist()))


def differences(found: Mapping) -> Figure | None:
    """Each rival's AUC less ours over the first dial, the mean of tasks, with 95 % intervals."""
    rows = [row for row in first_rows(found) if MEAN in comparisons(row)]
    names = list(dict.fromkeys(row["tuned_as"] for row in rows))
    if not names:
        return None
    figure, axes_of = panels(len(names), 3.2, 2.6, sharey=True)
    levels = by_level(first_rows(found))
    for axes, name in zip(axes_of, names):
        for row in (r for r in rows if r["tuned_as"] == name):
            test, at = row["comparison"][MEAN], list(levels).index(row["at"])
            sure = test["p_holm"] < LEVEL and "shortened" not in found
            shade = COLOURS[0 if test["difference"] > 0 else 1] if sure else GREY
            low, high = (FACTOR * test[end] for end in ("low", "high"))
            axes.plot([at, at], [low, high], color=shade, lw=2)
            axes.plot(at, FACTOR * test["difference"], "o", color=shade, ms=5)
        axes.axhline(0, color="black", lw=0.8)
        axes.set_xticks(range(len(levels)), [told(at, own[0], rows) for at, own in levels.items()])
        axes.set_xlim(-0.5, len(levels) - 0.5)
        axes.tick_params(labelsize=8.5)
        axes.set_yscale("symlog", linthresh=NEAR)
        axes.set_yticks([-100, -30, -NEAR, -5, 0, 5, NEAR, 30], minor=False)
        axes.yaxis.set_major_formatter(ScalarFormatter())
        clean(axes, name)
    axes_of[0].set_ylabel(f"AUC less ours × {FACTOR}", fontsize=9)
    note = f"below 0: ours is ahead; coloured: p < {LEVEL}, Holm-corrected over a level; "
    note += f"the scale is logarithmic beyond ±{NEAR}"
    figure.text(0.99, 0.0, note, ha="right", va="top", **NOTE)
    return titled(found, figure, f"AUC less ours, {MEAN}, 95 % interval, by {rows[0]['group']}")


def first_rows(found: Mapping) -> list[Mapping]:
    """Those of the first dial."""
    return [row for row in found["rows"] if row["group"] == found["rows"][0]["group"]]


def titled(found: Mapping, figure: Figure, text: str) -> Figure:
    name = f"{found['dataset']}, shortened" if "shortened" in found else found["dataset"]
    figure.suptitle(f"{name}: {text}", fontsize=11.5, x=0.01, ha="left", fontweight="bold")
    return figure


def place_of(name: str, names: Sequence[str]) -> int:
    """Which colour and marker a model has: the same with its own experts and with ours."""
    alike = name.removesuffix(SAME)
    return names.index(alike if alike in names else name)


def short(name: str) -> str:
    """'without TSN' of dtn_without_tsn, beside a line."""
    return name.removesuffix(SAME).removeprefix("dtn_").replace("_", " ").replace("tsn", "TSN")


def colour(at: int) -> str:
    return COLOURS[at % len(COLOURS)]

"""Measured divergences as a table and a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtn_jax.report.markdown import prose, table
from dtn_jax.report.plots import COLOURS, NOTE, clean

Point = Mapping
MARKERS = "osD^vP"
TITLES = {
    "loss": "each task in the space of its loss",
    "stage": "each task where the one before was",
}
WHERE = {
    "loss": "In the spaces of the losses",
    "stage": "Where the stage before happened",
}


def markdown(points: Sequence[Point], picture: str) -> str:
    """A line for each two tasks of each model."""
    rows = []
    for p in once(points):
        true = "" if p["truth"] is None else f"{p['truth']:.2f}"
        name = f"`{p['set']}`" + (f", {p['at']}" if p["at"] else "")
        rows.append([name, p["tasks"], true, spread(p["measured"]), f"{p['noise']:.2f}"])
    header = ["data", "tasks", "true", "measured", "noise alone"]
    return (
        "# Measured divergence\n\n"
        f"{table(header, rows, 2, cell=prose)}\n\n![measured]({picture})\n\n"
        f"{' '.join(told(points))}\n"
    )


def once(points: Sequence[Point]) -> list[Point]:
    """Each two tasks once: where both kinds have the same spaces, those of the losses."""

    def which(p: Point) -> tuple[str, str, str]:
        return p["set"], p["at"], p["tasks"]

    loss = {which(p) for p in points if p["kind"] == "loss"}
    return [p for p in points if p["kind"] == "loss" or which(p) not in loss]


def told(points: Sequence[Point]) -> list[str]:
    """How the numbers are made, and how far the measured ones are off where the truth is known."""
    made = [
        "Divergence is 1 − Spearman's correlation of two tasks' permutation importances, of tuned "
        "DTNs: mean ± standard deviation over seeds. `true` is the Bayes-optimal score's, on the "
        "same rows; `noise alone` is what sampling rows makes of two equal tasks."
    ]
    known = [p for p in once(points) if p["truth"] is not None]
    for kind, where in WHERE.items():
        if off := [statistics.mean(p["measured"]) - p["truth"] for p in known if p["kind"] == kind]:
            size, most = statistics.mean(map(abs, off)), max(off, key=abs)
            made.append(
                f"{where} the measured one is off by {size:.2f} on average "
                f"({signed(statistics.mean(off))} with its sign), and by {signed(most)} at most."
            )
    return made


def picture(points: Sequence[Point]) -> Figure:
    """Measured over true divergence with the line on which they are equal; where the truth is not
    known, the measured one alone."""
    kinds = [k for k in TITLES if any(p["kind"] == k and p["truth"] is not None for p in points)]
    alone = [p for p in points if p["truth"] is None and p["kind"] == "loss"]
    count = len(kinds) + bool(alone)
    height = max(4.2, 0.27 * len(alone) + 1)
    figure = Figure(figsize=(4.4 * count + 0.6, height), layout="constrained")
    panels: list[Axes] = []
    for place, kind in enumerate(kinds, 1):
        axes = figure.add_subplot(1, count, place, sharey=panels[0] if panels else None)
        panels.append(axes)
        own = [p for p in points if p["kind"] == kind and p["truth"] is not None]
        for i, tasks in enumerate(dict.fromkeys(p["tasks"] for p in own)):
            some = [p for p in own if p["tasks"] == tasks]
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
            axes.errorbar(
                [p["truth"] for p in some], *means(some), lw=1, capsize=2, label=tasks, **style
            )
        most = max(max(p["truth"] for p in own), *(max(p["measured"]) for p in own))
        axes.plot([0, most], [0, most], color="black", lw=0.8, ls="--")
        axes.set_xlabel("true divergence, of the Bayes-optimal score", fontsize=9)
        axes.legend(fontsize=8, frameon=False, loc="upper left")
        clean(axes, TITLES[kind])
    if panels:
        panels[0].set_ylabel("measured divergence", fontsize=9)
    if alone:
        axes, places = figure.add_subplot(1, count, count), range(len(alone))
        values, deviations = means(alone)
        axes.errorbar(values, places, xerr=deviations, fmt="o", color=COLOURS[0], capsize=2)
        axes.plot([p["noise"] for p in alone], places, "|", color=COLOURS[1], ms=14)
        names = [f"{p['set']}: {p['tasks']}".replace("@all", "") for p in alone]
        axes.set_yticks(places, names, fontsize=8)
        axes.set_ylim(len(alone) - 0.5, -0.5)  # the first one above
        axes.set_xlim(left=0)
        axes.set_xlabel("measured divergence", fontsize=9)
        clean(axes, "where the truth is not known")
    note = "mean ± deviation over seeds"
    note += "; dashed: measured = true" if panels else ""
    note += "; orange ticks, right: noise alone" if alone else ""
    figure.text(0.99, 0.0, note, ha="right", va="top", **NOTE)
    return figure


def means(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """The means over seeds, and their deviations."""
    values = [p["measured"] for p in points]
    return (
        [statistics.mean(v) for v in values],
        [statistics.stdev(v) if len(v) > 1 else 0.0 for v in values],
    )


def signed(value: float) -> str:
    return f"{value:+z.2f}".replace("-", "−")  # z: no minus before 0.00


def spread(values: Sequence[float]) -> str:
    (mean,), (deviation,) = means([{"measured": values}])
    return f"{mean:.2f} ± {deviation:.2f}" if len(values) > 1 else f"{mean:.2f}"

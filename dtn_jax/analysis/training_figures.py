"""The picture of what changes over training: gate weights and gradient conflict."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtn_jax.analysis.figures import grid, header, save
from dtn_jax.analysis.gate_figures import colours
from dtn_jax.analysis.gate_use import OTHER, OWN, in_order
from dtn_jax.analysis.watch import COSINE, GATE, HALF
from dtn_jax.interface import SHARED
from dtn_jax.report.plots import COLOURS, GRID, LINES

STROKES = {  # of the sources of one relation, in turns; none of them pale
    OWN: ("#0072B2", "#56B4E9", "#003F66", "#4A9BCB"),
    SHARED: ("#009E73", "#4DBB9C", "#00573F", "#8FD4C0"),
    OTHER: ("#E69F00", "#8A5F00", "#D55E00", "#F0BC4D"),
}
LEAST_SPAN = 0.02  # a panel reaches this far from equal weights though its lines do not


def over_training(found: Mapping[str, Mapping], tasks: Sequence[str], path: pathlib.Path) -> None:
    """Lines against the step: a panel a gate, and one of the cosines between tasks' gradients.

    The middle of a gate's panel is equal weights, and all gates' panels span as many points.

    Args:
      found: what `watch.over_training` gives.
      tasks: tell whose an expert is.
      path: the PNG to write.
    """
    by_gate: dict[str, dict] = {}
    for (gate, source), points in found[GATE].items():
        by_gate.setdefault(gate, {})[source] = points
    by_gate = in_order(by_gate, tasks)
    count = len(by_gate) + bool(found[COSINE])
    rows, columns = grid(count, 3)
    figure = Figure(figsize=(4.3 * columns, 0.6 + 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    span = 1.15 * max([LEAST_SPAN, *(farthest(lines) for lines in by_gate.values())])
    for axes, (gate, lines) in zip(panels, by_gate.items()):
        paint = colours(gate, list(lines), tasks, STROKES)
        for i, (source, points) in enumerate(lines.items()):
            _line(axes, points, source, color=paint[source], linestyle=LINES[i % len(LINES)])
        equal = 1 / len(lines)
        axes.axhline(equal, color="#888888", linewidth=0.8)
        axes.set_ylim(equal - span, equal + span)
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.3g}%")
        axes.locator_params(axis="y", nbins=5)
        _finish(axes, gate)
    if found[COSINE]:
        axes = panels[count - 1]
        for i, ((task, other), points) in enumerate(found[COSINE].items()):
            colour = COLOURS[i % len(COLOURS)]
            _line(axes, points, f"{task}, {other}", color=colour)
            _band(axes, points, found[HALF].get((task, other), []), colour)
        axes.axhline(0, color="#888888", linewidth=1, linestyle="--")
        _finish(axes, "cosine of the tasks' gradients")
    for axes in panels[count:]:
        axes.remove()
    header(
        figure,
        "Over training",
        "mean gate weights (grey: equal ones; a range of as many points for every gate), and the "
        "cosine between tasks' gradients at the shared embeddings with its 95 % interval, on fixed "
        "validation rows",
    )
    save(figure, path)


def farthest(lines: Mapping[str, Sequence]) -> float:
    """How far a gate's weights are from equal ones, at most."""
    return max(abs(value - 1 / len(lines)) for points in lines.values() for _, value in points)


def _line(axes: Axes, points: Sequence, label: str, **style) -> None:
    steps, values = zip(*[(s, v) for s, v in points if v is not None] or [(0, np.nan)])
    axes.plot(steps, values, marker="o", ms=3, linewidth=1.6, label=label, **style)


def _band(axes: Axes, points: Sequence, halves: Sequence, colour: str) -> None:
    """An interval around a line, at the steps where there is one."""
    half = dict(map(tuple, halves))
    known = [(s, v, half[s]) for s, v in points if v is not None and half.get(s) is not None]
    if known:
        steps, values, halves = map(np.array, zip(*known))
        low, high = np.maximum(values - halves, -1), np.minimum(values + halves, 1)
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _finish(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10, loc="left", fontweight="bold")
    axes.grid(True, **GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("step", fontsize=8.5)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.legend(frameon=False, fontsize=7.5, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.2))

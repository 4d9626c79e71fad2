"""Draws metrics by day, as PNG files; as `plots` does."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

from dtn_jax.metrics import METRICS, Metric, Value
from dtn_jax.report import plots
from dtn_jax.report.day_ticks import day_ticks

DRAWN = ("auc", "gauc", "r2", "base_rate")  # a panel each, where a task has it
RARE = 0.05  # a base rate below it asks for a logarithmic axis


def by_day(
    found: Mapping[str, Mapping[str, Mapping[str, Value]]],
    untrained: str,
    path: str | pathlib.Path,
) -> None:
    """Draws each day's metrics, each scored before it was trained on: a line a task@space.

    Args:
      found: {day, as 2022-04-09: {task@space: {metric: value}}}.
      untrained: the day that no step had come before, whose points are hollow; '' is none.
      path: the PNG to write; its folder is made.
    """
    metrics = {name: METRICS[name] for name in DRAWN if name in METRICS}
    panels: dict[str, dict[str, dict[str, float]]] = {}  # {metric: {task@space: {day: value}}}
    for name in metrics:
        for day, own in sorted(found.items()):
            for key, values in own.items():
                if values.get(name) is not None:
                    panels.setdefault(name, {}).setdefault(key, {})[day] = values[name]
    tasks = list(dict.fromkeys(key.partition("@")[0] for own in found.values() for key in own))
    colour = {task: plots.COLOURS[i % len(plots.COLOURS)] for i, task in enumerate(tasks)}
    columns = min(max(len(panels), 1), 3)
    rows = math.ceil(max(len(panels), 1) / columns)
    figure = Figure(figsize=(5 * columns, 4.6 * rows), layout="constrained")
    axes_of = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, lines) in zip(axes_of, panels.items()):
        _panel(axes, metrics[name], lines, colour, untrained)
    for axes in axes_of[len(panels) :]:
        axes.remove()
    shown = {}
    for axes in axes_of[: len(panels)]:
        handles, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(labels, handles))
    if shown:
        place = {"loc": "outside lower left", "ncols": 2 * columns, "handlelength": 3}
        figure.legend(shown.values(), shown, frameon=False, fontsize=9, **place)
    plots._save(figure, path)


def _panel(
    axes: Axes,
    metric: Metric,
    lines: Mapping[str, Mapping[str, float]],
    colour: Mapping[str, str],
    untrained: str,
) -> None:
    title = metric.title[:1].upper() + metric.title[1:]
    judged = metric.judges  # or it is of the rows alone, and no model has a part in it
    plots.clean(axes, f"{title} of each day{', before it was trained on' if judged else ''}")
    seen: dict[str, int] = {}
    for key, points in lines.items():
        task = key.partition("@")[0]
        line = plots.LINES[seen.get(task, 0) % len(plots.LINES)]
        seen[task] = seen.get(task, 0) + 1
        days, values = np.array(list(points), "datetime64[D]"), list(points.values())
        style = {"color": colour[task], "ms": 4.5}
        axes.plot(days, values, line, linewidth=1.8, marker="o", label=key, **style)
        if judged and untrained in points:
            first = np.datetime64(untrained)
            axes.plot(first, points[untrained], "o", mfc="white", mew=1.4, zorder=4, **style)
    every = np.array(sorted({day for points in lines.values() for day in points}), "datetime64[D]")
    margin = max(int((every[-1] - every[0]).astype(int)), 10) * np.timedelta64(72, "m")  # a 20th
    axes.set_xlim(every[0] - margin, every[-1] + margin)
    values = [v for points in lines.values() for v in points.values()]
    if metric.format == "%" and 0 < min(values) < RARE:
        axes.set_yscale("log")
    if metric.format == "%":
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:g}%")
    axes.xaxis.set_major_locator(day_ticks(2, 7))
    axes.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))
    axes.tick_params(axis="x", labelsize=8, rotation=30)
    axes.set_ylabel(metric.title)
    axes.set_xlabel("day" + "; hollow: no step came before" * (judged and bool(untrained)))

"""Draws the pictures of a run, as PNG files: learning curves, days, reliability."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from dtn_jax.metrics import METRICS, Metric, Value
from dtn_jax.metrics.calibration import LOW_RATE, CalibrationCurve
from dtn_jax.metrics.rates import wilson
from dtn_jax.report import pictures
from dtn_jax.report.pictures import COLOURS, GRID, LINES, NOTE, clean, note, percents

__all__ = ["COLOURS", "GRID", "LINES", "NOTE", "by_day", "clean", "learning_curves", "reliability"]

Series = tuple[np.ndarray, np.ndarray]  # steps, and the values there
DAILY = ("auc", "gauc", "r2", "base_rate")  # a panel each, where a task has it
RARE = 0.05  # a base rate below it asks for a logarithmic axis


def _colours(tasks: Iterable[str]) -> dict[str, str]:
    return {task: COLOURS[i % len(COLOURS)] for i, task in enumerate(dict.fromkeys(tasks))}


def _styles(keys: Iterable[str], colour: Mapping[str, str]) -> dict[str, dict]:
    """{task@space: its line}: a colour a task, a stroke a space."""
    seen: dict[str, int] = {}
    styles = {}
    for key in keys:
        task = key.partition("@")[0]
        turn = seen[task] = seen.get(task, -1) + 1
        styles[key] = {"color": colour[task], "linestyle": LINES[turn % len(LINES)]}
    return styles


def _capital(metric: Metric) -> str:
    return metric.title[:1].upper() + metric.title[1:]


def _series(history: Sequence[Mapping], kind: str, keys: Sequence[str]) -> dict[str, Series]:
    """{key: (steps, values)} of the records of a kind; values that are not defined are skipped."""
    series = {}
    for key in keys:
        points = {  # by step: a resumed run may have logged a step twice, the later one holds
            record["step"]: record[key]
            for record in history
            if record["kind"] == kind and record.get(key) is not None
        }
        points = {s: v for s, v in sorted(points.items()) if math.isfinite(v)}
        if points:
            series[key] = np.array(list(points)), np.array(list(points.values()))
    return series


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a centred window of a twentieth of the points, cut at the ends."""
    half = max(len(values) // 40, 1)
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def learning_curves(history: Sequence[Mapping], path: str | pathlib.Path) -> None:
    """Draws training losses, and each metric that can select states, against the step, as a PNG.

    Args:
      history: the records of metrics.jsonl: {"kind": "train", "step", "loss/<task>": ...} and
        {"kind": "validation", "step", "<task>@<space>/<metric>": ...}.
      path: the PNG to write; its folder is made.
    """
    keys = list(dict.fromkeys(key for record in history for key in record))
    train = _series(history, "train", [k for k in keys if k.startswith("loss/")])
    train = {key.removeprefix("loss/"): series for key, series in train.items()}
    validation = {}
    for metric in (m for m in METRICS.values() if m.selectable):
        ours = [k for k in keys if k.endswith(f"/{metric.name}")]
        if series := _series(history, "validation", ours):
            validation[metric] = {k.rpartition("/")[0]: found for k, found in series.items()}
    places = (place for drawn in validation.values() for place in drawn)
    colour = _colours([*train, *(place.partition("@")[0] for place in places)])
    figure, (losses, *others) = pictures.panels(1 + max(len(validation), 1), 2, (5.5, 4.2))
    figure.get_layout_engine().set(wspace=0.06, hspace=0.04)
    _losses(losses, train, colour)
    if not validation:
        clean(others[0], "Validation")
        note(others[0], "no validation yet")
    for axes, (metric, drawn) in zip(others, validation.items()):
        _over_training(axes, metric, drawn, colour)
    every = [train, *validation.values()]
    last = max((steps[-1] for drawn in every for steps, _ in drawn.values()), default=0)
    for axes, drawn in zip((losses, *others), every):
        if drawn:
            axes.set_xlabel("step")
            axes.set_xlim(-0.03 * last, 1.03 * last)
            axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.14))
            pictures.whole_numbers(axes.xaxis)
            axes.locator_params(axis="x", nbins=6, integer=True)
    pictures.save(figure, path)


def _losses(axes: Axes, train: Mapping[str, Series], colour: Mapping[str, str]) -> None:
    clean(axes, "Training loss")
    for task, (steps, values) in train.items():
        if len(steps) > 40:
            axes.plot(steps, values, color=colour[task], alpha=0.22, linewidth=0.8)
            values = _smooth(values)
        marker = "o" if len(steps) == 1 else ""
        axes.plot(steps, values, color=colour[task], linewidth=1.8, marker=marker, label=task)
    if not train:
        note(axes, "no training step logged yet")
        return
    values = np.concatenate([v for _, v in train.values()])
    if values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("mean loss")


def _over_training(
    axes: Axes, metric: Metric, drawn: Mapping[str, Series], colour: Mapping[str, str]
) -> None:
    """A line for each task@space; a star where it is best."""
    clean(axes, f"{_capital(metric)} on validation")
    styles = _styles(drawn, colour)
    for place, (steps, values) in drawn.items():
        best = int(np.argmax(values) if metric.higher_is_better else np.argmin(values))
        label = f"{place}: best {metric.text(values[best])} at step {steps[best]:,d}"
        axes.plot(steps, values, linewidth=1.8, marker="o", ms=3.5, label=label, **styles[place])
        star = {"color": styles[place]["color"], "ms": 14, "mec": "white", "mew": 1, "zorder": 5}
        axes.plot(steps[best], values[best], "*", **star)
    axes.set_ylabel(metric.title)


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
    panels: dict[str, dict[str, dict[str, float]]] = {}  # {metric: {task@space: {day: value}}}
    for name in (name for name in DAILY if name in METRICS):
        for day, own in sorted(found.items()):
            for key, values in own.items():
                if values.get(name) is not None:
                    panels.setdefault(name, {}).setdefault(key, {})[day] = values[name]
    colour = _colours(key.partition("@")[0] for own in found.values() for key in own)
    figure, axes_of = pictures.panels(len(panels), 3, (5, 4.2))
    shown = {}
    for axes, (name, lines) in zip(axes_of, panels.items()):
        _days(axes, METRICS[name], lines, colour, untrained)
        handles, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(labels, handles))
    if shown:
        place = {"loc": "outside lower left", "ncols": 2 * min(len(panels), 3), "handlelength": 3}
        figure.legend(shown.values(), shown, frameon=False, fontsize=9, **place)
    pictures.save(figure, path)


def _days(
    axes: Axes,
    metric: Metric,
    lines: Mapping[str, Mapping[str, float]],
    colour: Mapping[str, str],
    untrained: str,
) -> None:
    judged = metric.judges  # or it is of the rows alone, and no model has a part in it
    clean(axes, f"{_capital(metric)} of each day{', before it was trained on' if judged else ''}")
    for (key, points), style in zip(lines.items(), _styles(lines, colour).values()):
        days = np.array(list(points), "datetime64[D]")
        values = list(points.values())
        axes.plot(days, values, linewidth=1.8, marker="o", ms=4.5, label=key, **style)
        if judged and untrained in points:
            hollow = {"mfc": "white", "mew": 1.4, "zorder": 4, "ms": 4.5, "color": style["color"]}
            axes.plot(np.datetime64(untrained), points[untrained], "o", **hollow)
    every = np.array(sorted({day for points in lines.values() for day in points}), "datetime64[D]")
    margin = max(int((every[-1] - every[0]).astype(int)), 10) * np.timedelta64(72, "m")  # a 20th
    axes.set_xlim(every[0] - margin, every[-1] + margin)
    if metric.format == "%":
        if 0 < min(v for points in lines.values() for v in points.values()) < RARE:
            axes.set_yscale("log")
        percents(axes.yaxis)
    axes.xaxis.set_major_locator(pictures.day_ticks(2, 7))
    axes.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))
    axes.tick_params(axis="x", labelsize=8, rotation=30)
    axes.set_ylabel(metric.title)
    axes.set_xlabel("day" + "; hollow: no step came before" * (judged and bool(untrained)))


def reliability(
    curves: Mapping[str, CalibrationCurve | None], path: str | pathlib.Path, columns: int = 3
) -> None:
    """Draws a reliability diagram per task@space, with a histogram of predictions below, as a PNG.

    Points are the curve's bins, bars their Wilson intervals (95 %), the diagonal is perfect
    calibration. Both axes have the range of the data. They are logarithmic if the base rate is
    below `calibration.LOW_RATE`. A bin without positives has no place on a logarithmic axis; it is
    drawn hollow, at the bottom.

    Args:
      curves: {task@space: `calibration.calibration_curve`}, None where there is no example.
      path: the PNG to write; its folder is made.
      columns: diagrams side by side, at most.
    """
    columns = min(max(len(curves), 1), columns)
    rows = math.ceil(max(len(curves), 1) / columns)
    figure = Figure(figsize=(0.3 + 4 * columns, 5.2 * rows), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05, h_pad=0.06)
    # a diagram, its histogram and a gap, `rows` times
    grid = figure.add_gridspec(3 * rows, columns, height_ratios=(4, 1, 0.1) * rows)
    for i, (key, curve) in enumerate(curves.items()):
        row, column = divmod(i, columns)
        top = figure.add_subplot(grid[3 * row, column])
        clean(top, key, pad=20)
        if curve is None:
            note(top, "no example")
        else:
            _reliability(top, figure.add_subplot(grid[3 * row + 1, column], sharex=top), curve)
    pictures.save(figure, path)


def _reliability(top: Axes, bottom: Axes, curve: CalibrationCurve) -> None:
    low, high = wilson(curve.rate, curve.effective)
    logarithmic = curve.base_rate < LOW_RATE
    if logarithmic:
        seen = np.concatenate([curve.prediction, curve.rate, low])
        least = max(seen[seen > 0].min(initial=1.0), 1e-6) / 1.5
        limits = (least, min(max(curve.prediction.max(), high.max()) * 1.5, 1))
        subs = (1, 2, 3, 5) if limits[1] < 30 * limits[0] else (1,)
        top.set(xscale="log", yscale="log")
        for axis in (top.xaxis, top.yaxis):
            axis.set_major_locator(LogLocator(subs=subs, numticks=5))
            axis.set_minor_formatter(NullFormatter())
    else:
        least, most = curve.edges[0], curve.edges[-1]
        least, most = min(least, low.min(), curve.rate.min()), max(most, high.max())
        margin = 0.04 * (most - least)
        limits = (max(least - margin, 0), min(most + margin, 1))
    top.plot(limits, limits, "--", color="#888888", linewidth=1.2)
    x, y = np.maximum(curve.prediction, limits[0]), np.maximum(curve.rate, limits[0])
    errors = np.maximum(np.stack([y - np.maximum(low, limits[0]), high - y]), 0)
    style = {"fmt": "none", "ecolor": COLOURS[0], "elinewidth": 1.4, "capsize": 2.5, "alpha": 0.8}
    top.errorbar(x, y, yerr=errors, **style)
    faces = np.where(curve.rate < limits[0], "white", COLOURS[0])
    top.scatter(x, y, 30, faces, edgecolors=COLOURS[0], clip_on=False, zorder=4)
    top.set(xlim=limits, ylim=limits, ylabel="observed rate")
    top.tick_params(labelbottom=False)
    bottom.stairs(curve.histogram / curve.histogram.sum(), curve.edges, fill=True, color=COLOURS[5])
    clean(bottom)
    bottom.set(xlabel="predicted probability", ylabel="share", ylim=(0, None))
    bottom.locator_params(axis="y", nbins=3)
    if not logarithmic:  # both axes have the same range, and so the same numbers
        for axis in ("x", "y"):
            top.locator_params(axis=axis, nbins=6)
    for axis in (top.yaxis, bottom.xaxis, bottom.yaxis):
        percents(axis)
    text = f"{curve.count.sum():,d} examples, {100 * curve.base_rate:.3g}% positive"
    top.text(0, 1.02, text, transform=top.transAxes, va="bottom", **NOTE)

"""Draws the pictures of a run, as PNG files: learning curves, days, reliability."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import HOURLY, MINUTELY, AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure

from dtn_jax.metrics import METRICS, Value
from dtn_jax.metrics.calibration import LOW_RATE, CalibrationCurve
from dtn_jax.metrics.rates import wilson
from dtn_jax.report import pictures
from dtn_jax.report.pictures import COLOURS, NOTE, clean, curves, percents, powers

DAILY = ("auc", "gauc", "r2", "base_rate")  # a panel each, where a task has it
TRAINING = {  # the first part of a record's name: its panel
    "loss": "Training loss",
    "weight": "Weights by loss.balancing",
    "norm": "Lengths of the tasks' gradients",
}
COSINES, PAIRS = "Cosines of the tasks' gradients", 10  # of so many pairs at most
SIZE = (5.0, 4.2)  # inches of a panel


def learning_curves(history: Sequence[Mapping], path: str | pathlib.Path) -> None:
    """Draws training losses, a balancer's weights and the lengths and cosines of the gradients that
    it reads, and each metric that can select states, against the step, as a PNG.

    Args:
      history: the records of metrics.jsonl: {"kind": "train", "step", "loss/<task>": ...} and
        {"kind": "validation", "step", "<task>@<space>/<metric>": ...}.
      path: the PNG to write; its folder is made.
    """
    train, validation = logged(history, "train"), logged(history, "validation")
    cosines = train.get("cosine", {})
    lowest = sorted(cosines, key=lambda pair: [*cosines[pair].values()][-1])[:PAIRS]
    cut = f", the lowest {PAIRS}" * (len(lowest) < len(cosines))
    lines = {title: train.get(what, {}) for what, title in TRAINING.items()}
    lines[COSINES + cut] = {pair.replace("/", ", "): cosines[pair] for pair in lowest}
    lines = {title: named for title, named in lines.items() if named or title == TRAINING["loss"]}
    for metric in (m for m in METRICS.values() if m.selectable and m.name in validation):
        of_metric = lines[f"{metric.title} on validation"] = {}
        for key, points in validation[metric.name].items():
            best = (max if metric.higher_is_better else min)(points, key=points.get)
            of_metric[f"{key}: best {metric.text(points[best])} at step {best:,d}"] = points
    by_step = {t: {n: sorted(p.items()) for n, p in named.items()} for t, named in lines.items()}
    figure, every = curves(by_step, 2, SIZE)
    for axes in every.values():
        spread(axes)
    pictures.save_small(figure, path)


def logged(history: Sequence[Mapping], kind: str) -> dict[str, dict[str, dict[int, float]]]:
    """{what: {of what: {step: value}}} of the records of a kind: {"loss": {"click": …}} of
    'loss/click' in training, {"auc": {"click@all": …}} of 'click@all/auc' in validation.

    What is not defined is skipped. A resumed run may have logged a step twice: the later value
    holds."""
    lines: dict[str, dict[str, dict[int, float]]] = {}
    for record in (record for record in history if record["kind"] == kind):
        for name, value in record.items():
            parts = name.partition("/") if kind == "train" else name.rpartition("/")[::-1]
            what, slash, of = parts
            if slash and value is not None and math.isfinite(value):
                lines.setdefault(what, {}).setdefault(of, {})[record["step"]] = value
    return lines


def spread(axes: Axes) -> None:
    """Makes the axis of values logarithmic where the largest is ten times the smallest."""
    values = [value for line in axes.get_lines() for value in line.get_ydata()]
    if values and 0 < 10 * min(values) < max(values):
        axes.set_yscale("log")
        powers(axes.yaxis)


def by_day(days: Mapping[str, Mapping[str, Mapping[str, Value]]], path: str | pathlib.Path) -> None:
    """Draws each day's metrics, each scored before it was trained on: a line a task@space.

    Args:
      days: {day, as 2022-04-09: {task@space: {metric: value}}}.
      path: the PNG to write; its folder is made.
    """
    lines: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for metric in (METRICS[name] for name in DAILY if name in METRICS):
        for day, results in sorted(days.items()):
            for key, values in results.items():
                if values.get(metric.name) is not None:
                    of_metric = lines.setdefault(metric.title, {})
                    of_metric.setdefault(key, []).append((day, values[metric.name]))
    pictures.save_small(over_days(lines), path)


def over_days(
    lines: Mapping[str, Mapping[str, Sequence[tuple[str, float]]]], begins: Sequence[str] = ()
) -> Figure:
    """A panel a title, and in it a line a name.

    Args:
      lines: {title: {name: [(day, value)]}}.
      begins: days at which a dashed line stands.
    """
    dated = {
        title: {name: [(date(day), value) for day, value in line] for name, line in named.items()}
        for title, named in lines.items()
    }
    figure, every = curves(dated, 3, SIZE)
    for axes in every.values():
        spread(axes)
        for day in begins:
            axes.axvline(date(day) - 0.5, color=COLOURS[1], linestyle="--", linewidth=1.2)
        ticks = AutoDateLocator(minticks=2, maxticks=7)
        ticks.intervald[HOURLY] = ticks.intervald[MINUTELY] = [24]  # whole days
        axes.xaxis.set_major_locator(ticks)
        axes.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))
        axes.tick_params(axis="x", rotation=30)
        axes.set_xlabel("")
    return figure


def date(day: str) -> float:
    """The place of a day on the axis of a picture."""
    return date2num(np.datetime64(day))


def reliability(diagrams: Mapping[str, CalibrationCurve | None], path: str | pathlib.Path) -> None:
    """Draws a reliability diagram per task@space, as a PNG.

    Points are the curve's bins, which hold as many examples each, bars their Wilson intervals
    (95 %), the diagonal is perfect calibration. Both axes have the range of the data. They are
    logarithmic if the base rate is below `calibration.LOW_RATE`: a bin without positives has no
    point there, but its bar.

    Args:
      diagrams: {task@space: `calibration.calibration_curve`}, None, without a
        diagram, where there is no example.
      path: the PNG to write; its folder is made.
    """
    known = {key: curve for key, curve in diagrams.items() if curve}
    figure, every = pictures.panels(len(known), 3, (4.0, 4.2))
    for axes, (key, curve) in zip(every, known.items()):
        clean(axes, key, pad=20)
        diagram(axes, curve)
    pictures.save_small(figure, path)


def diagram(axes: Axes, curve: CalibrationCurve) -> None:
    """One curve: bins, their intervals, and the diagonal."""
    low, high = wilson(curve.rate, curve.effective)
    errors = np.maximum(np.stack([curve.rate - low, high - curve.rate]), 0)
    style = {"fmt": "o", "color": COLOURS[0], "elinewidth": 1.4, "capsize": 2.5}
    axes.errorbar(curve.prediction, curve.rate, yerr=errors, **style)
    if curve.base_rate < LOW_RATE:
        axes.set(xscale="log", yscale="log")
    limits = np.sort([*axes.get_xlim(), *axes.get_ylim()])[[0, -1]]
    if curve.base_rate < LOW_RATE:
        for axis in (axes.xaxis, axes.yaxis):
            powers(axis, (1, 2, 5) if limits[1] < 30 * limits[0] else (1,))
    axes.plot(limits, limits, "--", color="#888888", linewidth=1.2)
    axes.set(xlim=limits, ylim=limits, xlabel="predicted probability", ylabel="observed rate")
    for axis in (axes.xaxis, axes.yaxis):
        percents(axis)
    text = f"{curve.count.sum():,d} examples, {100 * curve.base_rate:.3g}% positive"
    axes.text(0, 1.02, text, transform=axes.transAxes, va="bottom", **NOTE)

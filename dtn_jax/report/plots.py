"""Draws the pictures of a run, as PNG files: learning curves, days, reliability."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

from dtn_jax.metrics import METRICS, Metric, Value
from dtn_jax.metrics.calibration import LOW_RATE, CalibrationCurve
from dtn_jax.metrics.rates import wilson
from dtn_jax.report import pictures
from dtn_jax.report.pictures import COLOURS, GRID, LINES, NOTE, clean, note, percents

__all__ = ["COLOURS", "GRID", "LINES", "NOTE", "by_day", "clean", "learning_curves", "reliability"]

Curves = Mapping[str, Mapping]  # {task@space, or a loss's task: {step or day: value}}
DAILY = ("auc", "gauc", "r2", "base_rate")  # a panel each, where a task has it
RARE = 0.05  # a base rate below it asks for a logarithmic axis
COSINE = "cosine/"  # before two tasks, in a record
PAIRS = 10  # of tasks, at most
MANY = 40  # points of a loss, from which on a mean is drawn over them


def learning_curves(history: Sequence[Mapping], path: str | pathlib.Path) -> None:
    """Draws training losses, a balancer's weights and the lengths and cosines of the gradients that
    it reads, and each metric that can select states, against the step, as a PNG.

    Args:
      history: the records of metrics.jsonl: {"kind": "train", "step", "loss/<task>": ...} and
        {"kind": "validation", "step", "<task>@<space>/<metric>": ...}.
      path: the PNG to write; its folder is made.
    """
    logged, own = _logged(history, "validation"), _logged(history, "train")
    train, weights, norms = (
        {task: curves[key] for task, curves in own.items() if key in curves}
        for key in ("loss", "weight", "norm")
    )
    cosines = {
        f"{key.removeprefix(COSINE)}, {task}": curve
        for task, curves in own.items()
        for key, curve in curves.items()
        if key.startswith(COSINE)
    }
    lowest = sorted(cosines, key=lambda pair: [*cosines[pair].values()][-1])[:PAIRS]
    cut = f", the lowest {PAIRS}" * (len(lowest) < len(cosines))
    balance = {
        ("Weights by loss.balancing", "weight"): weights,
        ("Lengths of the tasks' gradients", "length"): norms,
        (f"Cosines of the tasks' gradients{cut}", "cosine"): {p: cosines[p] for p in lowest},
    }
    balance = {words: curves for words, curves in balance.items() if curves}
    found = {m: logged[m.name] for m in METRICS.values() if m.selectable and m.name in logged}
    count = 1 + len(balance) + max(len(found), 1)
    figure, (losses, *others) = pictures.panels(count, 2, (5.5, 4.2))
    figure.get_layout_engine().set(wspace=0.06, hspace=0.04)
    styles = _styles([*train, *(key for curves in found.values() for key in curves)])
    styles |= _styles(cosines)
    _training(losses, train, styles, "Training loss", "mean loss")
    drawn = [(losses, train)]
    for (title, label), curves in balance.items():
        axes, *others = others
        _training(axes, curves, styles, title, label)
        drawn.append((axes, curves))
    if not found:
        clean(others[0], "Validation")
        note(others[0], "no validation yet")
    for axes, (metric, curves) in zip(others, found.items()):
        clean(axes, f"{_capital(metric)} on validation")
        axes.set_ylabel(metric.title)
        for key, curve in curves.items():
            best = (max if metric.higher_is_better else min)(curve, key=curve.get)
            label = f"{key}: best {metric.text(curve[best])} at step {best:,d}"
            axes.plot(*_points(curve), marker="o", ms=3.5, label=label, **styles[key])
            star = {"color": styles[key]["color"], "ms": 14, "mec": "white", "mew": 1, "zorder": 5}
            axes.plot(best, curve[best], "*", **star)
    drawn += zip(others, found.values())
    last = max(
        (step for _, every in drawn for curve in every.values() for step in curve), default=0
    )
    for axes, curves in drawn:
        if curves:
            axes.set_xlabel("step")
            axes.set_xlim(-0.03 * last, 1.03 * last)
            axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.14))
            pictures.whole_numbers(axes.xaxis)
            axes.locator_params(axis="x", nbins=6, integer=True)
    pictures.save(figure, path)


def _logged(history: Sequence[Mapping], kind: str) -> dict[str, dict[str, dict[int, float]]]:
    """{last part of a name: {what is before it: {step: value}}} of the records of a kind; what is
    not defined is skipped. A resumed run may have logged a step twice: the later value holds."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for record in (record for record in history if record["kind"] == kind):
        for name, value in record.items():
            key, slash, metric = name.rpartition("/")
            if slash and value is not None and math.isfinite(value):
                found.setdefault(metric, {}).setdefault(key, {})[record["step"]] = value
    return found


def _points(curve: Mapping) -> tuple[np.ndarray, np.ndarray]:
    steps = sorted(curve)
    return np.array(steps), np.array([curve[step] for step in steps])


def _styles(keys: Iterable[str]) -> dict[str, dict]:
    """{task or task@space: its line}: a colour a task, a stroke a space."""
    spaces: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        task, _, space = key.partition("@")
        spaces.setdefault(task, []).extend([space] * bool(space))
    styles = {}
    for colour, (task, own) in enumerate(spaces.items()):
        style = {"color": COLOURS[colour % len(COLOURS)], "linewidth": 1.8}
        styles[task] = style
        for stroke, space in enumerate(own):
            styles[f"{task}@{space}"] = style | {"linestyle": LINES[stroke % len(LINES)]}
    return styles


def _capital(metric: Metric) -> str:
    return metric.title[:1].upper() + metric.title[1:]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a centred window of a twentieth of the points, cut at the ends."""
    half = max(len(values) // 40, 1)
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def _training(
    axes: Axes, train: Curves, styles: Mapping[str, dict], title: str, label: str
) -> None:
    clean(axes, title)
    if not train:
        note(axes, "no training step logged yet")
        return
    for task, curve in train.items():
        steps, values = _points(curve)
        if len(steps) > MANY:
            axes.plot(steps, values, alpha=0.22, **styles[task] | {"linewidth": 0.8})
            values = _smooth(values)
        axes.plot(steps, values, marker="o" * (len(steps) == 1), label=task, **styles[task])
    values = [value for curve in train.values() for value in curve.values()]
    if min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
        pictures.powers(axes.yaxis)
    axes.set_ylabel(label)


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
    panels: dict[str, dict[str, dict[np.datetime64, float]]] = {}
    for name in (name for name in DAILY if name in METRICS):
        for day, own in sorted(found.items()):
            for key, values in own.items():
                if values.get(name) is not None:
                    curves = panels.setdefault(name, {})
                    curves.setdefault(key, {})[np.datetime64(day)] = values[name]
    styles = _styles(key for own in found.values() for key in own)
    figure, every = pictures.panels(len(panels), 3, (5, 4.2), sharex=True)
    shown = {}
    for axes, (name, curves) in zip(every, panels.items()):
        _days(axes, METRICS[name], curves, styles, untrained)
        shown |= {line.get_label(): line for line in axes.get_lines()}
    days, half = np.array(sorted(found), "datetime64[D]"), np.timedelta64(12, "h")
    every[0].set_xlim(days[0] - half, days[-1] + half)
    if shown := {label: line for label, line in shown.items() if label[:1] != "_"}:
        place = {"loc": "outside lower left", "ncols": 2 * min(len(panels), 3), "handlelength": 3}
        figure.legend(shown.values(), shown, frameon=False, fontsize=9, **place)
    pictures.save(figure, path)


def _days(
    axes: Axes,
    metric: Metric,
    curves: Curves,
    styles: Mapping[str, dict],
    untrained: str,
) -> None:
    judged = metric.judges  # or it is of the rows alone, and no model has a part in it
    clean(axes, f"{_capital(metric)} of each day{', before it was trained on' * judged}")
    for key, curve in curves.items():
        axes.plot(*_points(curve), marker="o", ms=4.5, label=key, **styles[key])
        first, value = next(iter(curve.items()))
        if judged and str(first) == untrained:
            hollow = {"mfc": "white", "mew": 1.4, "zorder": 4, "ms": 4.5}
            axes.plot(first, value, "o", color=styles[key]["color"], **hollow)
    if metric.format == "%":
        if 0 < min(min(curve.values()) for curve in curves.values()) < RARE:
            axes.set_yscale("log")
            pictures.powers(axes.yaxis)
        percents(axes.yaxis)
    axes.xaxis.set_major_locator(pictures.day_ticks(2, 7))
    axes.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))
    axes.tick_params(axis="x", labelsize=8, rotation=30, labelbottom=True)
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
            pictures.powers(axis, subs, 5)
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

"""Draws the pictures of a run, as PNG files.

It uses `matplotlib.figure.Figure` objects without pyplot: no global state, no display, thread-safe.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from dtn_jax.metrics import METRICS, Metric
from dtn_jax.metrics.calibration import LOW_RATE, CalibrationCurve
from dtn_jax.metrics.rates import wilson
from dtn_jax.report import as_written
from dtn_jax.shared_files import replacing

Number = float | int
Series = tuple[np.ndarray, np.ndarray]  # steps, and the values there

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
COLOURS += ("#8C510A", "#7B3FB5")  # beyond those of Okabe and Ito
LINES = ("-", "--", ":", "-.")
GRID = {"color": "#DDDDDD", "linewidth": 0.7}
NOTE = {"color": "#666666", "fontsize": 9}


def _save(figure: Figure, path: str | pathlib.Path) -> None:
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    as_written.plain(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, facecolor="white", format="png")


def clean(axes: Axes, title: str = "", pad: Number = 8) -> None:
    """A title, a grid and no frame: what all panels share."""
    style = {"fontsize": 11.5, "fontweight": "bold", "parse_math": False}  # a name may hold a $
    axes.set_title(title, loc="left", pad=pad, **style)
    axes.grid(True, **GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _note(axes: Axes, text: str) -> None:
    """A message in the middle of an empty panel."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", **NOTE)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


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
    places = dict.fromkeys(place for drawn in validation.values() for place in drawn)
    tasks = list(dict.fromkeys([*train, *(place.partition("@")[0] for place in places)]))
    colour = {task: COLOURS[i % len(COLOURS)] for i, task in enumerate(tasks)}

    rows = math.ceil((1 + max(len(validation), 1)) / 2)
    figure = Figure(figsize=(11, 4.4 * rows), layout="constrained")
    losses, *others = figure.subplots(rows, 2).ravel()
    figure.get_layout_engine().set(wspace=0.06, hspace=0.04)
    _losses(losses, train, colour)
    if not validation:
        clean(others[0], "Validation")
        _note(others[0], "no validation yet")
    for axes, (metric, drawn) in zip(others, validation.items()):
        _over_training(axes, metric, drawn, colour)
    for axes in others[max(len(validation), 1) :]:
        axes.remove()
    every = [train, *validation.values()]
    last = max((steps[-1] for drawn in every for steps, _ in drawn.values()), default=0)
    for axes, drawn in zip((losses, *others), every):
        if drawn:
            axes.set_xlabel("step")
            axes.set_xlim(-0.03 * last, 1.03 * last)
            axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.14))
            axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
            axes.locator_params(axis="x", nbins=6, integer=True)
    _save(figure, path)


def _losses(axes: Axes, train: Mapping[str, Series], colour: Mapping[str, str]) -> None:
    clean(axes, "Training loss")
    for task, (steps, values) in train.items():
        if len(steps) > 40:
            axes.plot(steps, values, color=colour[task], alpha=0.22, linewidth=0.8)
            values = _smooth(values)
        marker = "o" if len(steps) == 1 else ""
        axes.plot(steps, values, color=colour[task], linewidth=1.8, marker=marker, label=task)
    if not train:
        _note(axes, "no training step logged yet")
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
    title = metric.title[:1].upper() + metric.title[1:]
    clean(axes, f"{title} on validation")
    seen: dict[str, int] = {}
    for place, (steps, values) in drawn.items():
        task = place.partition("@")[0]
        line = LINES[seen.get(task, 0) % len(LINES)]
        seen[task] = seen.get(task, 0) + 1
        best = int(np.argmax(values) if metric.higher_is_better else np.argmin(values))
        label = f"{place}: best {metric.text(values[best])} at step {steps[best]:,d}"
        axes.plot(
            steps, values, line, color=colour[task], linewidth=1.8, marker="o", ms=3.5, label=label
        )
        axes.plot(
            steps[best], values[best], "*", color=colour[task], ms=14, mec="white", mew=1, zorder=5
        )
    axes.set_ylabel(metric.title)


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
            _note(top, "no example")
        else:
            _reliability(top, figure.add_subplot(grid[3 * row + 1, column], sharex=top), curve)
    _save(figure, path)


def _reliability(top: Axes, bottom: Axes, curve: CalibrationCurve) -> None:
    colour = COLOURS[0]
    low, high = wilson(curve.rate, curve.effective)
    logarithmic = curve.base_rate < LOW_RATE
    if logarithmic:
        seen = np.concatenate([curve.prediction, curve.rate, low])
        positive = seen[seen > 0]
        least = max(positive.min() if positive.size else 1e-6, 1e-6) / 1.5
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
    hollow = curve.rate < limits[0]
    errors = np.stack([y - np.maximum(low, limits[0]), high - y])
    top.errorbar(
        x,
        y,
        yerr=np.maximum(errors, 0),
        fmt="none",
        ecolor=colour,
        elinewidth=1.4,
        capsize=2.5,
        alpha=0.8,
    )
    faces = np.where(hollow, "white", colour)
    top.scatter(x, y, 30, faces, edgecolors=colour, clip_on=False, zorder=4)
    top.set(xlim=limits, ylim=limits, ylabel="observed rate")
    top.tick_params(labelbottom=False)
    total = curve.histogram.sum()
    bottom.stairs(curve.histogram / total, curve.edges, fill=True, color=COLOURS[5])
    clean(bottom)
    bottom.set(xlabel="predicted probability", ylabel="share", ylim=(0, None))
    bottom.locator_params(axis="y", nbins=3)
    if not logarithmic:  # both axes have the same range, and so the same numbers
        for axis in ("x", "y"):
            top.locator_params(axis=axis, nbins=6)
    for axis in (top.yaxis, bottom.xaxis, bottom.yaxis):
        axis.set_major_formatter(lambda x, _: f"{100 * x:.4g}%")
    text = f"{curve.count.sum():,d} examples, {100 * curve.base_rate:.3g}% positive"
    top.text(0, 1.02, text, transform=top.transAxes, va="bottom", **NOTE)

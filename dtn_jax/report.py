"""What a run shows: tables and progress in the terminal, pictures as PNG files.

Pictures are drawn on `matplotlib.figure.Figure` objects, without pyplot: no global state, no
display, safe in threads.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table
import rich.text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from dtn_jax.metrics import LOW_RATE, CalibrationCurve
from dtn_jax.schema import Schema

Number = float | int
Results = Mapping[str, Mapping[str, Number | None]]

WINDOW = 120.0  # seconds over which speed is measured; wider than any pause between two updates

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.")
GRID = {"color": "#DDDDDD", "linewidth": 0.7}
NOTE = {"color": "#666666", "fontsize": 9}

_BINARY = {
    "AUC": ("auc", ".4f"),
    "log\nloss": ("logloss", ".4f"),
    "ECE": ("ece", ".4f"),
    "mean\npred.": ("mean_prediction", "%"),
    "base\nrate": ("base_rate", "%"),
    "positives": ("positives", ",d"),
    "examples": ("examples", ",d"),
}
_REGRESSION = {
    "RMSE": ("rmse", ".4g"),
    "MAE": ("mae", ".4g"),
    "R²": ("r2", ".4f"),
    "examples": ("examples", ",d"),
}


def _cell(value: Number | None, form: str) -> str:
    if value is None:
        return "n/d"
    if form == "%":  # three digits, whatever the rate
        return f"{100 * value:#.3g}%" if value >= 1e-4 else f"{100 * value:.1g}%"
    return format(value, form)


def results_table(results: Results, schema: Schema, title: str = "") -> rich.table.Table:
    """The metrics of one split, a row per task@space; "n/d" stands for "not defined".

    Args:
      results: {task@space: metrics}, as `metrics.binary_metrics` and `regression_metrics` give.
      schema: tells binary tasks from regression tasks, which get a table of their own below.
      title: stands above.
    """
    return splits_table({"": results}, schema, title)


def splits_table(
    splits: Mapping[str, Results], schema: Schema, title: str = ""
) -> rich.table.Table:
    """As `results_table`, with one section per split: {"validation": results, "test": results}."""
    grid = rich.table.Table.grid()
    grid.title = title or None
    kinds = {task.name: task.kind for task in schema.tasks}
    for kind, columns in (("binary", _BINARY), ("regression", _REGRESSION)):
        table = rich.table.Table(
            box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
        )
        table.add_column("task@space", overflow="fold", style="bold", vertical="bottom")
        for name in columns:
            table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
        for split, results in splits.items():
            rows = {k: v for k, v in results.items() if kinds[k.partition("@")[0]] == kind}
            if split and rows:
                table.add_section()
                table.add_row(rich.text.Text(split, "italic not bold"))
            for key, metrics in rows.items():
                table.add_row(key, *(_cell(metrics[m], form) for m, form in columns.values()))
        if table.row_count:
            if grid.row_count:
                grid.add_row("")
            grid.add_row(table)
    return grid


class _Bar(rich.progress.Progress):
    """A bar with a line below for the losses, which would not fit beside it."""

    below = ""

    def get_renderables(self) -> Iterator[rich.console.RenderableType]:
        yield from super().get_renderables()
        yield rich.text.Text(self.below, "dim")


class Progress:
    """Shows how far training is: a bar in a terminal, else a plain line every `interval` seconds.

        with Progress(total_steps, total_epochs, start_step) as progress:
            progress.update(step=100, epoch=0, losses={"click": 0.3}, examples=102_400)

    Rates and the time left are over the last `WINDOW` seconds and begin at the first update, so
    neither compilation nor the steps before a resume count.

    Args:
      total_steps: steps of the whole run.
      total_epochs: epochs of the whole run.
      start_step: the step resumed from.
      interval: least seconds between two plain lines; the first and the last update always show.
      console: where to write; None is stdout.
      interactive: bar (True) or plain lines (False); None asks whether the output is a terminal.
    """

    def __init__(
        self,
        total_steps: int,
        total_epochs: int,
        start_step: int = 0,
        *,
        interval: Number = 10,
        console: rich.console.Console | None = None,
        interactive: bool | None = None,
    ):
        console = console or rich.console.Console()
        if interactive is None:
            interactive = console.file.isatty() and not console.is_dumb_terminal
        self.interactive = interactive
        self._epochs, self._step, self._interval = total_epochs, start_step, interval
        self._rate = ""
        self._line, self._printed_at, self._printed = "", -math.inf, ""
        self._bar = _Bar(
            rich.progress.TextColumn("{task.description}", style="bold"),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[rate]}"),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("left", style="progress.remaining"),
            console=console,
            speed_estimate_period=WINDOW,
            expand=True,
        )
        self._task = self._bar.add_task("", total=total_steps, completed=start_step, rate="")

    def __enter__(self):
        if self.interactive:
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self.interactive:
            self._bar.stop()
        elif self._line != self._printed:
            self._print()

    def update(
        self, *, step: int, epoch: int, losses: Mapping[str, Number], examples: int = 0
    ) -> None:
        """Shows a new position.

        Args:
          step: steps done, those before a resume included.
          epoch: 0 in the first epoch, which is shown as 1.
          losses: {task: its loss}.
          examples: examples trained on since the last update (or since the start).
        """
        task = self._bar.tasks[0]
        self._bar.update(self._task, completed=step)
        if task.speed and step > self._step:
            self._rate = f"{task.speed * examples / (step - self._step):,.0f} examples/s"
        self._step = step
        where = f"epoch {min(epoch + 1, self._epochs)}/{self._epochs}"
        text = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._bar.below = f"loss  {text}" if text else ""
        self._bar.update(self._task, description=where, rate=self._rate)
        left = task.time_remaining
        parts = (
            where,
            f"step {step}/{task.total:.0f}",
            self._rate,
            f"loss {text}" if text else "",
            "" if left is None or task.finished else f"{_clock(left)} left",
        )
        self._line = " | ".join(filter(None, parts))
        if not self.interactive and self._bar.get_time() - self._printed_at >= self._interval:
            self._print()

    def _print(self) -> None:
        print(self._line, file=self._bar.console.file, flush=True)
        self._printed, self._printed_at = self._line, self._bar.get_time()


def _clock(seconds: Number) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _save(figure: Figure, path: str | pathlib.Path) -> None:
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white", format="png")


def _clean(axes: Axes, title: str = "", pad: Number = 8) -> None:
    axes.set_title(title, fontsize=11.5, loc="left", fontweight="bold", pad=pad)
    axes.grid(True, **GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _note(axes: Axes, text: str) -> None:
    """A message in the middle of an empty panel."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", **NOTE)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _series(
    history: Sequence[Mapping], kind: str, keys: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
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
    """Draws training losses and validation metrics against the step, as a PNG.

    Args:
      history: the records of metrics.jsonl: {"kind": "train", "step", "loss/<task>": ...} and
        {"kind": "validation", "step", "<task>@<space>/auc" or ".../r2": ...}.
      path: the PNG to write; its folder is made.
    """
    keys = list(dict.fromkeys(key for record in history for key in record))
    train = _series(history, "train", [k for k in keys if k.startswith("loss/")])
    validation = _series(history, "validation", [k for k in keys if k.endswith(("/auc", "/r2"))])
    tasks = [k.removeprefix("loss/") for k in train]
    tasks += [k.partition("@")[0] for k in validation]
    tasks = list(dict.fromkeys(tasks))
    colour = {task: COLOURS[i % len(COLOURS)] for i, task in enumerate(tasks)}

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.get_layout_engine().set(wspace=0.06)
    _clean(left, "Training loss")
    for key, (steps, values) in train.items():
        task = key.removeprefix("loss/")
        if len(steps) > 40:
            left.plot(steps, values, color=colour[task], alpha=0.22, linewidth=0.8)
            values = _smooth(values)
        marker = "o" if len(steps) == 1 else ""
        left.plot(steps, values, color=colour[task], linewidth=1.8, marker=marker, label=task)
    if train:
        values = np.concatenate([v for _, v in train.values()])
        if values.min() > 0 and values.max() > 10 * values.min():
            left.set_yscale("log")
            left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            left.yaxis.set_major_formatter(lambda x, _: f"{x:g}")
            left.yaxis.set_minor_formatter(NullFormatter())
        left.set_ylabel("mean loss")
    else:
        _note(left, "no training step logged yet")

    metrics = {key.rpartition("/")[2] for key in validation}
    name = " and ".join({"auc": "AUC", "r2": "R²"}[m] for m in sorted(metrics))
    _clean(right, f"Validation {name}" if name else "Validation")
    seen: dict[str, int] = {}
    for key, (steps, values) in validation.items():
        where = key.rpartition("/")[0]
        task = where.partition("@")[0]
        line = LINES[seen.get(task, 0) % len(LINES)]
        seen[task] = seen.get(task, 0) + 1
        best = int(np.argmax(values))
        label = f"{where}: best {values[best]:.4f} at step {steps[best]:,d}"
        right.plot(
            steps, values, line, color=colour[task], linewidth=1.8, marker="o", ms=3.5, label=label
        )
        right.plot(
            steps[best], values[best], "*", color=colour[task], ms=14, mec="white", mew=1, zorder=5
        )
    if validation:
        right.set_ylabel(name)
    else:
        _note(right, "no validation yet")
    for axes, drawn in ((left, train), (right, validation)):
        if drawn:
            axes.set_xlabel("step")
            axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.14))
            axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
            axes.locator_params(axis="x", nbins=6, integer=True)
    _save(figure, path)


def wilson(rate: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a rate seen in `count` examples; z = 1.96 covers 95 %.

    E. B. Wilson, Probable inference, J. Am. Stat. Assoc. 22 (1927):
    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    middle = rate + z**2 / (2 * count)
    half = z * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    return np.maximum((middle - half) / scale, 0), np.minimum((middle + half) / scale, 1)


def reliability(curves: Mapping[str, CalibrationCurve | None], path: str | pathlib.Path) -> None:
    """Draws a reliability diagram per task@space, with a histogram of predictions below, as a PNG.

    Points are the curve's bins, bars their Wilson intervals (95 %), the diagonal is perfect
    calibration. Axes are logarithmic when the base rate is under `metrics.LOW_RATE`. A bin
    without a positive has no place on a logarithmic axis and stands, hollow, at its foot.

    Args:
      curves: {task@space: `metrics.calibration_curve`}, None where there is no example.
      path: the PNG to write; its folder is made.
    """
    columns = min(max(len(curves), 1), 3)
    rows = math.ceil(max(len(curves), 1) / columns)
    figure = Figure(figsize=(0.3 + 4 * columns, 5.2 * rows), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05, h_pad=0.06)
    # a diagram, its histogram and a gap, `rows` times
    grid = figure.add_gridspec(3 * rows, columns, height_ratios=(4, 1, 0.1) * rows)
    for i, (key, curve) in enumerate(curves.items()):
        row, column = divmod(i, columns)
        top = figure.add_subplot(grid[3 * row, column])
        _clean(top, key, pad=20)
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
        limits = (0, 1)
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
    _clean(bottom)
    bottom.set(xlabel="predicted probability", ylabel="share", ylim=(0, None))
    bottom.locator_params(axis="y", nbins=3)
    for axis in (top.yaxis, bottom.xaxis, bottom.yaxis):
        axis.set_major_formatter(lambda x, _: f"{100 * x:.4g}%")
    text = f"{curve.count.sum():,d} examples, {100 * curve.base_rate:.3g}% positive"
    top.text(0, 1.02, text, transform=top.transAxes, va="bottom", **NOTE)

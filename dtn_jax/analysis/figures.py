"""Pictures of importance and divergence, as PNG files; drawn as those of plots.py."""

from __future__ import annotations

import io
import math
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtn_jax.analysis.importance import Importance
from dtn_jax.analysis.rank import Divergence
from dtn_jax.report import as_written
from dtn_jax.report.plots import NOTE
from dtn_jax.shapes import Float

DPI = 100
PALETTE = 64
MOST = 40  # fields in a heat map; the least important of more are left out
FACTOR = 1000  # of the numbers shown
UNITS = {  # of a method: what they are
    "permutation": "drop of {} × 1000 when permuted",
    "unknown": "drop of {} × 1000 when unknown",
    "gradient": "mean change of the logit × 1000, to first order",
}
ABSOLUTE = "gradient"  # a mean of absolute values, which noise makes larger, never 0
COLOURS = "Blues"
ROOMY = 3  # keys of a matrix with large cells
LETTERS = 14  # of a grey line, an inch
DARK = 0.55  # of the colour scale: from here on text is white


def save(figure: Figure, path: str | pathlib.Path, dpi: int = DPI, **how: object) -> None:
    """As a PNG of few colours, a third of the size of one of all colours; `how`: of savefig."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    as_written.plain(figure)
    figure.savefig(drawn, dpi=dpi, facecolor="white", format="png", **how)
    picture = PIL.Image.open(drawn).convert("RGB")
    # The median cut, which is the default, has no colour for a few cells of a heat map.
    few = picture.quantize(PALETTE, PIL.Image.Quantize.MAXCOVERAGE, dither=PIL.Image.Dither.NONE)
    few.save(path, "PNG", optimize=True)


def header(figure: Figure, text: str, below: str = "") -> None:
    """A bold title and grey lines below it, at the top of a figure of constrained layout."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(below, int(width * LETTERS)) if below else []
    figure.text(0.1 / width, 1 - 0.1 / height, text, va="top", fontsize=11.5, fontweight="bold")
    figure.text(0.1 / width, 1 - 0.36 / height, "\n".join(lines), va="top", linespacing=1.4, **NOTE)
    taken = 0.4 + 0.18 * len(lines)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - taken / height))


def number(value: float | int) -> str:
    """Three digits, and two decimals at most: 123, 12.3, 1.23, 0.12, 0.00."""
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2
    return f"{value if abs(value) >= 0.005 else 0:.{digits}f}"


def unit(method: str, titles: Iterable[str]) -> str:
    """What the numbers of a method are, where the keys' metrics have these titles."""
    return UNITS[method].format(" and ".join(dict.fromkeys(titles)))


def about_noise(method: str) -> str:
    """How the numbers of a method that stand without intervals are to be read."""
    if method == ABSOLUTE:
        return "a mean of absolute values: a field without influence has more than 0 too"
    return "in brackets: within noise of 0"


def marked(value: float | int, sure: bool) -> str:
    """The number, in brackets where it is within noise of 0: seen on a cell of any colour."""
    return number(value) if sure else f"({number(value)})"


def shares(found: Importance) -> Float[np.ndarray, "F K"]:
    """Each key's importances over its largest; below 0 is 0."""
    positive = np.maximum(found.mean, 0)
    largest = positive.max(axis=0, keepdims=True)
    return positive / np.where(largest > 0, largest, 1)


def order(found: Importance) -> np.ndarray:
    """The fields, the one with the largest mean share over the keys first."""
    return np.argsort(-shares(found).mean(axis=1), kind="stable")


def importance(found: Importance, path: str | pathlib.Path) -> None:
    """A heat map, fields × keys: colours say the share of the key's largest, numbers the value.

    Values whose 95 % interval reaches 0 are grey. `path` is the PNG to write; its folder is made.
    """
    places = order(found)[:MOST]
    share, mean, sure = (a[places] for a in (shares(found), found.mean, found.above_noise))
    rows, columns = mean.shape
    widest = max(len(part) for key in found.keys for part in key.split("@")) + 1
    size = 2.7 + max(0.95, 0.085 * widest) * columns, 1.9 + 0.27 * rows
    figure = Figure(figsize=(max(size[0], 4.6), size[1]), layout="constrained")
    axes = figure.subplots()
    image = axes.pcolormesh(share, cmap=COLOURS, vmin=0, vmax=1, edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    for f in range(rows):
        for k in range(columns):
            ink = "white" if share[f, k] > DARK else "#222222"
            text = marked(FACTOR * mean[f, k], found.method == ABSOLUTE or bool(sure[f, k]))
            axes.text(k + 0.5, f + 0.5, text, ha="center", va="center", fontsize=8.5, color=ink)
    axes.set_yticks(np.arange(rows) + 0.5, [found.fields[f] for f in places], fontsize=8.5)
    named = [
        f"{wrapped(key)}\n{title} {base:.4f}"
        for key, title, base in zip(found.keys, found.titles, found.base)
    ]
    axes.set_xticks(np.arange(columns) + 0.5, named, fontsize=8.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=30)
    bar.set_label("share of the task's largest", fontsize=8.5, color=NOTE["color"])
    bar.ax.yaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f}%")
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_visible(False)
    left_out = len(found.fields) - rows
    more = f"; {left_out} less important fields left out" if left_out else ""
    said = found.method == ABSOLUTE or not sure.all()
    noise = f"; {about_noise(found.method)}" if said else ""
    numbers = unit(found.method, found.titles)
    below = f"{numbers}{noise}{more}; below each task its metric on the sample"
    header(figure, f"Importance by task: {found.method}", below)
    save(figure, path)


def divergence(
    found: Mapping[str, Divergence], known: Divergence | None, path: str | pathlib.Path
) -> None:
    """A matrix of divergences for each method; on the diagonals, what noise alone makes.

    Beside them, where it is known, that of the Bayes-optimal score.
    """
    panels_of = {f"by {method}": one for method, one in found.items()}
    if known is not None:
        panels_of["of the Bayes-optimal score, by permutation"] = known
    size = len(next(iter(found.values())).keys)
    side = 1.0 + (0.95 if size <= ROOMY else 0.7) * size
    rows, columns = grid(len(panels_of), 2 if len(panels_of) == 4 else 3)
    figure = Figure(
        figsize=(max(side * columns, 5.4), 0.7 + (side + 0.2) * rows), layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (text, one) in zip(panels, panels_of.items()):
        _matrix(axes, one)
        axes.set_title(text, fontsize=10, loc="left")
    for axes in panels[len(panels_of) :]:
        axes.remove()
    below = (
        "1 − rank correlation of two tasks' importances, with its 95 % interval; on the diagonal, "
        "what noise alone makes"
    )
    header(figure, "Divergence between tasks", below)
    save(figure, path)


def _matrix(axes: Axes, found: Divergence) -> None:
    keys, font = found.keys, 7.5 if len(found.keys) <= ROOMY else 6.5
    shown = np.where(np.isfinite(found.value), found.value, 0)
    axes.pcolormesh(shown, cmap="Oranges", vmin=0, vmax=1.2, edgecolors="white", linewidth=1.5)
    axes.invert_yaxis()
    for i in range(len(keys)):
        for j in range(len(keys)):
            if i == j:
                text, ink = f"({found.itself[i]:.2f})", "#888888"
            else:
                ends = f"{found.low[i, j]:.2f} – {found.high[i, j]:.2f}"
                text, ink = f"{found.value[i, j]:.2f}\n{ends}", "#222222"
                ink = "white" if shown[i, j] > 0.75 else ink
            axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=font, color=ink)
    places = np.arange(len(keys)) + 0.5
    labels = [wrapped(key) for key in keys]
    axes.set_xticks(places, labels, fontsize=8)
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_aspect("equal")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def wrapped(key: str) -> str:
    """`order@click` in two lines."""
    task, _, space = key.partition("@")
    return f"{task}\n@{space}"


def grid(count: int, most: int) -> tuple[int, int]:
    """Rows and columns of `count` panels, at most so many beside each other."""
    columns = max(min(count, most), 1)
    return math.ceil(max(count, 1) / columns), columns


def triangles(
    axes: Axes,
    found: Float[np.ndarray, "F F"],
    fields: Sequence[str],
    known: Mapping[tuple[str, str], float] | None,
) -> None:
    """Pairs found below the diagonal, beside the fields' names; above it the known ones, if any.

    Each side is over its largest. A known pair's place among the found has a ring.
    """
    size = len(fields)
    shown = np.tril(found, -1) / max(float(found.max()), 1e-30)
    largest = max((known or {}).values(), default=1)
    for pair, weight in (known or {}).items():
        i, j = sorted((fields.index(pair[0]), fields.index(pair[1])))
        shown[i, j] = weight / largest
        axes.plot(i + 0.5, j + 0.5, "o", ms=6.5, mfc="none", mec="#D55E00", mew=1.3)
    shown = np.ma.array(shown, mask=np.triu(np.full((size, size), not known)))
    axes.pcolormesh(shown, cmap=COLOURS, vmin=0, vmax=1, edgecolors="#EEEEEE", linewidth=0.3)
    axes.plot([0, size], [0, size], color="#BBBBBB", linewidth=0.8)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal")
    places = np.arange(size) + 0.5
    axes.set_xticks(places, fields, rotation=90, fontsize=9)
    axes.set_yticks(places, fields, fontsize=9)
    axes.tick_params(length=0, pad=1)
    axes.spines[:].set_visible(False)

"""What the pictures of a description share.

They are as wide as a telephone's screen is, so that their text stays readable there. What is too
much to be taken in at a glance is left out, and the title says so.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from dtn_jax.report import as_written
from dtn_jax.report.plots import COLOURS, clean

WIDTH = 6.0  # inches; 9-point text is then readable on a telephone
MOST = 20  # lines of a picture
LETTERS = 24  # of a name
FONT = {"fontsize": 9, "parse_math": False}  # a name may hold a $
SPLIT_COLOURS = (COLOURS[0], COLOURS[4], COLOURS[1], COLOURS[2])
MARKS = "osD^"


def short(name: str, letters: int = LETTERS) -> str:
    """A name that fits; of task@space, the space stays."""
    task, at, space = name.rpartition("@")
    if len(name) <= letters:
        return name
    if at and len(space) < letters // 2:
        return f"{task[: letters - len(space) - 2]}…@{space}"
    return f"{name[: letters - 1]}…"


def png(figure: Figure) -> bytes:
    held = io.BytesIO()
    as_written.plain(figure)
    figure.savefig(held, dpi=150, facecolor="white", format="png")
    return held.getvalue()


def percents(axis: Axis) -> None:
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.3g} %"))


def lines(names: Sequence[str], title: str) -> tuple[Figure, Axes]:
    """A figure with a line for each name, the first one on top."""
    figure = Figure(figsize=(WIDTH, 1.35 + 0.27 * len(names)), layout="constrained")
    axes = figure.subplots()
    clean(axes, title)
    axes.set_yticks(range(len(names)), [short(name) for name in names], **FONT)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9)
    return figure, axes


def below(axes: Axes, columns: int) -> None:
    """A legend below the axes, where it hides nothing."""
    place = {"loc": "outside lower center", "ncols": columns, "frameon": False, "fontsize": 9}
    axes.figure.legend(**place)


def capped(title: str, shown: int, every: int) -> str:
    return f"{title}: {shown} of {every}" if shown < every else title

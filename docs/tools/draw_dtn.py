"""Draws docs/pictures/dtn.png, the picture of DTN's flow at the top of README.

Run it from the repository: `python docs/tools/draw_dtn.py`.
"""

from __future__ import annotations

import pathlib

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from small_pictures import shrink

INK, FAINT = "#1f2328", "#59636e"
CLICK, SHARED, ORDER = "#0969da", "#6e7781", "#bc4c00"
FILL = {CLICK: "#ddf0ff", SHARED: "#eaeef2", ORDER: "#ffe9db", FAINT: "#ffffff"}
Point = tuple[float, float]


def box(axes: Axes, middle: Point, size: Point, text: str, colour: str, **font) -> None:
    shape = FancyBboxPatch(
        (middle[0] - size[0] / 2, middle[1] - size[1] / 2),
        *size,
        boxstyle="round,pad=0,rounding_size=0.1",
        facecolor=FILL[colour],
        edgecolor=colour,
        linewidth=1.4,
        zorder=3,
    )
    axes.add_patch(shape)
    axes.text(*middle, text, ha="center", va="center", color=INK, zorder=4, **font)


def arrow(axes: Axes, start: Point, end: Point, colour: str, **line) -> None:
    shape = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=shape | line, zorder=2)


def group(axes: Axes, y: float, task: str, colour: str) -> None:
    """The experts of a task, or the shared ones."""
    box(axes, (2.5, y), (2.4, 1.15), "", colour)
    title = {"ha": "center", "va": "center", "color": colour, "weight": "bold", "zorder": 4}
    axes.text(2.5, y + 0.32, f"{task} experts", fontsize=13, **title)
    for x, width, name in ((1.74, 0.7, "GDCN"), (2.57, 0.86, "MaskNet"), (3.33, 0.56, "MLP")):
        box(axes, (x, y - 0.18), (width, 0.46), name, FAINT, fontsize=11)


def task(axes: Axes, name: str, colour: str, own: float, others: float) -> float:
    """A task's two gates, its tower and its probability; returns the height of the last two."""
    y = (own + others) / 2
    for height, what in ((own, "own group"), (others, "others")):
        box(axes, (5.35, height), (1.1, 0.5), what, colour, fontsize=12)
        arrow(axes, (5.9, height), (6.2, y + 0.3 * (height - y)), colour)
    box(axes, (6.6, y), (0.8, 0.75), f"{name}\ntower", colour, fontsize=12)
    arrow(axes, (7.0, y), (7.25, y), colour)
    box(axes, (7.75, y), (1.0, 0.55), f"p({name})", colour, fontsize=13, weight="bold")
    return y


def draw() -> Figure:
    """The picture for two tasks, click → order: its words can be read at the width of a phone."""
    high, middle, low = 4.5, 2.75, 1.0  # of click's experts, the shared ones, order's
    figure = Figure(figsize=(8.3, 5.6), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 8.3), ylim=(0.1, 5.7))
    axes.axis("off")
    titles = {0.5: "fields", 2.5: "groups of experts", 5.35: "gates", 6.6: "towers"}
    for x, title in titles.items():
        axes.text(x, 5.35, title, ha="center", color=FAINT, fontsize=13)

    for i, name in enumerate(("user", "item", "price", "hour", "…")):
        box(axes, (0.5, 3.85 - 0.55 * i), (0.85, 0.44), name, FAINT, fontsize=12)
    for y, name, colour in (
        (high, "click", CLICK),
        (middle, "shared", SHARED),
        (low, "order", ORDER),
    ):
        group(axes, y, name, colour)
        arrow(axes, (0.97, middle + 0.3 * (y - middle)), (1.3, y - 0.12 * (y - middle)), FAINT)

    click_others, order_others = 3.65, 1.85
    y = task(axes, "click", CLICK, high, click_others)
    task(axes, "order", ORDER, low, order_others)
    right, left = 3.7, 4.8  # of the groups, of the gates
    arrow(axes, (right, high), (left, high), CLICK)
    arrow(axes, (right, low), (left, low), ORDER)
    arrow(axes, (right, middle + 0.1), (left, click_others), SHARED)
    arrow(axes, (right, middle - 0.1), (left, order_others), SHARED)
    arrow(axes, (right, low + 0.25), (left, click_others - 0.15), ORDER)

    scaled = (5.2, 2.72)  # the click experts that the order sees
    arrow(axes, (right, high - 0.25), (scaled[0] - 0.19, scaled[1] + 0.1), CLICK)
    arrow(axes, (scaled[0], scaled[1] - 0.2), (scaled[0], order_others + 0.25), CLICK)
    axes.plot(*scaled, "o", ms=21, mfc=FILL[CLICK], mec=CLICK, mew=1.4, zorder=3)
    axes.text(*scaled, "×", ha="center", va="center", fontsize=16, color=INK, zorder=4)
    axes.plot((7.75, 7.75), (y - 0.28, scaled[1]), "--", color=CLICK, linewidth=1.6, zorder=2)
    arrow(axes, (7.75, scaled[1]), (scaled[0] + 0.22, scaled[1]), CLICK, linestyle="--")
    words = {"ha": "center", "color": CLICK, "fontsize": 12, "linespacing": 1.25}
    axes.text(6.55, 2.82, "TSN: p(click) scales", va="bottom", **words)
    axes.text(6.55, 2.6, "what order reads of click", va="top", **words)
    return figure


if __name__ == "__main__":
    path = pathlib.Path(__file__).parents[1] / "pictures/dtn.png"
    draw().savefig(path, dpi=150)
    shrink(path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

"""The picture of gate weights: over all rows, and by how much segments depart from that."""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dtn_jax.analysis.figures import grid, header, save
from dtn_jax.analysis.gate_use import OTHER, OWN, Use, relation, without_level
from dtn_jax.analysis.segments import FEWEST
from dtn_jax.interface import SHARED

INKS = {OWN: ("#0072B2",), SHARED: ("#007A59",), OTHER: ("#B36B00",)}  # by whose the expert is
ALL_ROWS, EFFECTIVE = "all rows", "effective"
SAME = "="  # effective weights where nothing scales experts after the gate
LABEL = 26  # letters of a line of a segment's name
CELL = 0.62  # inches of a cell's width, at least
LETTER = 0.068  # inches of a letter of an expert's name
WIDE = 8  # sources, at most, of gates of which two stand beside each other
POINTS = 0.1  # a difference that has the full colour, where none is larger
DARK = 0.6  # of the full colour: from here on text is white
SHADED = "RdBu"


def colours(
    gate: str, sources: Sequence[str], tasks: Sequence[str], shades: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """A colour a source, in turns of its relation's."""
    seen: dict[str, int] = {}
    found = {}
    for source in sources:
        whose = relation(gate, source, tasks)
        place = seen[whose] = seen.get(whose, -1) + 1
        found[source] = shades[whose][place % len(shades[whose])]
    return found


def gates(
    use: Use,
    effective: Use,
    by_segment: Mapping[str, Use],
    segment: str,
    tasks: Sequence[str],
    path: pathlib.Path,
) -> None:
    """A panel a gate: its weights over all rows, and below them each segment's difference.

    Args:
      use: {gate: {source: mean weight}}.
      effective: the same of gates after which something else scales the experts.
      by_segment: {segment: as `use` on its rows}.
      segment: what the segments are values of.
      tasks: tell whose an expert is.
      path: the PNG to write.
    """
    above = [ALL_ROWS, EFFECTIVE] if effective else [ALL_ROWS]
    lines = [textwrap.wrap(name, LABEL) for name in (*above, *by_segment)]
    sizes = [len(weights) for weights in use.values()]
    rows, columns = grid(len(use), 2 if max(sizes) <= WIDE else 1)
    ratios = [max(sizes[column::columns]) for column in range(columns)]
    longest = max(len(part) for w in use.values() for s in w for part in _short(s).split("\n"))
    cell, high = max(CELL, LETTER * longest), 0.27 if max(map(len, lines)) == 1 else 0.34
    size = (
        max(2.2 + cell * sum(ratios) + 0.25 * columns, 6.2),
        0.85 + rows * (0.85 + high * len(lines)),
    )
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, width_ratios=ratios).ravel()
    largest = max(
        [POINTS, *(np.abs(apart(use, own, g)).max() for own in by_segment.values() for g in use)]
    )
    for panel, (axes, gate) in enumerate(zip(panels, use)):
        differences = [apart(use, own, gate) for own in by_segment.values()]
        texts = [_percent(use[gate])]
        if effective:
            texts.append(_percent(effective[gate]) if gate in effective else [SAME] * len(texts[0]))
        _panel(axes, texts, differences, largest)
        paint = colours(gate, list(use[gate]), tasks, INKS)
        axes.set_xticks(np.arange(len(paint)) + 0.5, [_short(s) for s in paint], fontsize=7)
        for label, ink in zip(axes.get_xticklabels(), paint.values()):
            label.set_color(ink)
        labels = ["\n".join(own) if panel % columns == 0 else "" for own in lines]
        axes.set_yticks(np.arange(len(lines)) + 0.5, labels, fontsize=8)
        for label in axes.get_yticklabels()[: len(above)]:
            label.set_fontweight("bold")
        axes.set_title(gate, fontsize=10, loc="left", fontweight="bold")
    for axes in panels[len(use) :]:
        axes.remove()
    below = "% over all rows"
    if by_segment:
        below += f"; by {segment} (rows, {FEWEST} at least): points more or less"
    if effective:
        below += "; effective: times what scales experts after the gate"
    header(figure, "Mean gate weights", below)
    names = {OWN: "own", SHARED: "shared", OTHER: "of other tasks"}
    figure.legend(
        handles=[Patch(color=INKS[k][0], label=v) for k, v in names.items()],
        loc="upper right",
        bbox_to_anchor=(1, 1 - 0.02 / size[1]),  # beside the title
        ncols=3,
        frameon=False,
        fontsize=8.5,
    )
    save(figure, path)


def apart(use: Use, other: Use, gate: str) -> np.ndarray:
    """`[M]`, the weights of a gate less those over all rows."""
    return np.array([other[gate][source] - weight for source, weight in use[gate].items()])


def _percent(weights: Mapping[str, float]) -> list[str]:
    return [f"{100 * weight:.1f}" for weight in weights.values()]


def _points(difference: float) -> str:
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _panel(
    axes: Axes, texts: Sequence[Sequence[str]], differences: Sequence[np.ndarray], largest: float
) -> None:
    """Rows of plain texts, and below them rows of differences in their colours."""
    width = max(map(len, texts))
    shown = np.full((len(texts) + len(differences), width), np.nan)
    shown[len(texts) :] = np.reshape(differences, (-1, width))
    axes.pcolormesh(
        shown, cmap=SHADED, vmin=-largest, vmax=largest, edgecolors="white", linewidth=1
    )
    axes.invert_yaxis()
    marks = [*texts, *([_points(one) for one in own] for own in differences)]
    for y, row in enumerate(marks):
        for x, text in enumerate(row):
            dark = y >= len(texts) and abs(shown[y, x]) > DARK * largest
            style = {"fontweight": "bold"} if y < len(texts) else {}
            ink = "white" if dark else "#222222"
            at = (x + 0.5, y + 0.5)
            axes.text(*at, text, ha="center", va="center", fontsize=7.5, color=ink, **style)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _short(source: str) -> str:
    """The expert's name, under its group's, without the level: it is in the gate's name."""
    group, _, expert = source.partition("/")
    return f"{without_level(group)}\n{expert}"

"""Pictures of the use of gates, of what changes over training, and of GDCN's pairs."""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dtn_jax.analysis.figures import grid, header, save, triangles
from dtn_jax.analysis.gate_use import OTHER, OWN, Use, in_order, relation, without_level
from dtn_jax.analysis.watch import COSINE, GATE, HALF
from dtn_jax.architectures.parts import SHARED
from dtn_jax.plots import COLOURS, GRID, LINES, NOTE

SHADES = {  # of the sources of one relation, in turns
    OWN: ("#0072B2", "#4A9BCB", "#8CC0E0", "#BDDCEF"),
    SHARED: ("#009E73", "#4DBB9C", "#8FD4C0", "#C2E8DD"),
    OTHER: ("#E69F00", "#F0BC4D", "#F6D68F", "#FAE8C2"),
}
STROKES = {  # the same for lines, none of them pale
    OWN: ("#0072B2", "#56B4E9", "#003F66", "#4A9BCB"),
    SHARED: ("#009E73", "#4DBB9C", "#00573F", "#8FD4C0"),
    OTHER: ("#E69F00", "#8A5F00", "#D55E00", "#F0BC4D"),
}
DARK = {shades[0] for shades in SHADES.values()}  # whose text is white
LABEL = 24  # letters of a line of a segment's name
WIDE = 0.09  # a part of a bar with room for its name
ALL_ROWS = "all rows"
PAIRED = 24  # fields, at most, whose names can be read in two panels beside each other


def colours(
    gate: str, sources: Sequence[str], tasks: Sequence[str], shades: Mapping = SHADES
) -> dict[str, str]:
    """A colour a source, in shades of its relation's."""
    seen: dict[str, int] = {}
    found = {}
    for source in sources:
        whose = relation(gate, source, tasks)
        place = seen[whose] = seen.get(whose, -1) + 1
        found[source] = shades[whose][place % len(shades[whose])]
    return found


def gates(
    use: Use, by_segment: Mapping[str, Use], segment: str, tasks: Sequence[str], path: pathlib.Path
) -> None:
    """Stacked bars, a panel a gate: its weights over all rows and in each segment.

    Args:
      use: {gate: {source: mean weight}}.
      by_segment: {segment: the same on its rows}.
      segment: what the segments are values of.
      tasks: tell whose an expert is.
      path: the PNG to write.
    """
    bars = {ALL_ROWS: use, **by_segment}
    lines = [textwrap.wrap(name, LABEL) for name in bars]
    high = max(0.25, *(0.14 * len(own) for own in lines))  # inches of a bar
    rows, columns = grid(len(use), 2)
    height = 0.7 + rows * (0.75 + high * len(bars))
    figure = Figure(figsize=(5.6 * columns, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (axes, gate) in enumerate(zip(panels, use)):
        paint = colours(gate, list(use[gate]), tasks)
        for y, weights in enumerate(bars.values()):
            _stack(axes, y, weights[gate], paint, named=not y)
        axes.set(xlim=(0, 1.001), ylim=(len(bars) - 0.5, -0.9))
        labels = ["\n".join(own) if panel % columns == 0 else "" for own in lines]
        axes.set_yticks([-0.2, *range(1, len(bars))], labels, fontsize=8)
        axes.get_yticklabels()[0].set_fontweight("bold")
        axes.set_xticks([])
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
        axes.set_title(gate, fontsize=10, loc="left", fontweight="bold")
    for axes in panels[len(use) :]:
        axes.remove()
    by = f", over all rows and by {segment}" if by_segment else ""
    header(figure, f"Mean gate weights{by}", "colours: whose the experts are")
    names = {OWN: "own", SHARED: "shared", OTHER: "of other tasks"}
    figure.legend(
        handles=[Patch(color=SHADES[k][0], label=v) for k, v in names.items()],
        loc="upper right",
        bbox_to_anchor=(1, 1 - 0.28 / height),  # beside the line that speaks of colours
        ncols=3,
        frameon=False,
        fontsize=8.5,
    )
    save(figure, path)


def _stack(
    axes: Axes, y: int, weights: Mapping[str, float], paint: Mapping[str, str], named: bool
) -> None:
    """One bar, of the weights of one gate; the first one is twice as high and names the sources."""
    left = 0.0
    for source, weight in weights.items():
        low, high = (-0.75, 1.1) if named else (-0.4, 0.8)
        axes.bar(
            left,
            high,
            weight,
            y + low,
            align="edge",
            color=paint[source],
            edgecolor="white",
            lw=0.7,
        )
        ink = "white" if paint[source] in DARK else "#222222"
        text = f"{100 * weight:.0f}%"
        if weight > WIDE:
            text = f"{_short(source)} {text}" if named else text
            at = left + weight / 2, y + low + high / 2
            axes.text(*at, text, ha="center", va="center", fontsize=6.5, color=ink)
        left += weight


def _short(source: str) -> str:
    """The expert's name, under its group's, without the level: it is in the gate's name."""
    group, _, expert = source.partition("/")
    return f"{without_level(group)}\n{expert}"


def over_training(found: Mapping[str, Mapping], tasks: Sequence[str], path: pathlib.Path) -> None:
    """Lines against the step: a panel a gate, and one of the cosines between tasks' gradients.

    Args:
      found: what `watch.over_training` gives.
      tasks: tell whose an expert is.
      path: the PNG to write.
    """
    by_gate: dict[str, dict] = {}
    for (gate, source), points in found[GATE].items():
        by_gate.setdefault(gate, {})[source] = points
    by_gate = in_order(by_gate, tasks)
    count = len(by_gate) + bool(found[COSINE])
    rows, columns = grid(count, 3)
    figure = Figure(figsize=(4.3 * columns, 0.6 + 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (gate, lines) in zip(panels, by_gate.items()):
        paint = colours(gate, list(lines), tasks, STROKES)
        for i, (source, points) in enumerate(lines.items()):
            _line(axes, points, source, color=paint[source], linestyle=LINES[i % len(LINES)])
        axes.set_ylim(0, 1.15 * max(value for points in lines.values() for _, value in points))
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.3g}%")
        axes.locator_params(axis="y", nbins=5)
        _finish(axes, gate)
    if found[COSINE]:
        axes = panels[count - 1]
        for i, ((task, other), points) in enumerate(found[COSINE].items()):
            colour = COLOURS[i % len(COLOURS)]
            _line(axes, points, f"{task}, {other}", color=colour)
            _band(axes, points, found[HALF].get((task, other), []), colour)
        axes.axhline(0, color="#888888", linewidth=1, linestyle="--")
        _finish(axes, "cosine of the tasks' gradients")
    for axes in panels[count:]:
        axes.remove()
    header(
        figure,
        "Over training",
        "mean gate weights, and the cosine between tasks' gradients at the shared embeddings with "
        "its 95 % interval, on fixed validation rows",
    )
    save(figure, path)


def _line(axes: Axes, points: Sequence, label: str, **style) -> None:
    steps, values = zip(*[(s, v) for s, v in points if v is not None] or [(0, np.nan)])
    axes.plot(steps, values, marker="o", ms=3, linewidth=1.6, label=label, **style)


def _band(axes: Axes, points: Sequence, halves: Sequence, colour: str) -> None:
    """An interval around a line, at the steps where there is one."""
    half = dict(map(tuple, halves))
    known = [(s, v, half[s]) for s, v in points if v is not None and half.get(s) is not None]
    if known:
        steps, values, halves = map(np.array, zip(*known))
        axes.fill_between(
            steps, values - halves, values + halves, color=colour, alpha=0.15, linewidth=0
        )


def _finish(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10, loc="left", fontweight="bold")
    axes.grid(True, **GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("step", fontsize=8.5)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.legend(frameon=False, fontsize=7.5, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.2))


def pairs(
    strengths: Mapping[str, np.ndarray],
    fields: Sequence[str],
    known: Mapping[str, Mapping[tuple[str, str], float]],
    found: Mapping[str, str],
    path: pathlib.Path,
) -> None:
    """A panel an expert: the strengths of its pairs below the diagonal, the truth above it.

    Args:
      strengths: {expert: `[F, F]`}.
      fields: names of the F; of more than PAIRED, those in no strong pair are left out.
      known: {expert: {(field, field): weight}}, empty where nothing is known.
      found: {expert: how well the pairs were found, in words}.
      path: the PNG to write.
    """
    told = {field for own in known.values() for pair in own for field in pair}
    places = in_strong_pairs(strengths, [fields.index(field) for field in told])
    shown = [fields[place] for place in places]
    rows, columns = grid(len(strengths), 2)
    side = 1.6 + 0.17 * len(shown)
    figure = Figure(
        figsize=((side + 0.3) * columns, 0.7 + (side + 0.3) * rows), layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (expert, matrix) in zip(panels, strengths.items()):
        triangles(axes, matrix[np.ix_(places, places)], shown, known.get(expert))
        axes.set_title(expert, fontsize=10, loc="left", fontweight="bold", pad=18)
        axes.text(0, 1.01, found.get(expert, ""), transform=axes.transAxes, va="bottom", **NOTE)
    for axes in panels[len(strengths) :]:
        axes.remove()
    below = "strength of each pair's term on data, over the largest"
    if any(known.values()):
        below += ": below the diagonal; the known pairs above it, and ringed"
    if len(shown) < len(fields):
        below += f"; the {len(shown)} of {len(fields)} fields with the strongest pairs"
    header(figure, "Field pairs in GDCN's first layer", below)
    save(figure, path)


def in_strong_pairs(
    strengths: Mapping[str, np.ndarray], needed: Sequence[int] = (), most: int = PAIRED
) -> list[int]:
    """Places of at most so many fields: those needed, and those of any expert's strongest pairs.

    In their own order; a pair's strength is over the largest of its expert.
    """
    largest = np.max([own / max(float(own.max()), 1e-30) for own in strengths.values()], axis=0)
    rows, columns = np.triu_indices(len(largest), 1)
    chosen = set(needed)
    for pair in np.argsort(-largest[rows, columns], kind="stable"):
        more = chosen | {int(rows[pair]), int(columns[pair])}
        if len(more) > most:
            break
        chosen = more
    return sorted(chosen)

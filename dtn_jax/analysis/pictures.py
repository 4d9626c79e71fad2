"""Pictures of what was found of one model, or of several seeds': a point a seed, and intervals."""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dtn_jax.analysis import findings
from dtn_jax.analysis.findings import Found, over_seeds, own_spaces
from dtn_jax.analysis.gate_use import OTHER, OWN, relation, without_level
from dtn_jax.analysis.importance import METHODS, Z
from dtn_jax.analysis.sections import ABSOLUTE, FACTOR, about_noise, marked, unit
from dtn_jax.analysis.segments import FEWEST, described
from dtn_jax.interface import SHARED
from dtn_jax.report.pictures import (
    COLOURS,
    LINES,
    NOTE,
    cells,
    clean,
    colour_bar,
    header,
    named_lines,
    panels,
    percents,
    save_small,
    whole_numbers,
)

MOST = 40  # fields in a heat map; the least important of more are left out
BARS = 20  # fields as bars
PAIRS = 15  # of keys; of more, those in the spaces of the losses are drawn alone
POINT = {"marker": "o", "ms": 4.5, "mfc": "white", "mew": 1.1, "ls": "none", "zorder": 3}
STEP = 0.18  # between the seeds of a line, in lines
LINE = 0.29  # inches of a line
INKS = {OWN: "#0072B2", SHARED: "#007A59", OTHER: "#B36B00"}  # by whose the expert is
LABEL = 26  # letters of a line of a segment's name
WIDE = 8  # sources, at most, of gates of which two stand beside each other
POINTS = 0.1  # a difference that has the full colour, where none is larger
SHOWN = 24  # fields, at most, whose names can be read in two panels of pairs


def draw(found: Sequence[Found], folder: pathlib.Path, prefix: str = "") -> list[str]:
    """Writes PREFIX + NAME.png into a folder; returns the names, of sections.PICTURES.

    Those of pairs are drawn where their strengths are known: see `pairs`.
    """
    names = []
    for name, figure in pictures(found):
        save_small(figure, folder / f"{prefix}{name}.png")
        names.append(name)
    return names


def pictures(found: Sequence[Found]) -> Iterator[tuple[str, Figure]]:
    """(its name, the picture), of all that can be drawn."""
    methods = [m for m in METHODS if m in found[0]["methods"]]
    for method in methods:
        drawn = heat_map if len(found) == 1 else bars
        yield f"importance_{method}", drawn(found, method)
    if findings.divergences(found, methods[0]):
        yield "divergence", divergence(found, methods)
    if found[0]["gates"]:
        yield "gates", gates(found[0]) if len(found) == 1 else kinds(found)
    if found[0]["conflict"] and len(found) > 1:
        yield "conflict", conflict(found)
    if found[0]["over_training"] and len(found) == 1:
        yield "over_training", over_training(found[0])


def heat_map(found: Sequence[Found], method: str) -> Figure:
    """Fields × keys: colours say the share of the key's largest, numbers the value.

    Values whose 95 % interval reaches 0 are in brackets.
    """
    facts = found[0]["methods"][method]
    by_key, titles = facts["importance"], facts["metric"]
    every = findings.ranked(found, method)
    fields = every[:MOST]
    mean, error = (
        np.array([[own[field][what] for own in by_key.values()] for field in fields])
        for what in ("mean", "error")
    )
    largest = np.maximum(mean.max(axis=0, keepdims=True), 1e-300)
    sure = (mean > Z * error) | (method == ABSOLUTE)
    texts = [[marked(FACTOR * m, s) for m, s in zip(*row)] for row in zip(mean, sure)]
    columns = [
        "\n@".join(key.split("@")) + f"\n{titles[key]} {facts['base'][key]:.4f}" for key in by_key
    ]
    widest = max(len(part) for key in by_key for part in key.split("@")) + 1
    size = 2.7 + max(0.95, 0.085 * widest) * len(columns), 1.2 + 0.27 * len(fields)
    figure, (axes,) = panels(1, 1, size, least=4.6)
    shares = np.maximum(mean, 0) / largest
    how = {"cmap": "Blues", "vmin": 0, "vmax": 1, "dark": 0.55}
    image = cells(axes, shares, texts, columns, fields, **how)
    percents(colour_bar(figure, axes, image, "share of the task's largest").yaxis)
    noise = f"; {about_noise(method)}" if method == ABSOLUTE or not sure.all() else ""
    below = f"{unit(found, method)}{noise}{_left_out(every, fields)}"
    header(
        figure,
        f"Importance by task: {method}",
        f"{below}; below each task its metric on the sample",
    )
    return figure


def _left_out(every: Sequence[str], shown: Sequence[str]) -> str:
    rest = len(every) - len(shown)
    return f"; {rest} less important fields left out" if rest else ""


def bars(found: Sequence[Found], method: str) -> Figure:
    """A panel a key, fields down: the mean with its error, and a point a seed."""
    every = findings.ranked(found, method)
    fields = every[:BARS]
    table = over_seeds(findings.importances(found, method), ("key", "field"), "mean", "error")
    by_key = table.partition_by("key", as_dict=True, maintain_order=True)
    size = 2.9, 0.6 + 0.22 * len(fields)
    figure, every_axes = panels(len(by_key), 3, size, sharey=True)
    places = np.arange(len(fields))
    for axes, ((key,), own) in zip(every_axes, by_key.items()):
        rows = {row["field"]: row for row in own.to_dicts()}
        mean, error = (FACTOR * np.array([rows[f][w] for f in fields]) for w in ("mean", "error"))
        axes.barh(places, mean, color=COLOURS[5], alpha=0.45, height=0.7)
        axes.errorbar(mean, places, xerr=Z * error, fmt="none", color="#444444", lw=1, capsize=2)
        for values in FACTOR * np.array([rows[f]["mean_values"] for f in fields]).T:
            axes.plot(values, places, color=COLOURS[0], **POINT)
        axes.axvline(0, color="#888888", lw=0.8)
        named_lines(axes, fields)
        clean(axes, key)
    below = "; bars: means over seeds, circles: each seed, lines: a model's 95 % interval"
    below = unit(found, method) + below + _left_out(every, fields)
    header(figure, f"Importance by task: {method}", below)
    return figure


def divergence(found: Sequence[Found], methods: Sequence[str]) -> Figure:
    """A panel a method, pairs of tasks down: each seed with its interval, noise, and the truth."""
    every = {method: findings.divergences(found, method) for method in methods}
    below = "1 − rank correlation of two tasks' importances, with its 95 % interval"
    first = every[methods[0]]
    if len(first) > PAIRS:
        own = {*own_spaces(key for row in first for key in (row["left"], row["right"]))}
        every = {m: [r for r in v if {r["left"], r["right"]} <= own] for m, v in every.items()}
        below += "; each task in the space of its loss"
    names = [f"{row['left']}, {row['right']}" for row in every[methods[0]]]
    size = 2.8, 1.2 + max(LINE, 0.14 * len(found)) * len(names)
    figure, every_axes = panels(len(every), len(every), size, least=5.4, sharey=True)
    for axes, (method, rows) in zip(every_axes, every.items()):
        for y, row in enumerate(rows):
            _by_seed(axes, y, *(row[f"{what}_values"] for what in ("value", "low", "high")))
            for alone, ink in ((row["noise"], "#555555"), (row["seeds"], COLOURS[1])):
                if None not in alone:
                    axes.plot([np.mean(alone)], [y], "|", color=ink, ms=15, mew=1.5)
            if row["known"] is not None and method == "permutation":
                axes.plot([row["known"]], [y], "D", color=COLOURS[2], ms=6)
        axes.set_xlim(left=0)
        named_lines(axes, names)
        clean(axes, f"by {method}")
    marks = [
        Line2D([], [], color=COLOURS[0], label="a seed's model", **POINT),
        Line2D([], [], ls="none", marker="|", color="#555555", ms=11, label="noise alone"),
    ]
    if len(found) > 1:
        marks.append(Line2D([], [], ls="none", marker="|", color=COLOURS[1], label="seeds alone"))
    if found[0]["truth"]:
        marks.append(Line2D([], [], ls="none", marker="D", color=COLOURS[2], label="known"))
    header(figure, "Divergence between tasks", below)
    figure.legend(handles=marks, loc="outside lower right", ncols=4, frameon=False, fontsize=9)
    return figure


def conflict(found: Sequence[Found]) -> Figure:
    """Pairs of tasks down: each seed's cosine with its interval."""
    names = list(found[0]["conflict"])
    figure, (axes,) = panels(1, 1, (6.2, 0.8 + 0.45 * len(names)))
    for y, name in enumerate(names):
        mean = [one["conflict"][name]["mean"] for one in found]
        halves = [one["conflict"][name]["half"] or 0.0 for one in found]
        ends = ([None if m is None else m + s * h for m, h in zip(mean, halves)] for s in (-1, 1))
        _by_seed(axes, y, mean, *ends)
    axes.axvline(0, color="#888888", lw=1)
    named_lines(axes, names)
    clean(axes)
    below = "each seed with its 95 % interval; below 0 tasks hinder each other"
    header(figure, "Cosine of gradients at the shared embeddings", below)
    return figure


def _by_seed(
    axes: Axes,
    y: int,
    values: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
) -> None:
    """A point a seed, each on a line of its own around `y`, with its interval."""
    for s, value in enumerate(values):
        place = y + STEP * (s - (len(values) - 1) / 2)
        if None not in (value, low[s], high[s]):
            axes.plot([low[s], high[s]], [place, place], color=COLOURS[0], lw=1.1)
            axes.plot([value], [place], color=COLOURS[0], **POINT)


def kinds(found: Sequence[Found]) -> Figure:
    """A panel a gate: the mean weight of each kind of expert, a point a seed, and equal weights."""
    table = over_seeds(findings.gate_weights(found), ("gate", "kind", "whose", "experts"), "weight")
    by_gate = table.partition_by("gate", as_dict=True, maintain_order=True)
    size = 4.3, 0.55 + LINE * max(map(len, by_gate.values()))
    figure, every_axes = panels(len(by_gate), 2, size, least=8.6, sharex=True)
    for axes, ((gate,), own) in zip(every_axes, by_gate.items()):
        for y, row in enumerate(own.to_dicts()):
            ink, equal = INKS[row["whose"]], row["experts"] / own["experts"].sum()
            axes.barh(y, row["weight"], color=ink, alpha=0.4, height=0.7)
            axes.plot(row["weight_values"], [y] * len(found), color=ink, **POINT)
            axes.plot([equal, equal], [y - 0.42, y + 0.42], color="black", lw=1.1, ls="--")
        named_lines(axes, own["kind"].to_list())
        axes.set_xlim(0, 1)
        percents(axes.xaxis)
        clean(axes, gate)
    below = "bars: means over seeds, circles: each seed, dashed: equal weights"
    header(figure, "Mean gate weights", below + "; blue: own, green: shared, brown: other tasks'")
    return figure


def gates(found: Found) -> Figure:
    """A panel a gate: its weights over all rows, and below them each segment's difference."""
    facts = found["gates"]
    use, effective = facts["use"], facts["effective"]["use"]
    parts = {f"{name} ({own['rows']:,})": own["use"] for name, own in facts["segments"].items()}
    tasks = list(dict.fromkeys(gate.partition("/")[0] for gate in use))
    above = ["all rows", "effective"] if effective else ["all rows"]
    rows = ["\n".join(textwrap.wrap(name, LABEL)) for name in (*above, *parts)]
    most = max(map(len, use.values()))
    letters = max(len(part) for w in use.values() for s in w for part in _short(s).split("\n"))
    width = max(0.62, 0.068 * letters) * most + 1.3
    size = width, 0.85 + (0.34 if any("\n" in row for row in rows) else 0.27) * len(rows)
    figure, every_axes = panels(len(use), 2 if most <= WIDE else 1, size, least=6.2)
    apart = {
        gate: np.array([[own[gate][s] - w for s, w in weights.items()] for own in parts.values()])
        for gate, weights in use.items()
    }
    largest = max([POINTS, *(np.abs(own).max(initial=0) for own in apart.values())])
    for axes, (gate, weights) in zip(every_axes, use.items()):
        texts = [[f"{100 * weight:.1f}" for weight in weights.values()]]
        if effective:
            scaled = effective.get(gate, {})
            texts.append([f"{100 * scaled[s]:.1f}" if s in scaled else "=" for s in weights])
        colour = np.full((len(rows), len(weights)), np.nan)
        if parts:
            colour[len(above) :] = apart[gate]
        texts += [[_points(value) for value in row] for row in apart[gate]]
        how = {"cmap": "RdBu", "vmin": -largest, "vmax": largest, "dark": 0.6 * largest}
        cells(axes, colour, texts, [_short(s) for s in weights], rows, size=7.5, **how)
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelsize=7.5)
        for label, source in zip(axes.get_xticklabels(), weights):
            label.set_color(INKS[relation(gate, source, tasks)])
        axes.set_title(gate, fontsize=10, loc="left", fontweight="bold")
    below = "% over all rows"
    if parts:
        named = described(facts["segment"])
        below += f"; by {named} (rows, {FEWEST} at least): points more or less"
    if effective:
        below += "; effective: times what scales experts after the gate"
    header(figure, "Mean gate weights", below)
    whose = {OWN: "own", SHARED: "shared", OTHER: "of other tasks"}
    handles = [Patch(color=INKS[k], label=v) for k, v in whose.items()]
    figure.legend(handles=handles, loc="upper right", ncols=3, frameon=False, fontsize=8.5)
    return figure


def _points(difference: float) -> str:
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _short(source: str) -> str:
    """The expert's name, under its group's, without the level: it is in the gate's name."""
    group, _, expert = source.partition("/")
    return f"{without_level(group)}\n{expert}"


def over_training(found: Found) -> Figure:
    """Lines against the step: a panel a gate, and one of the cosines between tasks' gradients."""
    facts, by_gate = found["over_training"], {}
    for name, points in facts["gates"].items():
        gate, source = name.split(" → ")
        by_gate.setdefault(gate, {})[source] = points
    by_gate = {gate: by_gate[gate] for gate in found["gates"].get("use", ())}  # in their order
    figure, axes_of = panels(len(by_gate) + bool(facts["cosines"]), 3, (4.3, 3.2))
    for axes, (gate, lines) in zip(axes_of, by_gate.items()):
        _lines(axes, gate, lines)
        axes.axhline(1 / len(lines), color="#888888", linewidth=0.8)
        percents(axes.yaxis)
    if facts["cosines"]:
        halves = facts["cosine_halves"]
        _lines(axes_of[-1], "cosine of the tasks' gradients", facts["cosines"], halves)
        axes_of[-1].axhline(0, color="#888888", linewidth=1, linestyle="--")
    header(
        figure,
        "Over training",
        "mean gate weights (grey: equal ones), and the cosine between tasks' gradients at the "
        "shared embeddings with its 95 % interval, on fixed validation rows",
    )
    return figure


def _lines(
    axes: Axes,
    title: str,
    lines: Mapping[str, Sequence],
    halves: Mapping[str, Sequence] | None = None,
) -> None:
    """A line a name, of points [step, value], with a band of half its width where it is known."""
    for i, (name, points) in enumerate(lines.items()):
        known = np.array([p for p in points if p[1] is not None] or [(0, np.nan)])
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)]}
        axes.plot(*known.T, marker="o", ms=3, linewidth=1.6, label=name, **style)
        half = dict((halves or {}).get(name, ()))
        if band := [(s, v - half[s], v + half[s]) for s, v in known if half.get(s)]:
            steps, low, high = np.array(band).T
            low, high = np.maximum(low, -1), np.minimum(high, 1)
            axes.fill_between(steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
    clean(axes, title)
    axes.title.set_fontsize(10)
    axes.set_xlabel("step", fontsize=8.5)
    axes.tick_params(labelsize=8)
    whole_numbers(axes.xaxis)
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.legend(frameon=False, fontsize=7.5, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.2))


def pairs(
    strengths: Mapping[str, np.ndarray],
    fields: Sequence[str],
    known: Mapping[str, Mapping[tuple[str, str], float]],
    judged: Mapping[str, str],
    path: pathlib.Path,
) -> None:
    """A panel an expert: the strengths of its pairs below the diagonal, the truth above it.

    Args:
      strengths: {expert: `[F, F]`}.
      fields: names of the F; of more than SHOWN, those in no strong pair are left out.
      known: {expert: {(field, field): weight}}, empty where nothing is known.
      judged: {expert: how well the pairs were found, in words}.
      path: the PNG to write.
    """
    needed = {field for own in known.values() for pair in own for field in pair}
    places = in_strong_pairs(strengths, [fields.index(field) for field in needed])
    shown = [fields[place] for place in places]
    side = 1.9 + 0.17 * len(shown)
    figure, every_axes = panels(len(strengths), 2, (side, side))
    for axes, (expert, matrix) in zip(every_axes, strengths.items()):
        _triangles(axes, matrix[np.ix_(places, places)], shown, known.get(expert, {}))
        axes.set_title(expert, fontsize=10, loc="left", fontweight="bold", pad=18)
        axes.text(0, 1.01, judged.get(expert, ""), transform=axes.transAxes, va="bottom", **NOTE)
    below = "strength of each pair's term on data, over the largest"
    if any(known.values()):
        below += ": below the diagonal; the known pairs above it, and ringed"
    if len(shown) < len(fields):
        below += f"; the {len(shown)} of {len(fields)} fields with the strongest pairs"
    header(figure, "Field pairs in GDCN's first layer", below)
    save_small(figure, path)


def _triangles(
    axes: Axes,
    strengths: np.ndarray,
    fields: Sequence[str],
    known: Mapping[tuple[str, str], float],
) -> None:
    """Each side is over its largest; a known pair's place among the found has a ring."""
    size, largest = len(fields), max(known.values(), default=1)
    shown = np.tril(strengths, -1) / max(float(strengths.max()), 1e-30)
    for pair, weight in known.items():
        i, j = sorted((fields.index(pair[0]), fields.index(pair[1])))
        shown[i, j] = weight / largest
        axes.plot(i + 0.5, j + 0.5, "o", ms=6.5, mfc="none", mec="#D55E00", mew=1.3)
    shown = np.ma.array(shown, mask=np.triu(np.full((size, size), not known)))
    axes.pcolormesh(shown, cmap="Blues", vmin=0, vmax=1, edgecolors="#EEEEEE", linewidth=0.3)
    axes.plot([0, size], [0, size], color="#BBBBBB", linewidth=0.8)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal")
    axes.set_xticks(np.arange(size) + 0.5, fields, rotation=90, fontsize=9)
    axes.set_yticks(np.arange(size) + 0.5, fields, fontsize=9)
    axes.tick_params(length=0, pad=1)
    axes.spines[:].set_visible(False)


def in_strong_pairs(
    strengths: Mapping[str, np.ndarray], needed: Sequence[int] = (), most: int = SHOWN
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

"""Pictures of what was found of several seeds' models: a point a seed, beside means and errors."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dtn_jax.analysis import over_seeds
from dtn_jax.analysis.figures import FACTOR, grid, header, save, unit
from dtn_jax.analysis.gate_figures import INKS
from dtn_jax.analysis.gate_use import relation
from dtn_jax.analysis.importance import METHODS, Z
from dtn_jax.analysis.over_seeds import Found
from dtn_jax.analysis.tables import own_spaces, ranked, titles_of
from dtn_jax.report.plots import COLOURS, clean

MOST = 20  # fields
PAIRS = 15  # of keys; of more, those in the spaces of the losses are drawn alone
POINT = {"marker": "o", "ms": 4.5, "mfc": "white", "mew": 1.1, "ls": "none", "zorder": 3}
STEP = 0.18  # between the seeds of a line, in lines
LINE = 0.29  # inches of a line


def pictures(found: Sequence[Found]) -> Iterator[tuple[str, Figure]]:
    """(its name of markdown.PICTURES, the picture), of all that can be drawn."""
    methods = [m for m in METHODS if m in found[0]["methods"]]
    for method in methods:
        yield f"importance_{method}", importance(found, method)
    if any(len(own["divergence"]["keys"]) > 1 for own in found[0]["methods"].values()):
        yield "divergence", divergence(found, methods)
    if found[0]["gates"]:
        yield "gates", gates(found)
    if found[0]["conflict"]:
        yield "conflict", conflict(found)


def draw(found: Sequence[Found], folder: pathlib.Path, prefix: str) -> list[str]:
    """Writes PREFIX_NAME.png into a folder; returns the names."""
    names = []
    for name, figure in pictures(found):
        save(figure, folder / f"{prefix}_{name}.png")
        names.append(name)
    return names


def importance(found: Sequence[Found], method: str) -> Figure:
    """A panel a key, fields down: the mean with its error, and a point a seed."""
    by_key = over_seeds.importances(found, method)
    fields = ranked(by_key)[:MOST]
    rows, columns = grid(len(by_key), 3)
    figure = Figure(
        figsize=(1.6 + 2.9 * columns, 0.9 + rows * (0.6 + 0.22 * len(fields))),
        layout="constrained",
    )
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    places = np.arange(len(fields))
    for axes, (key, by_field) in zip(panels, by_key.items()):
        ones = [by_field[field] for field in fields]
        mean, error = (FACTOR * np.array([o[what] for o in ones]) for what in ("mean", "error"))
        axes.barh(places, mean, color=COLOURS[5], alpha=0.45, height=0.7)
        axes.errorbar(mean, places, xerr=Z * error, fmt="none", color="#444444", lw=1, capsize=2)
        for s in range(len(found)):
            axes.plot([FACTOR * o["values"][s] for o in ones], places, color=COLOURS[0], **POINT)
        axes.axvline(0, color="#888888", lw=0.8)
        named(axes, fields)
        clean(axes, key)
    for axes in panels[len(by_key) :]:
        axes.remove()
    numbers = unit(method, titles_of(found[0]["methods"][method]).values())
    left_out = len(next(iter(by_key.values()))) - len(fields)
    more = f"; {left_out} less important fields left out" if left_out else ""
    below = f"{numbers}; bars: means over seeds, circles: each seed, lines: a model's 95 % interval"
    header(figure, f"Importance by task: {method}", below + more)
    return figure


def divergence(found: Sequence[Found], methods: Sequence[str]) -> Figure:
    """A panel a method, pairs of tasks down: each seed with its interval, noise, and the truth."""
    every = {method: list(over_seeds.divergences(found, method)) for method in methods}
    below = "1 − rank correlation of two tasks' importances; each seed with its 95 % interval"
    if len(next(iter(every.values()))) > PAIRS:
        own = own_spaces(found[0]["methods"][methods[0]]["divergence"]["keys"])
        every = {m: [one for one in ones if {*one.keys} <= {*own}] for m, ones in every.items()}
        below += "; each task in the space of its loss"
    names = [", ".join(one.keys) for one in next(iter(every.values()))]
    known = over_seeds.truths(found)
    figure = Figure(
        figsize=(1.8 + 2.8 * len(every), 1.6 + max(LINE, 0.14 * len(found)) * len(names)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(every), squeeze=False, sharey=True)[0]
    for axes, (method, ones) in zip(panels, every.items()):
        for y, one in enumerate(ones):
            per_seed(axes, y, one.value.values, one.low, one.high)
            for alone, ink in ((one.noise, "#555555"), (one.seeds, COLOURS[1])):
                if None not in alone:
                    axes.plot([np.mean(alone)], [y], "|", color=ink, ms=15, mew=1.5)
            if one.keys in known and method == "permutation":
                axes.plot([known[one.keys]], [y], "D", color=COLOURS[2], ms=6)
        axes.set_xlim(left=0)
        named(axes, names)
        clean(axes, f"by {method}")
    marks = [
        Line2D([], [], color=COLOURS[0], label="a seed", **POINT),
        Line2D([], [], ls="none", marker="|", color="#555555", ms=11, label="noise alone"),
        Line2D([], [], ls="none", marker="|", color=COLOURS[1], ms=11, label="seeds alone"),
    ]
    if known:
        marks.append(Line2D([], [], ls="none", marker="D", color=COLOURS[2], label="known"))
    header(figure, "Divergence between tasks", below)
    figure.legend(handles=marks, loc="outside lower right", ncols=4, frameon=False, fontsize=9)
    return figure


def gates(found: Sequence[Found]) -> Figure:
    """A panel a gate: the mean weight of each kind of expert, a point a seed, and equal weights."""
    weights = over_seeds.gate_weights(found)
    counts = over_seeds.counts(found[0]["gates"]["use"])
    tasks = list(dict.fromkeys(gate.partition("/")[0] for gate in weights))
    rows, columns = grid(len(weights), 2)
    most = max(map(len, weights.values()))
    figure = Figure(figsize=(8.6, 0.9 + rows * (0.55 + LINE * most)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, (gate, own) in zip(panels, weights.items()):
        experts = sum(counts[gate].values())
        for y, (kind, weight) in enumerate(own.items()):
            ink = INKS[relation(gate, kind, tasks)][0]
            axes.barh(y, 100 * weight.mean, color=ink, alpha=0.4, height=0.7)
            shares = [100 * v for v in weight.values]
            axes.plot(shares, [y] * len(shares), color=ink, **POINT)
            equal = 100 * counts[gate][kind] / experts
            axes.plot([equal, equal], [y - 0.42, y + 0.42], color="black", lw=1.1, ls="--")
        named(axes, list(own))
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}%")
        clean(axes, gate)
    for axes in panels[len(weights) :]:
        axes.remove()
    below = "bars: means over seeds, circles: each seed, dashed: equal weights"
    header(figure, "Mean gate weights", below + "; blue: own, green: shared, brown: other tasks'")
    return figure


def conflict(found: Sequence[Found]) -> Figure:
    """Pairs of tasks down: each seed's cosine with its interval."""
    names = list(found[0]["conflict"])
    figure = Figure(figsize=(6.2, 1.5 + 0.45 * len(names)), layout="constrained")
    axes = figure.subplots()
    for y, name in enumerate(names):
        ones = [one["conflict"][name] for one in found]
        mean = [one["mean"] for one in ones]
        low, high = (
            [o["mean"] + side * (o["half"] or 0.0) if o["mean"] is not None else None for o in ones]
            for side in (-1, 1)
        )
        per_seed(axes, y, mean, low, high)
    axes.axvline(0, color="#888888", lw=1)
    named(axes, names)
    clean(axes)
    below = "each seed with its 95 % interval; below 0 tasks hinder each other"
    header(figure, "Cosine of gradients at the shared embeddings", below)
    return figure


def per_seed(
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


def named(axes: Axes, names: Sequence[str]) -> None:
    """Lines with names, the first on top."""
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(length=0, labelsize=8.5)

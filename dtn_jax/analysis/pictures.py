"""Pictures of what was found of one model, or of several seeds': a point a seed, and intervals."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from dtn_jax.analysis import findings
from dtn_jax.analysis.findings import Found, Row, mean, rows
from dtn_jax.analysis.gate_use import OTHER, OWN
from dtn_jax.analysis.importance import METHODS, Z
from dtn_jax.analysis.sections import FACTOR, PICTURES, SHOWN, metrics_of
from dtn_jax.analysis.segments import FEWEST, described
from dtn_jax.interface import SHARED
from dtn_jax.report.pictures import (
    COLOURS,
    curves,
    header,
    panels,
    percents,
    save_small,
    small_multiples,
)

PAIRS = 15  # of keys, or of fields; of more keys those in the spaces of the losses are drawn alone
INKS = {OWN: "#0072B2", SHARED: "#007A59", OTHER: "#B36B00"}  # by whose the expert is
NOISE, SEEDS, KNOWN = "noise alone", "seeds alone", "known"
MARKS = {NOISE: ("|", "#555555"), SEEDS: ("|", COLOURS[1]), KNOWN: ("D", COLOURS[2])}
ENDS = {"low": -1, "high": 1}  # of an interval
EQUAL, EFFECTIVE = "equal weights", "effective weight"
MARKERS = ".*^vsPd<>"  # of segments
EACH_SEED = "; bars: means over seeds, circles: each seed"


def draw(found: Sequence[Found], folder: pathlib.Path) -> list[str]:
    """Writes NAME.png into a folder; returns the names, of sections.PICTURES."""
    names = []
    for name, figure in pictures(found):
        save_small(figure, folder / f"{name}.png")
        names.append(name)
    return names


def pictures(found: Sequence[Found]) -> Iterator[tuple[str, Figure]]:
    """(its name, the picture), of all that can be drawn."""
    methods = [m for m in METHODS if m in found[0]["methods"]]
    for method in methods:
        yield f"importance_{method}", importance(found, method)
    if findings.divergences(found, methods[0]):
        yield "divergence", divergence(found, methods)
    if found[0]["gates"]:
        yield "gates", gates(found)
    if found[0]["conflict"]:
        yield "conflict", conflict(found)
    if found[0]["over_training"]:
        yield "over_training", over_training(found[0])
    if found[0]["pairs"]:
        yield "pairs", pairs(found)


def titled(figure: Figure, name: str, more: str = "", *words: str) -> Figure:
    """The figure with its texts, of which `words` are a part, and more of them."""
    above, below = PICTURES[name]
    header(figure, above, below.format(*words) + more)
    return figure


def importance(found: Sequence[Found], method: str) -> Figure:
    """A panel a key, fields down."""
    table, rest = findings.importances(found, method, SHOWN)
    long = [
        {"panel": row["key"], "line": row["field"], "value": FACTOR * row["mean"]}
        | {end: FACTOR * (row["mean"] + s * Z * row["error"]) for end, s in ENDS.items()}
        for row in table
    ]
    more = EACH_SEED * (len(found) > 1)
    more += f"; {rest} less important fields left out" * bool(rest)
    figure = small_multiples(long)
    return titled(figure, f"importance_{method}", more, metrics_of(found, method))


def divergence(found: Sequence[Found], methods: Sequence[str]) -> Figure:
    """A panel a method, pairs of tasks down: each seed with its interval, noise, and the truth."""
    long: list[Row] = []
    more = ""
    for method in methods:
        table = findings.divergences(found, method)
        if len(table) > PAIRS:
            table = findings.in_own_spaces(table)
            more = "; each task in the space of its loss"
        for row in table:
            place = {"panel": f"by {method}", "line": f"{row['left']}, {row['right']}"}
            seen = zip(row["value"], row["low"], row["high"])
            long += [place | dict(zip(("value", "low", "high"), own)) for own in seen]
            known = row["known"] if method == "permutation" else None
            alone = {NOISE: mean(row["noise"]), SEEDS: mean(row["seeds"]), KNOWN: known}
            long += [place | {"mark": mark, "value": value} for mark, value in alone.items()]
    drawn = {row["mark"] for row in long if "mark" in row and row["value"] is not None}
    marks = {name: mark for name, mark in MARKS.items() if name in drawn}
    line = max(0.29, 0.14 * len(found))
    how = {"width": 2.8, "least": 5.4, "line": line, "bars": False, "marks": marks}
    return titled(small_multiples(long, len(methods), **how), "divergence", more)


def gates(found: Sequence[Found]) -> Figure:
    """A panel a gate, its experts down, or of several seeds their kinds: the mean weight, a point
    a seed, and equal weights; of one model the effective weight, and marks of segments."""
    long, marks = [], {EQUAL: ("|", "black")}
    for row in findings.gate_weights(found):
        place = {"panel": row["gate"], "line": row["kind"]}
        long.append(place | {"value": row["weight"], "ink": INKS[row["whose"]]})
        long.append(place | {"value": row["equal"], "mark": EQUAL})
    more, facts = EACH_SEED, found[0]["gates"]
    if len(found) == 1:
        parts = {f"{name} ({own['rows']:,})": own["use"] for name, own in facts["segments"].items()}
        marks |= dict(zip(parts, zip(MARKERS, COLOURS)))
        if scaled := facts["effective"]["use"]:
            parts[EFFECTIVE], marks[EFFECTIVE] = scaled, ("x", "black")
        long += [
            {"panel": gate, "line": source, "value": value, "mark": name}
            for name, use in parts.items()
            for gate, weights in use.items()
            for source, value in weights.items()
        ]
        more = f"; marks: by {described(facts['segment'])} (rows, {FEWEST} at least)" * bool(
            facts["segments"]
        )
    figure = small_multiples(long, 2, 4.3, marks, line=0.29, least=8.6)
    for axes in figure.axes:
        percents(axes.xaxis)
    return titled(figure, "gates", more)


def conflict(found: Sequence[Found]) -> Figure:
    """Pairs of tasks down: each seed's cosine with its interval."""
    long = [
        {"panel": "", "line": row["tasks"], "value": row["mean"]}
        | {end: row["mean"] + s * (row["half"] or 0) for end, s in ENDS.items()}
        for row in rows(found, "conflict", "tasks")
        if row["mean"] is not None
    ]
    return titled(small_multiples(long, 1, 6.2, bars=False, line=0.45), "conflict")


def over_training(found: Found) -> Figure:
    """Lines against the step: a panel a gate, and one of the cosines between tasks' gradients."""
    facts, by_gate = found["over_training"], {}
    for name, points in facts["gates"].items():
        gate, source = name.split(" → ")
        by_gate.setdefault(gate, {})[source] = points
    by_gate = {gate: by_gate[gate] for gate in found["gates"].get("use", ())}  # in their order
    figure, every = panels(len(by_gate) + bool(facts["cosines"]), 3, (4.3, 3.2))
    for axes, (gate, lines) in zip(every, by_gate.items()):
        curves(axes, gate, lines)
        axes.axhline(1 / len(lines), color="#888888", linewidth=0.8)
        percents(axes.yaxis)
    if facts["cosines"]:
        halves = {name: dict(points) for name, points in facts["cosine_halves"].items()}
        bands = {
            name: [
                (step, value, max(value - half, -1), min(value + half, 1))
                if half
                else (step, value)
                for step, value in points
                for half in [halves.get(name, {}).get(step)]
            ]
            for name, points in facts["cosines"].items()
        }
        curves(every[-1], "cosine of the tasks' gradients", bands)
        every[-1].axhline(0, color="#888888", linewidth=1, linestyle="--")
    return titled(figure, "over_training")


def pairs(found: Sequence[Found]) -> Figure:
    """A panel an expert, its strongest pairs of fields down."""
    long = []
    for expert in found[0]["pairs"]:
        of_pair: dict[str, list[float]] = {}
        for one in found:
            for a, b, strength in one["pairs"][expert]["term"]["strongest"]:
                of_pair.setdefault(f"{a} × {b}", []).append(strength)
        strongest = sorted(of_pair, key=lambda pair: -sum(of_pair[pair]))[:PAIRS]
        place = {"panel": expert}
        long += [place | {"line": p, "value": v} for p in strongest for v in of_pair[p]]
    return titled(small_multiples(long, 2, 4.3), "pairs", EACH_SEED * (len(found) > 1))

"""Pictures of one model, or of several seeds': a point a seed, and intervals."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from dtn_jax.analysis import findings
from dtn_jax.analysis.findings import Model, mean
from dtn_jax.analysis.gate_use import ALL, ATTENDED, EFFECTIVE, OTHER, OWN
from dtn_jax.analysis.sections import FACTOR, PICTURES, SHOWN, methods, metrics_of
from dtn_jax.analysis.segments import FEWEST
from dtn_jax.analysis.watch import CONFLICT
from dtn_jax.interface import SHARED
from dtn_jax.report.pictures import (
    COLOURS,
    curves,
    header,
    percents,
    save_small,
    small_multiples,
)

INKS = {OWN: "#0072B2", SHARED: "#007A59", OTHER: "#B36B00", ATTENDED: "#59636e"}  # by whose it is
EQUAL, NOISE = "equal weights", "noise alone"
MARKERS = "x.*^vsPd<>"  # of effective weights and segments
EACH_SEED = "; bars: means over seeds, circles: each seed"


def draw(models: Sequence[Model], folder: pathlib.Path) -> dict[str, str]:
    """Writes what can be drawn into a folder; returns {name in sections.PICTURES: file's name}."""
    names = {}
    for name, figure, more in pictures(models):
        above, below = PICTURES[name]
        header(figure, above, below.format(metrics_of(models)) + more)
        names[name] = f"{name}.png"
        save_small(figure, folder / names[name])
    return names


def pictures(models: Sequence[Model]) -> Iterator[tuple[str, Figure, str]]:
    """(its name, the picture, what is to be said of it), of all that can be drawn."""
    for method in methods(models):
        yield f"importance_{method}", *importance(models, method)
    if models[0]["divergence"]:
        yield "divergence", divergence(models), EACH_SEED if len(models) > 1 else ""
    if models[0]["gates"]:
        yield "gates", *gates(models)
    if models[0]["over_training"]:
        yield "over_training", over_training(models[0]), ""


def importance(models: Sequence[Model], method: str) -> tuple[Figure, str]:
    """A panel a key, fields down."""
    rows, rest = findings.importances(models, method, SHOWN)
    long = []
    for row in rows:
        ends = {end: FACTOR * row[end] for end in ("low", "high")}
        place = {"panel": row["key"], "line": row["field"]}
        long.append(place | ends | {"value": FACTOR * row["importance"]})
    more = EACH_SEED * (len(models) > 1)
    more += f"; {rest} less important fields left out" * bool(rest)
    return small_multiples(long), more


def divergence(models: Sequence[Model]) -> Figure:
    """A panel a method, pairs of tasks down; beside each what noise alone would give."""
    long: list[dict] = []
    for method in methods(models):
        for row in findings.in_own_spaces(findings.divergences(models, method)):
            place = {"panel": f"by {method}", "line": f"{row['left']}, {row['right']}"}
            seeds = zip(row["divergence"], row["low"], row["high"])
            long += [place | dict(zip(("value", "low", "high"), one)) for one in seeds]
            noise = [value for side in ("left", "right") for value in row[f"noise_{side}"]]
            long.append(place | {"mark": NOISE, "value": mean(noise)})
    return small_multiples(long, True, {NOISE: ("|", "black")}, least=5.4)


def gates(models: Sequence[Model]) -> tuple[Figure, str]:
    """A panel a gate, its experts down, or of several seeds their kinds: the mean weight, a point
    a seed, and equal weights; of one model the effective weight and those of segments as marks."""
    several = len(models) > 1
    long, marks = [], {EQUAL: ("|", "black")}
    for row in findings.gate_weights(models, findings.kind if several else lambda r: r["source"]):
        place = {"panel": row["gate"], "line": row["name"]}
        long.append(place | {"value": row["weight"], "ink": INKS[row["whose"]]})
        long.append(place | {"value": row["equal"], "mark": EQUAL})
    others = [] if several else [row for row in models[0]["gates"] if row["part"] != ALL]
    parts = sorted({row["part"]: None for row in others}, key=lambda part: part != EFFECTIVE)
    marks |= dict(zip(parts, zip(MARKERS, ("black", *COLOURS))))
    for row in others:
        place = {"panel": row["gate"], "line": row["source"]}
        long.append(place | {"value": row["weight"], "mark": row["part"]})
    figure = small_multiples(long, True, marks, least=8.6)
    for axes in figure.axes:
        percents(axes.xaxis)
    segments = f"; marks: segments (of {FEWEST} rows at least)" * bool(set(parts) - {EFFECTIVE})
    return figure, EACH_SEED if several else segments


def over_training(model: Model) -> Figure:
    """Lines against the step: a panel a gate, and one of the cosines between tasks' gradients."""
    by_panel: dict[str, dict[str, list]] = {}
    for row in model["over_training"]:
        lines = by_panel.setdefault(row["panel"], {})
        band = [row["low"], row["high"]] if row["low"] is not None else []
        lines.setdefault(row["line"], []).append([row["step"], row["value"], *band])
    figure, every = curves(by_panel, 3, (4.3, 3.2))
    for panel, axes in every.items():
        if panel == CONFLICT:
            axes.axhline(0, color="#888888", linewidth=1, linestyle="--")
        else:
            percents(axes.yaxis)
    return figure

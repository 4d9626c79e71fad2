"""Pictures of the fields: what each alone tells, how far it moved, what is unknown."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.fields import SOME, STRONG
from dtn_jax.report.description.drawing import (
    FONT,
    MARKS,
    MOST,
    SPLIT_COLOURS,
    WIDTH,
    below,
    capped,
    lines,
    percents,
    short,
)
from dtn_jax.report.plots import COLOURS, clean

LEAST = 1e-4  # of the axis of PSI; what is less stands there


def alone(found: Description) -> Figure | None:
    """The fields that tell a label best by themselves."""
    best = list(found.alone)[:MOST]
    if not best:
        return None
    names = [
        f"{short(f.field)} → {short(f.key)}" + ("" if f.by == leaks.VALUE else f" ({f.by})")
        for f in best
    ]
    title = capped("AUC of one field alone", len(best), len(found.alone))
    figure = Figure(figsize=(WIDTH, 1.2 + 0.27 * len(best)), layout="constrained")
    axes = figure.subplots()
    clean(axes, title)
    colours = [COLOURS[1] if f.suspect else COLOURS[0] for f in best]
    axes.barh(range(len(best)), [f.auc - 0.5 for f in best], 0.7, left=0.5, color=colours)
    axes.set_yticks(range(len(best)), names, **FONT)
    axes.set_ylim(len(best) - 0.4, -0.6)
    axes.set_xlim(min(0.5, *(f.auc for f in best)), 1.005)
    axes.axvline(leaks.SUSPECT, color=COLOURS[1], linestyle="--", linewidth=1.2)
    axes.tick_params(axis="both", labelsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"right of the dashed line ({leaks.SUSPECT}): a suspect", fontsize=9)
    return figure


def drifts(found: Description) -> Figure | None:
    """The fields and labels that moved most from train."""
    every = [*found.field_drift, *found.label_drift]
    largest: dict[str, float] = {}
    for moved in every:
        largest[moved.name] = max(largest.get(moved.name, 0.0), moved.psi)
    names = sorted(largest, key=lambda name: -largest[name])[:MOST]
    if not names:
        return None
    title = capped("Drift from train", len(names), len(largest))
    figure, axes = lines(names, title)
    for i, split in enumerate(list(found.rows)[1:], 1):
        own = [m for m in every if m.split == split and m.name in names]
        y, x = [names.index(m.name) for m in own], [max(m.psi, LEAST) for m in own]
        style = {"color": SPLIT_COLOURS[i % 4], "marker": MARKS[i % 4]}
        axes.scatter(x, y, 22, label=split, zorder=3, **style)
    axes.set_xscale("log")
    high = max(1.0, 1.2 * largest[names[0]])
    axes.axvspan(SOME, STRONG, color=COLOURS[4], alpha=0.2, linewidth=0)
    axes.axvspan(STRONG, high, color=COLOURS[1], alpha=0.2, linewidth=0)
    axes.set_xlim(0.9 * LEAST, high)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    text = f"PSI; shaded: from {SOME} some drift, from {STRONG} strong"
    axes.set_xlabel(text, fontsize=9)
    below(axes, len(found.rows))
    return figure


def unknown(found: Description) -> Figure | None:
    """The fields with most unknown values in a split; of hashed ones that is not known."""
    shares = {
        f.field.name: f.unknown for f in found.fields if any(f.unknown.values()) and not f.hashed
    }
    names = sorted(shares, key=lambda name: -max(shares[name].values()))[:MOST]
    if not names:
        return None
    title = capped("Values that are unknown", len(names), len(found.fields))
    figure, axes = lines(names, f"{title} fields" if len(names) < len(found.fields) else title)
    for i, split in enumerate(found.rows):
        x = [shares[name][split] for name in names]
        style = {"color": SPLIT_COLOURS[i % 4], "marker": MARKS[i % 4]}
        axes.scatter(x, range(len(names)), 22, label=split, zorder=3, clip_on=False, **style)
    axes.set_xlim(left=0)
    percents(axes.xaxis)
    below(axes, len(found.rows))
    return figure

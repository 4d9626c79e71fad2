"""The picture of GDCN's field pairs, found and known."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dtn_jax.analysis.figures import grid, header, save, triangles
from dtn_jax.report.plots import NOTE

PAIRED = 24  # fields, at most, whose names can be read in two panels beside each other


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

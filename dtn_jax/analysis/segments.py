"""Parts of a sample by which the use of gates is told apart: values of a field, or of the group."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dtn_jax.data import shown_values
from dtn_jax.data.shown_values import ShownValues
from dtn_jax.errors import choose
from dtn_jax.interface import Batch
from dtn_jax.run.run import Run
from dtn_jax.schema import Schema
from dtn_jax.shapes import Bool, Int

GROUP = "group"  # names the group column, whatever the data set calls it
FEW = 12  # rows of a table, at most, of a field that makes segments unasked
SHOWN = 8  # segments; rarer values are one together
FEWEST = 100  # rows of a segment: a mean over fewer tells of these rows, not of their kind
Segments = dict[str, Bool[np.ndarray, " B"]]


def chosen_segment(schema: Schema, segment: str) -> str:
    """The segment that is asked for; of '' the group where there is one, else the first categorical
    field of few values, else ''.

    Raises:
      UserError: an unknown field, or one of several ids a row.
    """
    single = [f for f in schema.fields if f.slots == 1 and not f.numbers]
    if segment:
        return choose("segment", segment, [GROUP] * bool(schema.group) + [f.name for f in single])
    few = [f.name for f in single if f.kind == "categorical" and f.rows <= FEW]
    return GROUP if schema.group else few[0] if few else ""


def described(segment: str) -> str:
    """What the names of the segments are values of."""
    return "rows of its group" if segment == GROUP else segment


def segments(rows: Batch, group: Int[np.ndarray, " B"] | None, run: Run, segment: str) -> Segments:
    """{segment: its rows}, none of fewer than FEWEST.

    Of the group: the quarters of the rows by how many rows of the sample their group has, so the
    activity of users. Of a field: its most frequent values, and the others as one. What still has
    fewer rows is left out.

    Args:
      rows, group: a sample, and its groups.
      run: whose data set has the field.
      segment: as `chosen_segment` gives it.
    """
    if segment == GROUP:
        return large(by_activity(group))
    slot = [f.name for f in run.schema.slot_fields()].index(segment)
    values = shown_values.fields(run.data.folder)[segment]
    return large(by_value(rows.ids[:, slot], lambda ids: names(values, ids)))


def large(found: Segments) -> Segments:
    """Those of at least FEWEST rows."""
    return {name: mask for name, mask in found.items() if mask.sum() >= FEWEST}


def by_activity(group: Int[np.ndarray, " B"]) -> Segments:
    """Quarters of the rows, by how many rows their group has here; equal groups stay together."""
    _, which, counts = np.unique(group, return_inverse=True, return_counts=True)
    rows = counts[which]
    edges = np.unique(np.quantile(rows, [0.25, 0.5, 0.75], method="lower"))
    place = np.searchsorted(edges, rows)  # 0 up to the first edge, itself included
    found = {}
    for i in np.unique(place):
        mask = place == i
        low, high = rows[mask].min(), rows[mask].max()
        span = f"{low}" if low == high else f"{low} to {high}"
        found[f"{span} row{'s' if high > 1 else ''}"] = mask
    return found


def by_value(
    ids: Int[np.ndarray, " B"], named: Callable[[Sequence[int]], Mapping[int, str]]
) -> Segments:
    """A segment for each of the most frequent ids, by its name, and one for all rarer ones.

    Args:
      ids: of each row, in the field's vocabulary.
      named: from ids to their names.
    """
    values, counts = np.unique(ids, return_counts=True)
    often = values[np.argsort(-counts, kind="stable")][: (counts >= FEWEST).sum()]
    if len(values) > SHOWN + 1:  # not for one value, which has a name
        often = often[:SHOWN]
    known = named(np.sort(often).tolist())
    found = {known.get(int(v), f"id {v}"): ids == v for v in np.sort(often)}
    rest, rarer = ~np.isin(ids, often), len(values) - len(often)
    if found and rarer:
        found[f"{rarer} rarer value{'s' * (rarer > 1)}"] = rest
    return found


def names(values: ShownValues, ids: Sequence[int] = ()) -> dict[int, str]:
    """What the ids of a field stand for: these ids, or all of a number's buckets."""
    unknown, buckets = {0: "unknown"}, values.buckets
    if buckets is None:
        return unknown | values.names(ids)
    texts = [f"{value:g}" for value in buckets.dominating]
    ends = ["", *(f"{edge:g}" for edge in buckets.edges), ""]
    for low, high in itertools.pairwise(ends):
        text = f"{low} to {high}" if low and high else f"from {low}" if low else f"below {high}"
        texts.append(text if low or high else "other")
    return unknown | dict(enumerate(texts, 1))

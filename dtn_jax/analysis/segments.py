"""Parts of a sample by which the use of gates is told apart: values of a field, or of the group."""

from __future__ import annotations

import pathlib

import numpy as np

from dtn_jax.data import vocabulary
from dtn_jax.errors import choose
from dtn_jax.interface import Batch
from dtn_jax.run.run import Run
from dtn_jax.schema import Schema
from dtn_jax.shapes import Bool, Int

GROUP = "group"  # names the group column, whatever the data set calls it
FEW = 12  # rows of a table, at most, of a field that makes segments unasked
SHOWN = 8  # values; rarer ones are one segment together
FEWEST = 100  # rows of a segment: a mean over fewer tells of these rows, not of their kind
Segments = dict[str, Bool[np.ndarray, " B"]]


def chosen_segment(schema: Schema, segment: str) -> str:
    """The segment that is asked for; of '' the group where there is one, else the first categorical
    field of few values, else ''.

    Raises:
      UserError: an unknown field, or one that is not categorical.
    """
    fields = {f.name: f.rows for f in schema.fields if f.kind == "categorical"}
    if segment:
        return choose("segment", segment, [GROUP] * bool(schema.group) + [*fields])
    few = [name for name, rows in fields.items() if rows <= FEW]
    return GROUP if schema.group else few[0] if few else ""


def segments(rows: Batch, group: Int[np.ndarray, " B"] | None, run: Run, segment: str) -> Segments:
    """{segment: its rows}, none of fewer than FEWEST.

    Of the group: the quarters of the rows by how many rows of the sample their group has, so the
    activity of users. Of a field: its most frequent values, and the others as one.

    Args:
      rows, group: a sample, and its groups.
      run: whose data set has the field.
      segment: as `chosen_segment` gives it.
    """
    if segment == GROUP:
        parts = by_activity(group)
    else:
        fields = run.schema.slot_fields()
        slot = [field.name for field in fields].index(segment)
        folder = run.data.folder / vocabulary.FOLDER
        parts = by_value(rows.ids[:, slot], folder, fields[slot].table)
    large = {name: mask for name, mask in parts.items() if mask.sum() >= FEWEST}
    return {f"{segment} {name} ({mask.sum():,})": mask for name, mask in large.items()}


def by_activity(group: Int[np.ndarray, " B"]) -> Segments:
    """Quarters of the rows, by how many rows their group has here; equal groups stay together."""
    _, which, counts = np.unique(group, return_inverse=True, return_counts=True)
    rows = counts[which]
    edges = np.unique(np.quantile(rows, [0.25, 0.5, 0.75], method="lower"))
    place = np.searchsorted(edges, rows)  # 0 up to the first edge, itself included
    masks = [place == i for i in np.unique(place)]
    return {f"of {rows[mask].min()} to {rows[mask].max()} rows": mask for mask in masks}


def by_value(ids: Int[np.ndarray, " B"], folder: pathlib.Path, table: str) -> Segments:
    """A segment for each of the most frequent ids, by its name, and one for all rarer ones.

    Args:
      ids: of a field.
      folder: of the set's vocabularies.
      table: the field's.
    """
    seen, counts = np.unique(ids, return_counts=True)
    often = np.sort(seen[np.argsort(-counts, kind="stable")][:SHOWN])
    names = {0: "unknown"} | vocabulary.names(folder, table, often.tolist())
    parts = {names.get(int(id)) or f"id {id}": ids == id for id in often}
    return parts | {"rarer values": ~np.isin(ids, often)}

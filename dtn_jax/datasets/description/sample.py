"""The rows of a split that a description is made from: all of them, or blocks spread over it; and
which of them, of their slots and of their numbers are whose."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import jax
import numpy as np

from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.input.reader import SplitReader
from dtn_jax.interface import Batch
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Bool, Int64, Shaped

MOST_ROWS = 3_000_000  # of a split that are read
MOST_BYTES = 256 << 20  # that those of a split may take


def read(data: Prepared, split: str, most_rows: int = MOST_ROWS) -> Batch:
    """Rows of a split in its order, with their groups where the set has some."""
    rows = SplitReader(data, split, grouped=bool(data.schema.group))
    return rows.read(records_of(data, split, most_rows))


def records_of(data: Prepared, split: str, most_rows: int = MOST_ROWS) -> Int64[np.ndarray, " R"]:
    """The records to read of a split: all, or as many as fit, evenly spread."""
    layout, rows = data.layout, data.rows[split]
    count, most = len(layout.blocks(rows)), min(most_rows, MOST_BYTES // data.row_bytes())
    limit = count if rows <= most else max(most // layout.block_rows, 1)
    return np.linspace(0, count - 1, min(limit, count)).round().astype(np.int64)


def thinned(rows: Batch, most: int) -> Batch:
    """At most so many of the rows, evenly spread."""
    step = max(-(-len(rows.ids) // most), 1)
    return jax.tree.map(lambda array: array[::step], rows)


def in_spaces(
    rows: Batch, schema: Schema, kind: str
) -> Iterator[tuple[str, Bool[np.ndarray, " B"], Shaped[np.ndarray, " B"]]]:
    """Of each task of a kind in each of its spaces: task@space, which rows are there, the labels
    (of binary ones whether they are 1)."""
    for column, task in enumerate(schema.tasks):
        for space in task.spaces if task.kind == kind else ():
            found = rows.labels, rows.label_mask, rows.row_mask
            label = rows.labels[:, column]
            mask = space_mask(task.name, *found, schema, space)
            yield f"{task.name}@{space}", mask, label == 1 if kind == "binary" else label


def slots_of(schema: Schema) -> dict[str, slice]:
    """{field: which of the L slots are its}."""
    return _places(schema, (field.slots for field in schema.fields))


def numbers_of(schema: Schema) -> dict[str, slice]:
    """{field: which of the N numbers are its}."""
    return _places(schema, (field.numbers for field in schema.fields))


def _places(schema: Schema, widths: Iterable[int]) -> dict[str, slice]:
    ends = itertools.accumulate(widths, initial=0)
    return {name: slice(*ends) for name, ends in zip(schema.field_names, itertools.pairwise(ends))}

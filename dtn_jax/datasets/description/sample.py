"""The rows of a split that a description is made from: all of them, or blocks spread over it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from dtn_jax.datasets.preparation.prepared import Prepared, check_ids
from dtn_jax.schema import Field
from dtn_jax.shapes import Bool, Float32, Int32, Int64

MOST_ROWS = 3_000_000  # of a split that are read
MOST_BYTES = 256 << 20  # that those of a split may take
BLOCKS = 128  # read at a time


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows of a split, in its order.

    Attributes:
      split: its name.
      total: rows of the whole split; more than `len(self)` where blocks were left out.
      ids: int32 `[B, L]`; -1 pads, 0 is the unknown id.
      numeric: float32 `[B, N]`.
      labels, label_mask: `[B, T]`.
      weights: of the rows, float32 `[B]`; None in sets without.
      group: int64 `[B]`; None in sets without.
    """

    split: str
    total: int
    ids: Int32[np.ndarray, "B L"]
    numeric: Float32[np.ndarray, "B N"]
    labels: Float32[np.ndarray, "B T"]
    label_mask: Bool[np.ndarray, "B T"]
    weights: Float32[np.ndarray, " B"] | None
    group: Int64[np.ndarray, " B"] | None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def whole(self) -> bool:
        return len(self) == self.total

    def thinned(self, most: int) -> Sample:
        """At most so many of the rows, evenly spread."""
        some = slice(None, None, max(-(-len(self) // most), 1))
        arrays = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        kept = {n: a[some] for n, a in arrays.items() if isinstance(a, np.ndarray)}
        return dataclasses.replace(self, **kept)


def records_of(data: Prepared, split: str, most_rows: int = MOST_ROWS) -> Int64[np.ndarray, " R"]:
    """The records to read of a split: all, or as many as fit, evenly spread."""
    layout, rows = data.layout, data.rows[split]
    count = len(layout.blocks(rows))
    limit = max(min(most_rows, MOST_BYTES // data.row_bytes()) // layout.block_rows, 1)
    if rows <= most_rows and rows * data.row_bytes() <= MOST_BYTES:
        limit = count
    return np.linspace(0, count - 1, min(limit, count)).round().astype(np.int64)


def read(data: Prepared, split: str, records: Int64[np.ndarray, " R"]) -> Iterator[int | Sample]:
    """Reads records of a split: yields how many rows came, again and again, and last the sample."""
    schema, sizes = data.schema, np.diff(data.layout.starts(data.rows[split]))[records]
    rows, tasks = int(sizes.sum()), len(schema.tasks)
    found = Sample(
        split,
        data.rows[split],
        ids=np.empty((rows, schema.slots), np.int32),
        numeric=np.empty((rows, schema.numbers), np.float32),
        labels=np.empty((rows, tasks), np.float32),
        label_mask=np.empty((rows, tasks), bool),
        weights=np.empty(rows, np.float32) if schema.weight else None,
        group=np.empty(rows, np.int64) if schema.group else None,
    )
    columns = {"ids": found.ids, "labels": found.labels, "label_mask": found.label_mask}
    columns |= {"numeric": found.numeric} if schema.numbers else {}
    columns |= {"sample_weight": found.weights} if schema.weight else {}
    columns |= {"group": found.group} if schema.group else {}
    source, at = data.source(split), 0
    for start in range(0, len(records), BLOCKS):
        some = slice(start, start + BLOCKS)
        begin = at
        blocks = source.__getitems__(records[some].tolist())
        for block, size in zip(blocks, sizes[some].tolist(), strict=True):
            for name, column in columns.items():
                column[at : at + size] = np.asarray(block[name])[:size]
            at += size
        check_ids(found.ids[begin:at], schema)
        yield at - begin
    yield found


def slots_of(fields: tuple[Field, ...]) -> dict[str, slice]:
    """Which of the L slots are whose."""
    ends = np.cumsum([0, *(field.slots for field in fields)]).tolist()
    return {f.name: slice(a, b) for f, a, b in zip(fields, ends[:-1], ends[1:], strict=True)}


def numbers_of(fields: tuple[Field, ...]) -> dict[str, slice]:
    """Which of the N numbers are whose; of fields that have some."""
    ends = np.cumsum([0, *(field.numbers for field in fields)]).tolist()
    found = {f.name: slice(a, b) for f, a, b in zip(fields, ends[:-1], ends[1:], strict=True)}
    return {name: place for name, place in found.items() if place.start < place.stop}

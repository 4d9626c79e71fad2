"""A split's rows, from its blocks; in their own order, for scoring."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.data.epochs.day_order import DayRows
from dtn_jax.data.prepared import Prepared, check_ids
from dtn_jax.interface import Batch

BLOCKS = 64  # read at a time


class SplitReader:
    """Random access to a split's records; their ids are checked at every read.

    Only `grouped` are the rows' groups read, too.
    """

    def __init__(self, data: Prepared, split: str, grouped: bool = False):
        self.grouped = grouped
        self.schema, self.layout, self.rows = data.schema, data.layout, data.rows[split]
        self.records = data.source(split)
        self.starts = self.layout.starts(self.rows)

    def read(self, records: np.ndarray) -> Batch:
        """The rows of these records, joined; row_mask all True."""
        lengths = self.starts[records + 1] - self.starts[records]
        n, end, columns = int(lengths.sum()), 0, {}
        for at in range(0, len(records), BLOCKS):  # so that a window is never held as blocks too
            blocks = self.records.__getitems__(records[at : at + BLOCKS].tolist())
            sizes = lengths[at : at + BLOCKS]
            start, end = end, end + int(sizes.sum())
            for k, first in blocks[0].items():
                if k not in columns:
                    columns[k] = np.empty((n, *first.shape[1:]), first.dtype)
                parts = [b[k][:size] for b, size in zip(blocks, sizes)]
                np.concatenate(parts, out=columns[k][start:end])
        check_ids(columns["ids"], self.schema)
        return Batch(
            ids=columns["ids"],
            weights=columns.get("weights", np.empty((n, 0), np.float32)),
            numeric=columns.get("numeric", np.empty((n, 0), np.float32)),
            labels=columns["labels"],
            label_mask=columns["label_mask"].astype(bool),
            sample_weight=columns.get("sample_weight", np.ones(n, np.float32)),
            row_mask=np.ones(n, bool),
            loss_weight=columns.get("loss_weight"),
            group=columns["group"].view(np.int32).reshape(n, 2) if self.grouped else None,
        )

    def everything(self) -> Batch:
        """The whole split, in row order."""
        return self.read(np.arange(len(self.starts) - 1))

    def between(self, start: int, stop: int) -> Batch:
        """The rows start ... stop - 1, in order."""
        first, last = np.searchsorted(self.starts, [start, stop - 1], side="right") - 1
        begin = int(self.starts[first])
        return part_of(self.read(np.arange(first, last + 1)), start - begin, stop - begin)

    def picked(self, numbers: np.ndarray) -> Batch:
        """The rows of these ascending numbers; only their blocks are read, a few at a time."""
        of = np.searchsorted(self.starts, numbers, side="right") - 1
        records, parts = np.unique(of), []
        for at in range(0, len(records), BLOCKS):
            some = records[at : at + BLOCKS]
            lengths = self.starts[some + 1] - self.starts[some]
            before = np.cumsum(lengths) - lengths  # where each block lies among those read
            inside = slice(*np.searchsorted(of, [some[0], some[-1] + 1]))
            block = np.searchsorted(some, of[inside])
            place = numbers[inside] - self.starts[of[inside]] + before[block]
            parts.append(take(self.read(some), place))
        return jax.tree.map(lambda *a: np.concatenate(a), *parts)


def take(rows: Batch, place) -> Batch:
    """Picks rows by position, numpy or jax; -1 gives a padding row: masked, its ids -1."""
    xp = jnp if isinstance(place, jax.Array) else np
    picked = jax.tree.map(lambda a: xp.take(a, place, axis=0, mode="clip"), rows)
    real = place >= 0
    if xp is np and real.all():
        return picked
    return dataclasses.replace(
        picked, ids=xp.where(real[..., None], picked.ids, -1), row_mask=picked.row_mask & real
    )


def part_of(rows: Batch, start: int, stop: int | None = None) -> Batch:
    """The rows start ... stop - 1 of `rows`; None stops at the end."""
    return jax.tree.map(lambda a: a[start:stop], rows)


def padded(place: np.ndarray, length: int) -> np.ndarray:
    """Positions for `take`, filled up with padding rows."""
    return np.pad(place, (0, length - len(place)), constant_values=-1)


def in_order(
    data: Prepared,
    split: str,
    batch_size: int,
    part: slice = slice(None),
    day: DayRows | None = None,
) -> Iterator[Batch]:
    """The split's rows in their own order, or those of a day, for scoring: `part` of each batch.

    The last batch is padded. Batches have the rows' groups, where the set has some.
    """
    reader = SplitReader(data, split, bool(data.schema.group))
    count = reader.rows if day is None else len(day)
    for start in range(0, count, batch_size):
        first, last, _ = part.indices(batch_size)
        stop = min(start + last, count)
        begin = min(start + first, stop - 1)
        rows = (
            reader.between(begin, stop) if day is None else reader.picked(day.numbers(begin, stop))
        )
        real = max(stop - start - first, 0)
        full = real == last - first
        yield rows if full else take(rows, padded(np.arange(real), last - first))

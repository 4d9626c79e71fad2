"""Encoded rows as the records of a prepared set, a shard's in files of its own.

A shard belongs to some units that follow one another: it writes the records, of every split, whose
first row is one of theirs. So a record's last rows may be of a later unit. The shards depend on the
units alone, not on who writes them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from array_record.python.array_record_module import ArrayRecordWriter

from dtn_jax.data import equal_rows
from dtn_jax.data.blocks import WRITER, Block, Layout, path_of, to_record
from dtn_jax.data.encode import Encoded, Fitted, encode, group_numbers
from dtn_jax.data.rows import GROUP, LOSS_WEIGHT, Rows
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages.counts import Counts, added, days_of, of_values
from dtn_jax.data.stages.split import SPLITS
from dtn_jax.errors import disk_errors
from dtn_jax.files import replacing
from dtn_jax.shapes import Bool, Int8, Int64

LEAST_ROWS = 1_000_000  # of a shard's units


def shards(counts: Int64[np.ndarray, "units splits"]) -> list[int]:
    """The first unit of each shard, and at the end the number of units."""
    firsts, held = [0], 0
    for unit, rows in enumerate(counts.sum(axis=1).tolist()):
        if held >= LEAST_ROWS:
            firsts.append(unit)
            held = 0
        held += rows
    return [*firsts, len(counts)]


@dataclasses.dataclass(frozen=True)
class Part:
    """A shard's part of a split.

    Attributes:
      first_row: of the split, that the shard's units begin with.
      starts: the rows of the split at which its records start, and where the last one ends.
    """

    first_row: int
    starts: np.ndarray


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is written of a log.

    Attributes:
      encoders: {field: what was fitted, as of `Fitted.to_json`}.
      ids: {table: the facts of its vocabulary}, as of `fit.fit`.
      layout: of the records.
      counts: rows of each unit and split.
      firsts: the first unit of each shard, and at the end the number of units.
    """

    encoders: dict[str, dict]
    ids: dict[str, dict]
    layout: Layout
    counts: Int64[np.ndarray, "units splits"]
    firsts: list[int]

    @property
    def rows(self) -> dict[str, int]:
        return dict(zip(SPLITS, self.counts.sum(axis=0).tolist(), strict=True))

    def parts(self, shard: int) -> dict[str, Part]:
        """What a shard writes of each split of which it has records."""
        before = np.concatenate([np.zeros((1, len(SPLITS)), np.int64), self.counts.cumsum(axis=0)])
        parts = {}
        for column, split in enumerate(SPLITS):
            starts, bounds = (
                self.layout.starts(int(before[-1, column])),
                before[self.firsts, column],
            )
            edges = np.searchsorted(starts[:-1], bounds)  # first records of shards, and the end
            records = starts[edges[shard] : edges[shard + 1] + 1]
            if len(records) > 1:
                parts[split] = Part(int(bounds[shard]), records)
        return parts


def arrays(spec: Spec, columns: Mapping[str, Encoded], rows: Rows, dated: bool) -> Block:
    """The arrays `[B, ...]` of a record."""
    labels = rows.labels(task.name for task in spec.tasks)
    block = {
        "ids": np.concatenate([column.ids for column in columns.values()], axis=1),
        "labels": np.nan_to_num(labels, nan=0.0),
        "label_mask": (~np.isnan(labels)).astype(np.uint8),
    }
    for name in ("weights", "numbers"):
        some = [v for c in columns.values() if (v := getattr(c, name)) is not None]
        if some:
            block["numeric" if name == "numbers" else name] = np.concatenate(some, axis=1)
    if spec.weight or spec.sample_negatives:
        block["sample_weight"] = rows.weight().astype(np.float32)
    if spec.loss_weight:
        block["loss_weight"] = rows.weight(LOSS_WEIGHT).astype(np.float32)
    if spec.group:
        block["group"] = group_numbers(rows.column(GROUP))
    if dated:
        block["day"] = days_of(rows).astype(np.int32)
    return block


class Writer:
    """Takes rows in the order of the log, and writes those of a shard as records.

    Args:
      spec, fitted, dated: of the set.
      folder: of its files.
      shard: its number.
      parts: {split: what the shard writes of it}.
      rows: of the set.
    """

    def __init__(
        self,
        spec: Spec,
        fitted: Mapping[str, Fitted],
        dated: bool,
        folder: pathlib.Path,
        shard: int,
        parts: Mapping[str, Part],
        rows: int,
    ):
        self.spec, self.fitted, self.dated, self.rows = spec, fitted, dated, rows
        folder.mkdir(exist_ok=True)
        self.outputs = {s: Output(path_of(folder, s, shard), part) for s, part in parts.items()}
        self.counts: Counts = {}  # {split: as of `of_values`}
        self.hashes: list[pa.Table] = []  # of the rows that are compared: columns split and hash

    def wanted(self) -> list[int]:
        """How many rows of each split are still to come."""
        return [self.outputs[s].wanted() if s in self.outputs else 0 for s in SPLITS]

    def add(self, rows: Rows, split: Int8[np.ndarray, " B"]) -> None:
        """Writes the records that these rows complete."""
        masks = {n: o.mask(split == SPLITS.index(n)) for n, o in self.outputs.items()}
        masks = {name: mask for name, mask in masks.items() if mask.any()}
        if not masks:
            return
        columns = encode(self.fitted, rows)
        block = arrays(self.spec, columns, rows, self.dated)
        for name, mask in masks.items():
            self.counts = added(self.counts, {name: of_values(columns, mask)})
            part = block if mask.all() else {k: v[mask] for k, v in block.items()}
            self.outputs[name].add(part)
            if self.spec.split.by != "time":  # where copies of a row stay together
                hashes = equal_rows.of_block(part, self.rows)
                places = np.full(len(hashes), SPLITS.index(name), np.int8)
                self.hashes.append(pa.table([places, hashes], names=["split", "hash"]))

    def close(self) -> dict[str, str]:
        """Hashes of what was written of each split."""
        return {split: output.close() for split, output in self.outputs.items()}


class Output:
    """A file of a split's records, written beside its place and moved there when it is whole."""

    def __init__(self, path: pathlib.Path, part: Part):
        self.path, self.starts, self.at = path, part.starts, part.first_row
        self._replacing = replacing(path)
        self.temporary = self._replacing.__enter__()
        self.file = ArrayRecordWriter(os.fspath(self.temporary), WRITER)
        self.digest = hashlib.sha256()
        self.held: list[Block] = []
        self.count, self.lengths = 0, np.diff(part.starts).tolist()[::-1]  # the next one at the end

    def wanted(self) -> int:
        """How many rows of the split are still to come."""
        return max(int(self.starts[-1]) - self.at, 0)

    def mask(self, mask: Bool[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
        """Those of the split's next rows that are in the records."""
        number = self.at + np.arange(mask.sum())
        self.at += len(number)
        mask[mask] = (number >= self.starts[0]) & (number < self.starts[-1])
        return mask

    def add(self, block: Block) -> None:
        """Writes the records that are complete."""
        self.held.append(block)
        self.count += len(block["ids"])
        if not self.lengths or self.count < self.lengths[-1]:
            return
        joined, start = {k: np.concatenate([b[k] for b in self.held]) for k in block}, 0
        while self.lengths and self.count - start >= self.lengths[-1]:
            stop = start + self.lengths.pop()
            record = to_record({k: v[start:stop] for k, v in joined.items()})
            with disk_errors(self.temporary):
                self.file.write(record)
            self.digest.update(record)
            start = stop
        self.held = [{k: v[start:] for k, v in joined.items()}]
        self.count -= start

    def close(self) -> str:
        """The SHA-256 of the records."""
        with disk_errors(self.temporary):
            self.file.close()
        self._replacing.__exit__(None, None, None)
        return self.digest.hexdigest()

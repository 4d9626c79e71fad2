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
from collections.abc import Iterator, Mapping

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
from dtn_jax.shapes import Int8, Int64
from dtn_jax.shared_files import disk_errors, replacing, to_disk

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
      place: its place among the split's shards that have records; -1 without any.
      places: how many of those there are.
    """

    first_row: int
    starts: np.ndarray
    place: int
    places: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is written of a log.

    Attributes:
      encoders: {field: what was fitted, as of `Fitted.to_json`}.
      ids: {table: the facts of its vocabulary}, as of `fit.fit`.
      layout: of the records.
      counts: rows of each unit and split.
      train_rows: those of train before down-sampling.
      firsts: the first unit of each shard, and at the end the number of units.
    """

    encoders: dict[str, dict]
    ids: dict[str, dict]
    layout: Layout
    counts: Int64[np.ndarray, "units splits"]
    train_rows: int
    firsts: list[int]

    @property
    def rows(self) -> dict[str, int]:
        return dict(zip(SPLITS, self.counts.sum(axis=0).tolist(), strict=True))

    def parts(self, shard: int) -> dict[str, Part]:
        """What a shard writes of each split."""
        before = np.concatenate([np.zeros((1, len(SPLITS)), np.int64), self.counts.cumsum(axis=0)])
        found = {}
        for column, split in enumerate(SPLITS):
            starts, bounds = (
                self.layout.starts(int(before[-1, column])),
                before[self.firsts, column],
            )
            edges = np.searchsorted(starts[:-1], bounds)  # first records of shards, and the end
            some = np.flatnonzero(np.diff(edges))
            place = int(np.searchsorted(some, shard)) if shard in some else -1
            own = starts[edges[shard] : edges[shard + 1] + 1]
            found[split] = Part(int(bounds[shard]), own, place, len(some))
        return found


def _is_weighted(spec: Spec) -> bool:
    return bool(spec.weight or spec.sample_negatives)


def arrays(spec: Spec, columns: Mapping[str, Encoded], rows: Rows, dated: bool) -> Block:
    """The arrays `[B, ...]` of a record."""
    labels = rows.labels(task.name for task in spec.tasks)
    block = {
        "ids": np.concatenate([column.ids for column in columns.values()], axis=1),
        "labels": np.nan_to_num(labels, nan=0.0),
        "label_mask": (~np.isnan(labels)).astype(np.uint8),
    }
    for name in ("weights", "numbers"):
        found = [v for c in columns.values() if (v := getattr(c, name)) is not None]
        if found:
            block["numeric" if name == "numbers" else name] = np.concatenate(found, axis=1)
    if _is_weighted(spec):
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
      parts: {split: what the shard writes of it}.
      rows: of the set.
    """

    def __init__(
        self,
        spec: Spec,
        fitted: Mapping[str, Fitted],
        dated: bool,
        folder: pathlib.Path,
        parts: Mapping[str, Part],
        rows: int,
    ):
        self.spec, self.fitted, self.dated = spec, fitted, dated
        self.parts, self.at = parts, {split: part.first_row for split, part in parts.items()}
        folder.mkdir(exist_ok=True)
        self.outputs = {
            split: Output(path_of(folder, split, part.place, part.places), part.starts)
            for split, part in parts.items()
            if part.place >= 0
        }
        self.tasks = [task.name for task in spec.tasks]
        self.counts: Counts = {}  # {split: as of `of_values`}
        self.rows, self.hashes = rows, {split: [] for split in SPLITS}

    def wanted(self) -> list[int]:
        """How many rows of each split are still to come."""
        return [
            max(int(self.parts[split].starts[-1]) - self.at[split], 0)
            if split in self.outputs
            else 0
            for split in SPLITS
        ]

    def add(self, rows: Rows, split: Int8[np.ndarray, " B"]) -> None:
        """Writes the records that these rows complete."""
        masks = {}
        for place, name in enumerate(SPLITS):
            mask = split == place
            count = int(mask.sum())
            start, self.at[name] = self.at[name], self.at[name] + count
            if name not in self.outputs or not count:
                continue
            starts = self.parts[name].starts
            number = np.arange(start, start + count)  # of the split's rows
            mask[mask] = (number >= starts[0]) & (number < starts[-1])
            if mask.any():
                masks[name] = mask
        if not masks:
            return
        columns = encode(self.fitted, rows)
        block = arrays(self.spec, columns, rows, self.dated)
        for name, mask in masks.items():
            counts = of_values(columns, self.tasks, block["label_mask"], mask)
            self.counts = added(self.counts, {name: counts})
            whole = mask.all()
            part = {k: v if whole else v[mask] for k, v in block.items()}
            self.outputs[name].add(part)
            if self.spec.split.by != "time":  # where copies of a row stay together
                self.hashes[name].append(equal_rows.of_block(part, self.rows))
            for record in self.outputs[name].records():
                self.outputs[name].write(to_record(record))

    def hash_table(self) -> pa.Table | None:
        """The hashes of the rows that are compared: columns split and hash."""
        found = [(SPLITS.index(name), part) for name, ps in self.hashes.items() for part in ps]
        if not found:
            return None
        places = np.concatenate([np.full(len(part), place, np.int8) for place, part in found])
        return pa.table([places, np.concatenate([p for _, p in found])], names=["split", "hash"])

    def close(self) -> dict[str, str]:
        """Hashes of what was written of each split."""
        return {split: output.close() for split, output in self.outputs.items()}


class Output:
    """A file of records, written beside its place and moved there when it is whole."""

    def __init__(self, path: pathlib.Path, starts: np.ndarray):
        self.path, self.lengths = path, np.diff(starts)
        self._replacing = replacing(path)
        self.temporary = self._replacing.__enter__()
        self.file = ArrayRecordWriter(os.fspath(self.temporary), WRITER)
        self.digest = hashlib.sha256()
        self.held: list[Block] = []
        self.count, self.done = 0, 0

    def add(self, block: Block) -> None:
        self.held.append(block)
        self.count += len(block["ids"])

    def records(self) -> Iterator[Block]:
        """The records that are complete."""
        if self.done == len(self.lengths) or self.count < self.lengths[self.done]:
            return
        joined = {k: np.concatenate([b[k] for b in self.held]) for k in self.held[0]}
        start = 0
        while self.done < len(self.lengths) and self.count >= self.lengths[self.done]:
            stop = start + int(self.lengths[self.done])
            yield {k: v[start:stop] for k, v in joined.items()}
            self.count -= stop - start
            self.done, start = self.done + 1, stop
        self.held = [{k: v[start:] for k, v in joined.items()}]

    def write(self, record: bytes) -> None:
        with disk_errors(self.temporary):
            self.file.write(record)
        self.digest.update(record)

    def close(self) -> str:
        """The SHA-256 of the records."""
        with disk_errors(self.temporary):
            self.file.close()
            to_disk(self.temporary)
        self._replacing.__exit__(None, None, None)
        return self.digest.hexdigest()

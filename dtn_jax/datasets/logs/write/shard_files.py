"""The files of a shard's records: what a record holds, and how a file becomes whole."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.fit.encoders import Encoded, Fitted
from dtn_jax.datasets.logs.fit.shards import Part
from dtn_jax.datasets.logs.rows import days
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.schema.spec import Spec
from dtn_jax.datasets.preparation.records import declared
from dtn_jax.shared_files import disk_errors, replacing

WRITER = "group_size:1,zstd:1"  # each record by itself, as random access needs it
Block = dict[str, np.ndarray]


def features(
    spec: Spec, fitted: Mapping[str, Fitted], block_rows: int, time_unit: str
) -> tfds.features.FeaturesDict:
    """The arrays of a record, as TFDS declares them."""
    weights = sum(f.slots for f in fitted.values() if f.spec.weights)
    return declared(
        block_rows,
        len(spec.tasks),
        slots=sum(f.slots for f in fitted.values()),
        weights=(weights,) if weights else (),
        numbers=sum(f.numbers for f in fitted.values()),
        weighted=_is_weighted(spec),
        loss_weighted=bool(spec.loss_weight),
        grouped=bool(spec.group),
        dated=days.dated(spec, time_unit),
    )


def _is_weighted(spec: Spec) -> bool:
    return bool(spec.weight or spec.sample_negatives)


def file_of(folder: pathlib.Path, split: str, part: Part) -> pathlib.Path:
    """The file of a shard's records of a split, as TFDS names it."""
    return folder / f"logs-{split}.array_record-{part.place:05d}-of-{part.places:05d}"


def arrays(spec: Spec, columns: Mapping[str, Encoded], rows: Rows, time_unit: str) -> Block:
    """The arrays `[B, ...]` of a record."""
    block = {
        "ids": np.concatenate([column.ids for column in columns.values()], axis=1),
        "labels": np.nan_to_num(rows.labels, nan=0.0),
        "label_mask": (~np.isnan(rows.labels)).astype(np.uint8),
    }
    for name in ("weights", "numbers"):
        found = [v for c in columns.values() if (v := getattr(c, name)) is not None]
        if found:
            block["numeric" if name == "numbers" else name] = np.concatenate(found, axis=1)
    if _is_weighted(spec):
        ones = np.ones(len(rows), np.float32)
        block["sample_weight"] = ones if rows.weight is None else rows.weight.astype(np.float32)
    if spec.loss_weight:
        block["loss_weight"] = rows.loss_weight.astype(np.float32)
    if spec.group:
        block["group"] = keys.group_numbers(rows.group)
    if days.dated(spec, time_unit):
        block["day"] = days.days_of(rows).astype(np.int32)
    return block


class Output:
    """A file of records, written beside its place and moved there when it is whole."""

    def __init__(self, path: pathlib.Path, starts: np.ndarray):
        self.path, self.lengths = path, np.diff(starts)
        self.rows = int(starts[-1] - starts[0])
        self._replacing = replacing(path)
        self.temporary = self._replacing.__enter__()
        self.file = ArrayRecordWriter(os.fspath(self.temporary), WRITER)
        self.digest = hashlib.sha256()
        self.held: list[Block] = []
        self.count, self.done, self.bytes = 0, 0, 0

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
        self.bytes += len(record)

    def close(self) -> dict:
        with disk_errors(self.temporary):
            self.file.close()
        self._replacing.__exit__(None, None, None)
        return {
            "records": len(self.lengths),
            "rows": self.rows,
            "bytes": self.bytes,
            "size": self.path.stat().st_size,
            "sha256": self.digest.hexdigest(),
        }

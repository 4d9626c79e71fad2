"""A prepared set on disk: its schema, splits and facts, with random access to its records.

Its files are those that were written: they have hashes, and all are verified whenever a set is
opened. Of a long file of records that means its ends, with the index of its records: array_record
itself verifies each record that it reads.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from dtn_jax.data.blocks import Layout, RecordSource, remedy
from dtn_jax.data.raw.files import ends
from dtn_jax.errors import UserError, choose
from dtn_jax.files import (
    HASHES,
    damage,
    files_in,
    hashes,
    read_json,
    reading,
    sha256,
    write_whole,
)
from dtn_jax.schema import Schema
from dtn_jax.shapes import Int

PART = 20  # seeds the draw of a part of train
LONG = 64 << 20  # bytes of a file of records beyond which its ends stand for it


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set on disk, ready to be read in blocks.

    Attributes:
      folder: where it lies.
      schema: its fields and tasks.
      layout: its lanes and blocks.
      rows: rows of each split.
      unknown_values: per split and field, the values that became the unknown id.
      fingerprint: SHA-256 of schema, encoders and all rows.
      recipe: SHA-256 of the rules by which it was prepared.
      notes: further facts kept beside the data (for synthetic data, the truth).
      raw_files: size in bytes of each of the user's files that it was prepared from, by name.
      raw_hashes: SHA-256 of those files, by name.
      raw_times: when each of them was written, in nanoseconds.
      kept_values: per split and field, its values, unknown ones included.
      cut_values: per split and bag, its values that found no slot; {} without bags.
      hash_functions: {field: rows of its table that a known value takes} of hashed fields, whose
        unknown values are missing ones alone: what train has not seen has rows, too.
      records: for each split that is only a part of what is stored, the stored records it
        consists of; the first of their rows are used.
    """

    folder: pathlib.Path
    schema: Schema
    layout: Layout
    rows: dict[str, int]
    unknown_values: dict[str, dict[str, int]]
    fingerprint: str
    recipe: str
    notes: dict
    raw_files: dict[str, int] = dataclasses.field(default_factory=dict)
    raw_hashes: dict[str, str] = dataclasses.field(default_factory=dict)
    raw_times: dict[str, int] = dataclasses.field(default_factory=dict)
    kept_values: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    cut_values: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    hash_functions: dict[str, int] = dataclasses.field(default_factory=dict)
    records: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def cut_shares(self) -> dict[str, float]:
        """{bag: the share of its values in train that found no slot}."""
        cut, kept = self.cut_values.get("train", {}), self.kept_values.get("train", {})
        return {name: count / max(count + kept[name], 1) for name, count in cut.items()}

    @property
    def extends(self) -> list[dict[str, str]]:
        """The sets whose ids it took over, `{name, fingerprint}`, from the last to the first."""
        return self.notes.get("extends", {}).get("sets", [])

    def part_of_train(self, share: float) -> Prepared:
        """The same set with a fixed share of its train rows, whatever a run's seed.

        They are whole blocks drawn in each lane, and the first rows of one more.
        """
        stored = self.rows["train"]
        rows = round(share * stored)
        if rows == stored:
            return self
        if rows < 1:
            raise UserError(f"data.train_share={share}: none of {stored} train rows is left")
        lanes, layout = self.layout.lanes, self.layout
        full = stored // (lanes * layout.block_rows)
        drawn = np.stack([np.random.default_rng((PART, n)).permutation(full) for n in range(lanes)])
        drawn = np.append(drawn, np.full((lanes, 1), full), axis=1)  # at last the shorter blocks
        taken = -(-len(layout.blocks(rows)) // lanes)
        records = (drawn[:, :taken] * lanes + np.arange(lanes)[:, None]).T.ravel()
        return dataclasses.replace(
            self,
            rows=self.rows | {"train": rows},
            records=self.records | {"train": records[: len(layout.blocks(rows))]},
        )

    def source(self, split: str):
        """Random access to the split's records: `source[i]` is a dict of arrays, one block."""
        choose("split", split, self.rows)
        stored = self.stored(split)
        return Part(stored, self.records[split]) if split in self.records else stored

    def stored(self, split: str):
        """All records of a split, as they lie on disk."""
        return RecordSource(self.folder, split)

    def groups(self, split: str, part: slice = slice(None)) -> Int[np.ndarray, " B"] | None:
        """The groups of a split's rows, or of a part of them: int64 `[B]` in row order.

        None where the set has no groups.
        """
        return self._column(split, "group", np.int64, part) if self.schema.group else None

    def days(self, split: str, part: slice = slice(None)) -> Int[np.ndarray, " B"] | None:
        """The days since 1970-01-01 of a split's rows, in the same way: int32 `[B]`."""
        return self._column(split, "day", np.int32, part) if self.schema.day else None

    def _column(self, split: str, name: str, dtype: type, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(self.rows[split])
        if start >= stop:
            return np.empty(0, dtype)
        starts = self.layout.starts(self.rows[split])
        first, last = np.searchsorted(starts, [start, stop - 1], side="right") - 1
        records = self.source(split)
        blocks = [records[i][name][: starts[i + 1] - starts[i]] for i in range(first, last + 1)]
        return np.concatenate(blocks)[start - starts[first] : stop - starts[first]]

    def row_bytes(self, grouped: bool = False) -> int:
        """Bytes of one row as a batch holds it (ids, labels and masks, weights, numbers, and its
        group where batches have them)."""
        schema, tasks = self.schema, len(self.schema.tasks)
        numbers = schema.slots + schema.weighted_slots + schema.numbers + tasks + 2
        numbers += bool(schema.loss_weight)
        return 4 * numbers + tasks + 1 + 8 * grouped


@dataclasses.dataclass(frozen=True)
class Part:
    """Some of a source's records, numbered anew."""

    source: Sequence
    records: np.ndarray

    def __getitem__(self, index: int):
        return self.source[int(self.records[index])]

    def __getitems__(self, indices: Sequence[int]):
        return self.source.__getitems__(self.records[np.asarray(indices)].tolist())


def read(folder: pathlib.Path) -> Prepared:
    """Opens a prepared set; raises UserError if a file is missing or damaged."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder, expected a prepared set; {remedy(folder)}")
    if problem := damage(folder, of=_hash):
        raise UserError(f"{folder}/{problem}; {remedy(folder)}")
    with reading(folder / "schema.json", remedy(folder)) as path:
        schema = Schema.load(path)
    notes = read_json(folder / "notes.json", remedy(folder))
    facts = read_json(folder / "prepared.json", remedy(folder), _facts)
    return Prepared(folder, schema, notes=notes, **facts)


def seal(folder: pathlib.Path, leave_out: Iterable[str] = ()) -> None:
    """Writes the hashes of a set's files, all of which must be there.

    Args:
      folder: the set's.
      leave_out: files that nothing is read from.
    """
    files = {name: path for name, path in files_in(folder).items() if name not in leave_out}
    write_whole(folder / HASHES, json.dumps(hashes(files, _hash), indent=1))


def _facts(facts: dict) -> dict:
    known = {f.name: facts[f.name] for f in dataclasses.fields(Prepared) if f.name in facts}
    return known | {"layout": Layout(**facts["layout"])}


def _hash(path: pathlib.Path) -> str:
    """SHA-256 of a file; of a long one of records, of its ends."""
    if ".array_record" not in path.name or path.stat().st_size <= LONG:
        return sha256(path)
    return ends(str(path))


def check_ids(ids: np.ndarray, schema: Schema) -> None:
    """Raises UserError if an id is not a row of its field's table.

    Args:
      ids: `[B, L]`; -1 is padding.
      schema: gives the field, and so the rows, of each of the L slots.
    """
    limits = np.asarray([field.rows for field in schema.slot_fields()], ids.dtype)
    if not ids.size or (ids.min() >= -1 and not (ids >= limits).any()):  # at every read: be quick
        return
    bad = (ids < -1) | (ids >= limits)
    slot = int(bad.any(axis=0).argmax())
    row, field = int(bad[:, slot].argmax()), schema.slot_fields()[slot]
    raise UserError(
        f"field {field.name!r}: id {int(ids[row, slot])} in row {row} is not "
        f"in its table of {field.rows} rows (0 to {field.rows - 1}; -1 is padding)"
    )

"""Files of any size are scored in bounded memory: their rows in order, with the scores beside them.

Reading, encoding, the device and writing work at the same time, on different chunks. Each unit of
the input becomes a part, beside the output in `OUTPUT.parts`; a command that was killed goes on
with the parts that are there, and the last thing it does is to join them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

import dtn_jax
from dtn_jax.data import columns as log_columns
from dtn_jax.data.clean import Bad
from dtn_jax.data.epochs.batches import prefetched
from dtn_jax.data.raw import files, read
from dtn_jax.data.raw.files import FILE, RawFile
from dtn_jax.data.raw.types import Chunk, Type, Types, read_as
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.data.stages.account import Account
from dtn_jax.data.stages.work import computed_ahead
from dtn_jax.errors import UserError, disk_errors
from dtn_jax.export import score_columns
from dtn_jax.export.encoding import Encoded, check_there, table
from dtn_jax.export.model import Model
from dtn_jax.export.score_columns import ScoredBy
from dtn_jax.files import locked, sha256, to_disk, write_whole
from dtn_jax.places import full_path

MAX_BAD_RATE = 0.5  # above it, the file is wrong, not its rows
ROWS = 32_768  # of a chunk: memory is bounded by a few of them
UNIT = {"rows": 1 << 17, "size": 16 << 20}  # rows, or bytes of a text file: what a kill may lose
FEWEST = 8  # a batch has at least one in so many of the largest one's rows
LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")
END = Chunk(pl.DataFrame(), np.empty(0, np.int64), [])  # of a unit
SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")
GROUP_ROWS = 1 << 17  # of a Parquet file's row group
NAME = "[0-9a-f]" * 16  # of a folder of parts


class Piece(NamedTuple):
    """A chunk of a unit: what is kept of its rows, and the rows as the model takes them.

    Attributes:
      unit: its number; `last` where no chunk of it follows.
      kept: the wanted columns of all rows; null where a value could not be read.
      labels: their labels; no columns where none are written.
      encoded: the same rows.
    """

    unit: int
    last: bool
    kept: list[pl.Series]
    labels: pl.DataFrame
    encoded: Encoded


class Job:
    """Files to be scored.

    Args:
      model: that scores them.
      inputs: files, globs, folders; see `raw.files.find`.
      output: a file whose suffix is one of SUFFIXES.
      columns: the columns to keep beside the scores; None keeps all of single values, but bytes
        that the model does not read, which only Parquet can hold.
      labels: also write what the scores are compared with; see `score_columns.labels`. A row whose
        label, group or weight `prepare` would reject is bad.
      max_bad_rate: the share of bad rows above which no output is written; 0 ends at the first.
      format: of the files, where their names do not say.
      replace: an output that is there is replaced when the new one is whole.
      say: prints a line.

    Attributes:
      left_out: the columns that the output does not have.
      read: the raw columns of which scores and labels are made, and their types.
      written: {column beside those that are kept: its type}.
      left: the units that no earlier call has scored.
      account: of the rows in the output so far.
      counts: of the values that this call has scored, as of `Encoding.counted`.

    Raises:
      UserError: there are no such files, a column is missing, the output is there, or another
        process writes it.
    """

    def __init__(
        self,
        model: Model,
        inputs: Sequence[str],
        output: str | pathlib.Path,
        *,
        columns: Sequence[str] | None = None,
        labels: bool = False,
        max_bad_rate: float = MAX_BAD_RATE,
        format: str = "",
        replace: bool = False,
        say: Callable[[str], None] = print,
    ):
        output = full_path(output)
        if output.suffix not in SUFFIXES:
            raise UserError(f"the output {output.name!r} ends in none of {', '.join(SUFFIXES)}")
        batches = model.batches
        least = max(batches.least, batches.largest // FEWEST)  # few programs, whatever the rows
        self.model = dataclasses.replace(model, batches=dataclasses.replace(batches, least=least))
        self.max_bad_rate = max_bad_rate
        by = score_columns.labelled(model.encoding) if labels else model.encoding
        self.encoding, self.labels = by, dataclasses.replace(by.cleaned, fields=())
        given = model.encoding.spec.input
        self.files = files.find(inputs, format or given.format)
        known = self.files[0].format
        self.input = given if given.format in ("", known) or known == "csv" else InputSpec()
        kept = read.schemas(self.files, self.input, as_is=True)
        self.types = {
            a: {n: read_as(kind) for n, kind in types.items()} for a, types in kept.items()
        }
        for address, types in self.types.items():
            check_there([n for n in types if n != FILE], by.columns, by.optional, f"{address}: ")
            log_columns.check(self.labels, address, types)
        needed = (*model.columns, *log_columns.columns(self.labels))
        self.read: Types = {name: by.types[name] for name in needed}
        self.written = dict.fromkeys(model.outputs, pl.Float64())
        self.written |= score_columns.types_of(self.labels)
        texts = known == "csv" and output.suffix != ".csv"  # which say no types
        for types in kept.values():  # bytes that the model reads have its type
            typed = {n for n, kind in types.items() if texts or kind == pl.Binary}
            types.update({n: self.read[n] for n in needed if n in typed})
        twice = {score_columns.GROUP: self.labels.group, score_columns.WEIGHT: self.labels.weight}
        left = {FILE, *(name for name, column in twice.items() if name == column)}
        self.kept = score_columns.kept_types(kept, columns, left, self.written, output.suffix)
        every = dict.fromkeys(name for types in kept.values() for name in types)
        self.left_out = [name for name in every if name not in {*self.kept, *left}]
        self.units = read.plan(self.files, self.input, **UNIT)
        self.scored_by = ScoredBy.of(model, labels)
        self.parts = Parts(output, replace, self._made_from(), say)
        self.left, self.counts = self._count(), np.zeros((2, len(model.schema.fields)), int)
        if done := len(self.units) - len(self.left):
            say(f"resuming: {done} of {len(self.units)} pieces of the input are scored already")

    def _count(self) -> list[int]:
        """Adds up the accounts of the units that were scored; returns the others."""
        self.account, left = Account(), []
        for unit in range(len(self.units)):
            try:
                self.account.include(self.parts.account(unit))
            except Exception:  # whatever a damaged file raises
                left.append(unit)
        return left

    @property
    def rows(self) -> int:
        """How many are left to be scored; 0 where that is not known yet."""
        counts = [self.units[n].rows for n in self.left]
        return 0 if -1 in counts else sum(counts)

    def run(self) -> Iterator[int]:
        """Scores all that is left, and writes the output; yields the rows of each chunk.

        Raises:
          UserError: a file is damaged or has changed, or a row is bad or too many are.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self.parts.lock.close)
            threads = max(2, min(4, (os.cpu_count() or 1) - 1))
            encoded = computed_ahead(self._piece, prefetched(self._chunks()), threads)
            pieces, same = itertools.tee(encoded)
            logits = self.model.batches.logits(piece.encoded for piece in same)
            scored = stack.enter_context(contextlib.closing(prefetched(zip(pieces, logits))))
            self._part: pa.RecordBatchWriter | None = None
            yield from itertools.starmap(self._write, scored)
            self._join()

    def _chunks(self) -> Iterator[tuple[int, RawFile, Chunk]]:
        """(unit, its file, a chunk) of what is left; the last chunk of a unit is END."""
        lists = {name for name, kind in self.read.items() if kind == pl.List}
        for n in self.left:
            unit = self.units[n]
            file = self.files[unit.file]
            types = self.types[file.address]
            wanted = [name for name in dict.fromkeys([*self.read, *self.kept]) if name in types]
            listed = lists | {name for name in self.kept if types.get(name) == pl.List}
            given = (file, unit, wanted, self.input, ROWS)
            for chunk in read.chunks(*given, lists=listed):
                yield n, file, chunk
            yield n, file, END

    def _piece(self, given: tuple[int, RawFile, Chunk]) -> Piece:
        """A chunk of a file, encoded."""
        unit, file, chunk = given
        frame, numbers = every_row(chunk)
        bad = Bad(numbers, file.address)
        bad.broken(chunk.broken)
        raw, _ = table(frame, self.read, self.read, bad)
        nothing = pl.Series([None] * len(numbers), dtype=pl.Null)

        def keep(name: str, kind: Type) -> pl.Series:
            if kind == self.read.get(name):  # of a bad row's values those that have the type
                return raw[name]
            column = frame.get_column(name, default=nothing).alias(name)
            return score_columns.fitting(column, kind, file.address)

        rows = self.encoding.clean(raw, bad)
        encoded = self.encoding.arrays(rows, bad)
        labels = score_columns.labels(self.labels, rows, bad.good)
        kept = [keep(name, kind) for name, kind in self.kept.items()]
        return Piece(unit, chunk is END, kept, labels, encoded)

    def _write(self, piece: Piece, logits: np.ndarray) -> int:
        """Writes a piece to its part; a bad row has no scores and no labels."""
        encoded, good = piece.encoded, pl.lit(pl.Series(piece.encoded.good))
        if not self.max_bad_rate:
            self._check_good(encoded.rejected.account)
        scores = self.model.scores(logits).items()
        scores = [pl.Series(name, values).fill_nan(None) for name, values in scores]
        labels = piece.labels.select(pl.when(good).then(pl.all())).get_columns()
        rows = pl.DataFrame([*piece.kept, *scores, *labels]).rechunk().to_arrow()
        with disk_errors(self.parts.output):
            if self._part is None:
                place = str(self.parts.rows(piece.unit))
                self._part = pa.ipc.new_file(place, rows.schema, options=LZ4)
                self._unit = Account()
            self._part.write_table(rows)
            self._unit.include(encoded.rejected.account)
            self.counts = self.counts + self.encoding.counted(encoded)
            if piece.last:
                self._part.close()
                self.parts.close(piece.unit, self._unit)
                self._part = None
        return len(encoded)

    def _join(self) -> None:
        """Puts the output in its place, unless too many rows are bad."""
        if damaged := self._count():
            raise UserError(
                f"{self.parts.rows(damaged[0])} is damaged: its SHA-256 is another than when it "
                "was scored; run the same command again, which keeps the other parts"
            )
        self._check_good(self.account)
        empty = pl.DataFrame(schema=self.kept | self.written)
        with disk_errors(self.parts.output):
            self.parts.join(len(self.units), empty, self.scored_by.metadata())

    def _check_good(self, account: Account) -> None:
        if account.exceeds(self.max_bad_rate):
            raise UserError(
                f"{account.rejected:,} of {account.rows:,} rows have no scores, more than "
                f"--max_bad_rate={self.max_bad_rate:g} allows: {'; '.join(account.summary())}. No "
                f"output is written; what is scored stays in {self.parts.place}"
            )

    def _made_from(self) -> dict:
        """What the scores depend on, and how the rows are cut."""
        return {
            "dtn_jax": dtn_jax.__version__,
            "model": self.scored_by.sha256,
            "files": [[f.address, f.size, files.ends(f.address)] for f in self.files],
            "input": dataclasses.asdict(self.input),
            "units": [dataclasses.astuple(unit) for unit in self.units],
            "columns": {n: str(dtype) for n, dtype in (self.kept | self.written).items()},
        }


class Parts:
    """The units of an output that are scored.

    `OUTPUT.parts` has a folder whose name is a hash of what is being scored, by which model. There
    each unit that is done has its rows, `000012.arrow`, and `000012.json`, their SHA-256 and what
    is counted of them, written last. The output is written there, too, and moved to its place.

    Args:
      output: the file that they become; its suffix says the format.
      replace: an output that is there is replaced when the new one is whole.
      made_from: all that its numbers depend on, as JSON has it.
      say: prints a line.

    Raises:
      UserError: the output is there, or can't be written, or another process writes it.
    """

    def __init__(
        self, output: pathlib.Path, replace: bool, made_from: Any, say: Callable[[str], None]
    ):
        text = json.dumps(made_from, sort_keys=True)
        self.output, self.place = output, output.with_name(f"{output.name}.parts")
        self.folder = self.place / hashlib.sha256(text.encode()).hexdigest()[:16]
        with disk_errors(output.parent):
            if output.is_dir() or (output.exists() and not replace):
                raise UserError(f"{output} is there already; give another output, or --replace")
            self.place.mkdir(parents=True, exist_ok=True)
            self.lock = locked(self.place / "lock")
            if self.lock is None:
                raise UserError(f"another process writes {output}: it holds {self.place}/lock")
            for other in {*self.place.glob(NAME)} - {self.folder}:
                say(f"{self.place} is of another model, other files or options: starting again")
                shutil.rmtree(other)
            self.folder.mkdir(exist_ok=True)

    def rows(self, unit: int) -> pathlib.Path:
        """The file of a unit's rows."""
        return self.folder / f"{unit:06d}.arrow"

    def account(self, unit: int) -> Account:
        """What `close` was given of a unit.

        Raises:
          Exception: it was not scored, or is damaged.
        """
        facts = json.loads(self.rows(unit).with_suffix(".json").read_text())
        if sha256(self.rows(unit)) != facts.pop("sha256"):
            raise ValueError(unit)
        return Account.from_json(facts)

    def close(self, unit: int, account: Account) -> None:
        """Marks a unit, whose rows are written, as done."""
        facts = {"sha256": sha256(self.rows(unit))} | account.to_json()
        write_whole(self.rows(unit).with_suffix(".json"), json.dumps(facts))

    def join(self, units: int, empty: pl.DataFrame, metadata: Mapping[str, str]) -> None:
        """Puts the output in its place, where a power cut leaves it whole.

        Args:
          units: how many there are, all of them whole.
          empty: the columns of the output.
          metadata: of a Parquet file.
        """
        temporary = self.folder / f"output{self.output.suffix}"
        rows = pl.scan_ipc([self.rows(unit) for unit in range(units)]) if units else empty.lazy()
        if self.output.suffix == ".parquet":
            options = {"row_group_size": GROUP_ROWS, "metadata": dict(metadata)}
            rows.sink_parquet(temporary, compression_level=1, **options)
        elif self.output.suffix == ".csv":
            rows.sink_csv(temporary)
        else:
            rows.sink_ndjson(temporary)
        to_disk(temporary)
        temporary.replace(self.output)
        to_disk(self.output.parent)
        with contextlib.suppress(OSError):  # what others have put there stays
            shutil.rmtree(self.folder)
            (self.place / "lock").unlink()
            self.place.rmdir()


def every_row(chunk: Chunk) -> tuple[pl.DataFrame, np.ndarray]:
    """All rows of a chunk in order, null where a value could not be read; and their numbers."""
    if not chunk.broken:
        return chunk.frame, chunk.numbers
    unread = np.setdiff1d([reject.row for reject in chunk.broken], chunk.numbers)
    numbers = np.concatenate([chunk.numbers, unread])
    order = np.argsort(numbers)
    places = pl.Series(order).set(pl.Series(order >= len(chunk.numbers)), None)
    return chunk.frame.select(pl.all().gather(places)), numbers[order]

"""Files of any size are scored in bounded memory: their rows in order, with the scores beside them.

Reading, encoding, the device and writing work at the same time, on different chunks.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

import dtn_jax
from dtn_jax.data import columns as log_columns
from dtn_jax.data.epochs.batches import prefetched
from dtn_jax.data.raw import files, read
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.raw.types import Chunk, Types
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.data.stages.account import Account
from dtn_jax.errors import UserError, choose
from dtn_jax.export import log_labels
from dtn_jax.export.encoded import Bad, Encoded
from dtn_jax.export.file_columns import NESTED, check_columns, fitting, kept_types, of_kind
from dtn_jax.export.model import Model
from dtn_jax.export.raw_rows import table
from dtn_jax.export.score_parts import Parts, output_path, writing
from dtn_jax.export.scored_by import ScoredBy
from dtn_jax.export.tally import Tally, counted

ON_BAD_ROWS = ("null", "error")
MAX_BAD_RATE = 0.5  # above it, the file is wrong, not its rows
ROWS = 32_768  # of a chunk: memory is bounded by a few of them
UNIT = {"rows": 1 << 17, "size": 16 << 20}  # rows, or bytes of a text file: what a kill may lose
FEWEST = 8  # a batch has at least one in so many of the largest one's rows
AHEAD = 2  # chunks that are encoded before the device asks for them, beside those being encoded
LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")
END = Chunk(pl.DataFrame(), np.empty(0, np.int64), [])  # of a unit


@dataclasses.dataclass
class Piece:
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
      labels: also write what the scores are compared with; see `log_labels`. A row whose label,
        group or weight `prepare` would reject is bad.
      on_bad_rows: `null` leaves them without scores, and counts them; `error` ends at the first.
      max_bad_rate: the share of bad rows above which no output is written.
      format: of the files, where their names do not say.
      replace: an output that is there is replaced when the new one is whole.
      say: is told what is found.

    Attributes:
      lists, binary: the columns of lists, and of bytes, that are kept only where they are named.
      read: the raw columns of which scores and labels are made, and their types.
      written: {column beside those that are kept: its type}.
      resumed: whether an earlier call has scored some of it.
      tally: of the rows in the output so far.

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
        on_bad_rows: str = "null",
        max_bad_rate: float = MAX_BAD_RATE,
        format: str = "",
        replace: bool = False,
        say: Callable[[str], None] = print,
    ):
        choose("on_bad_rows", on_bad_rows, ON_BAD_ROWS)
        if not 0 <= max_bad_rate <= 1:
            raise UserError(f"--max_bad_rate={max_bad_rate:g}: expected a share, from 0 to 1")
        output = output_path(output)
        batches = model.batches
        least = max(batches.least, batches.largest // FEWEST)  # few programs, whatever the rows
        self.model = dataclasses.replace(model, batches=dataclasses.replace(batches, least=least))
        self.on_bad_rows, self.max_bad_rate, self.say = on_bad_rows, max_bad_rate, say
        self.encoding = log_labels.labelled(model.encoding) if labels else model.encoding
        self.labels = dataclasses.replace(self.encoding.cleaned, fields=())
        given = model.encoding.spec.input
        self.files = files.find(inputs, format or given.format)
        known = self.files[0].format
        self.input = given if given.format in ("", known) or known == "csv" else InputSpec()
        self.types = read.schemas(self.files, self.input)
        for address, types in self.types.items():
            check_columns(self.encoding, self.labels, address, types, known == "csv")
        needed = (*model.columns, *log_columns.columns(self.labels))
        self.read: Types = {name: self.encoding.types[name] for name in needed}
        self.written = dict.fromkeys(model.outputs, pl.Float64()) | log_labels.types_of(self.labels)
        self.lists = of_kind(self.types, NESTED)
        types = read.schemas(self.files, self.input, as_is=True)
        texts = {*of_kind(types, [pl.Binary])} & {*needed}  # bytes that the model reads as text
        types = {a: t | {n: self.types[a][n] for n in t.keys() & texts} for a, t in types.items()}
        self.binary = of_kind(types, [pl.Binary])
        left = [*self.lists, *self.binary, *log_labels.again(self.labels)]
        self.kept = kept_types(types, columns, left, self.written, output.suffix)
        self.units = read.plan(self.files, self.input, **UNIT)
        self.scored_by = ScoredBy.of(model, labels)
        self.parts = Parts(output, replace, self._made_from(), say)
        tallies = [self.parts.tally(n) for n in range(len(self.units))]
        self.left = [n for n, found in enumerate(tallies) if found is None]
        self.resumed, self._warned, self._part = len(self.left) < len(self.units), False, None
        self.tally = Tally.joined(found for found in tallies if found is not None)
        if self.resumed:
            done = len(self.units) - len(self.left)
            say(f"resuming: {done} of {len(self.units)} pieces of the input are scored already")

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
            stack.callback(self.parts.release)
            self._check_good(self.tally.account)
            threads = max(1, min(4, (os.cpu_count() or 1) - 1))
            encoders, writer = _pool(stack, threads), _pool(stack, 1)
            chunks = stack.enter_context(contextlib.closing(prefetched(self._chunks())))
            pieces, same = itertools.tee(_in_order(encoders, self._piece, chunks, threads + AHEAD))
            logits = self.model.batches.logits(piece.encoded for piece in same)
            yield from _in_order(writer, self._write, zip(pieces, logits), AHEAD)
            self._join()

    def _chunks(self) -> Iterator[tuple[int, RawFile, Chunk]]:
        """(unit, its file, a chunk) of what is left; the last chunk of a unit is END."""
        lists = self.encoding.lists() | {n for n, kind in self.read.items() if kind == pl.List}
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
        there = {name: frame[name] if name in frame.columns else nothing for name in self.kept}
        kept = [fitting(there[n].alias(n), kind, file.address) for n, kind in self.kept.items()]
        rows = self.encoding.clean(raw, bad)
        encoded = self.encoding.arrays(rows, bad)
        labels = log_labels.labels(self.labels, rows, bad.good)
        return Piece(unit, chunk is END, kept, labels, encoded)

    def _write(self, scored: tuple[Piece, np.ndarray]) -> int:
        """Writes a piece to its part; in a thread that takes them in order. A bad row has no
        scores and no labels."""
        piece, logits = scored
        encoded, good = piece.encoded, pl.lit(pl.Series(piece.encoded.good))
        self._check_good(encoded.account)
        scores = self.model.scores(logits).items()
        scores = [pl.Series(name, values).fill_nan(None) for name, values in scores]
        labels = piece.labels.select(pl.when(good).then(pl.all())).get_columns()
        rows = pl.DataFrame([*piece.kept, *scores, *labels]).rechunk().to_arrow()
        with writing(self.parts.output):
            if self._part is None:
                place = str(self.parts.rows(piece.unit))
                self._part, self._own = pa.ipc.new_file(place, rows.schema, options=LZ4), Tally()
            self._part.write_table(rows)
            self._own.include(Tally(encoded.account, counted(self.model.schema.fields, encoded)))
            if piece.last:
                self._part.close()
                self.parts.close(piece.unit, self._own)
                self._part = None
                self.tally.include(self._own)
                if piece.unit != self.left[-1] and not self._warned:
                    self._warn()
        return len(encoded)

    def _join(self) -> None:
        """Puts the output in its place, unless too many rows are bad."""
        tallies = [self.parts.tally(n) for n in range(len(self.units))]
        if None in tallies:
            raise UserError(
                f"{self.parts.rows(tallies.index(None))} is damaged: its checksum is another than "
                "when it was scored; run the same command again, which scores its rows anew and "
                "keeps the others"
            )
        self.tally = Tally.joined(tallies)
        account, reasons = self.tally.account, self.tally.reasons()
        if account.exceeds(self.max_bad_rate):
            lines = [
                f"{account.rejected:,} of {account.rows:,} rows have no scores, more than "
                f"--max_bad_rate={self.max_bad_rate:g} allows:",
                *(f"  {line}" for line in reasons),
                f"No output is written; what is scored stays in {self.parts.place}, and the same "
                "command with a higher --max_bad_rate writes it",
            ]
            raise UserError("\n".join(lines))
        empty = pl.DataFrame(schema=self.kept | self.written)
        with writing(self.parts.output):
            self.parts.join(len(self.units), empty, self.scored_by.metadata())

    def _warn(self) -> None:
        """Says early, and once, that too many rows are bad so far."""
        account = self.tally.account
        if account.exceeds(self.max_bad_rate):
            self._warned = True
            self.say(
                f"warning: {account.rejected:,} of the first {account.rows:,} rows have no scores, "
                f"more than --max_bad_rate={self.max_bad_rate:g} allows; if it stays so, no output "
                f"is written. {self.tally.reasons()[0]}"
            )

    def _check_good(self, account: Account) -> None:
        if self.on_bad_rows == "error" and account.rejected:
            raise UserError(f"{account.summary()[0]}; --on_bad_rows=null scores the others")

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


def every_row(chunk: Chunk) -> tuple[pl.DataFrame, np.ndarray]:
    """All rows of a chunk in order, null where a value could not be read; and their numbers."""
    if not chunk.broken:
        return chunk.frame, chunk.numbers
    unread = np.setdiff1d([reject.row for reject in chunk.broken], chunk.numbers)
    numbers = np.concatenate([chunk.numbers, unread])
    order = np.argsort(numbers)
    places = pl.Series(order).set(pl.Series(order >= len(chunk.numbers)), None)
    return chunk.frame.select(pl.all().gather(places)), numbers[order]


def _pool(stack: contextlib.ExitStack, threads: int) -> concurrent.futures.Executor:
    """Threads that end with the stack, without what still waits."""
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    stack.callback(pool.shutdown, wait=True, cancel_futures=True)
    return pool


def _in_order(
    pool: concurrent.futures.Executor, function: Callable, items: Iterator, ahead: int
) -> Iterator:
    """`function` of each item, in order; a few are made ahead."""
    waiting: collections.deque = collections.deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

"""Files of any size are scored in bounded memory: their rows in order, with the scores beside them.

Reading, encoding, the device and writing work at the same time, on different chunks.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl

import dtn_jax
from dtn_jax.data import columns
from dtn_jax.data.epochs.batches import prefetched
from dtn_jax.data.raw import files, read
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.raw.types import Chunk, Types
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.data.stages.account import Account
from dtn_jax.errors import UserError, choose
from dtn_jax.export.file_columns import binary, check_columns, kept_types, nested
from dtn_jax.export.joined import Joined
from dtn_jax.export.log_labels import NOTHING, labels_of
from dtn_jax.export.model import Model
from dtn_jax.export.pieces import Piece, encoded_rows, piece_of
from dtn_jax.export.score_parts import Part, Parts, output_path
from dtn_jax.export.scored_by import ScoredBy
from dtn_jax.export.tally import Tally, check_rate
from dtn_jax.export.threads import in_order, pool

ON_BAD_ROWS = ("null", "error")
MAX_BAD_RATE = 0.5  # above it, the file is wrong, not its rows
ROWS = 32_768  # of a chunk: memory is bounded by a few of them
UNIT = {"rows": 1 << 17, "size": 16 << 20}  # rows, or bytes of a text file: what a kill may lose
FEWEST = 8  # a batch has at least one in so many of the largest one's rows
AHEAD = 2  # chunks that are encoded before the device asks for them, beside those being encoded


class Job:
    """Files to be scored.

    Args:
      model: that scores them.
      inputs: files, globs, folders; see `raw.files.find`.
      output: a file whose suffix is one of FORMATS.
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
      read: the raw columns of which scores and labels are made.
      written: {column beside those that are kept: its type}.

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
        check_rate(max_bad_rate)
        output = output_path(output, replace)
        batches = model.batches
        least = max(batches.least, batches.largest // FEWEST)  # few programs, whatever the rows
        self.model = dataclasses.replace(model, batches=dataclasses.replace(batches, least=least))
        self.on_bad_rows, self.max_bad_rate, self.say = on_bad_rows, max_bad_rate, say
        given = model.encoding.spec.input
        self.files = files.find(inputs, format or given.format)
        known = self.files[0].format
        own = given.format in ("", known) or known == "csv"
        self.input: InputSpec = given if own else InputSpec()
        self.types = read.schemas(self.files, self.input)
        self.labels = labels_of(model.encoding) if labels else NOTHING
        for address, types in self.types.items():
            check_columns(model.encoding, address, types, known == "csv")
            self.labels.check(address, types, known == "jsonl")
        self.read = [*model.columns, *self.labels.columns]
        self.written: Types = dict.fromkeys(model.outputs, pl.Float64()) | self.labels.types
        self.lists = list(nested(self.types))
        types = read.schemas(self.files, self.input, as_is=True)
        texts = binary(types).keys() & set(self.read)  # bytes that the model reads as text
        types = {a: t | {n: self.types[a][n] for n in t.keys() & texts} for a, t in types.items()}
        self.binary = list(binary(types))
        left = [*self.lists, *self.binary, *self.labels.again]
        self.kept = kept_types(types, columns, left, self.written, output.suffix)
        self.units = read.plan(self.files, self.input, **UNIT)
        self.scored_by = ScoredBy.of(model, labels)
        self.parts = Parts(output, self._made_from(), say)
        self._part: Part | None = None  # that is being written
        self._joined: Joined | None = None  # the output, of the first `_appended` units
        self._appended = 0
        self._warned = False
        self.tally = Tally()  # of these
        self.tallies = {n: self.parts.done(n) for n in range(len(self.units))}
        self.left = [n for n, found in self.tallies.items() if found is None]
        if self.resumed:
            done = len(self.units) - len(self.left)
            say(f"resuming: {done} of {len(self.units)} pieces of the input are scored already")

    @property
    def resumed(self) -> bool:
        """Whether an earlier call has scored some of it."""
        return len(self.left) < len(self.units)

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
            stack.callback(self._end)
            for found in self.tallies.values():
                if found is not None:
                    self._check(found.account)
            empty = pl.DataFrame(schema=self.kept | self.written)
            with self.parts.told():
                self._joined = self.parts.joined(empty, self.scored_by.metadata())
            threads = max(1, min(4, (os.cpu_count() or 1) - 1))
            encoders = pool(stack, threads, "encode")
            writer = pool(stack, 1, "write")
            chunks = stack.enter_context(contextlib.closing(prefetched(self._chunks())))
            pieces = in_order(encoders, self._piece, chunks, threads + AHEAD)
            waiting: collections.deque[Piece] = collections.deque()
            logits = self.model.batches.logits(encoded_rows(pieces, waiting))
            written: collections.deque[concurrent.futures.Future] = collections.deque()
            for found in logits:
                piece = waiting.popleft()
                self._check(piece.encoded.account)
                written.append(writer.submit(self._write, piece, found))
                if len(written) > AHEAD:
                    written.popleft().result()
                yield len(piece.encoded)
            for future in written:
                future.result()
            with self.parts.told():
                while self._appended < len(self.units):  # of an earlier call
                    self._join()
                self.tally.check(self.max_bad_rate, self.parts.folder)
                self.parts.finish(self._joined)
                self._joined = None

    def _end(self) -> None:
        if self._part is not None:  # an error has come between
            self._part.abandon()
            self._part = None
        if self._joined is not None:
            self._joined.abandon()
            self._joined = None
        self.parts.release()

    def _chunks(self) -> Iterator[tuple[int, RawFile, Chunk, bool]]:
        """(unit, its file, a chunk, whether it is the unit's last)."""
        for n in self.left:
            unit = self.units[n]
            file = self.files[unit.file]
            there = self.types[file.address]
            wanted = dict.fromkeys([*self.read, *self.kept])
            wanted = [name for name in wanted if name in there]
            held = None
            lists = self.model.encoding.by.lists() | columns.lists(self.labels.spec)
            lists |= {name for name in self.kept if there.get(name) == pl.List}
            given = (file, unit, wanted, self.input, ROWS)
            for chunk in read.chunks(*given, as_is=True, lists=lists):
                if held is not None:
                    yield n, file, held, False
                held = chunk
            if held is None:
                held = Chunk(pl.DataFrame(), np.empty(0, np.int64), [])
            yield n, file, held, True

    def _piece(self, chunk: tuple[int, RawFile, Chunk, bool]) -> Piece:
        return piece_of(self.model, self.kept, self.labels, *chunk)

    def _check(self, account: Account) -> None:
        if self.on_bad_rows == "error" and account.rejected:
            raise UserError(f"{account.summary()[0]}; --on_bad_rows=null scores the others")

    def _write(self, piece: Piece, logits: np.ndarray) -> None:
        """In a thread of its own, which takes the pieces in their order."""
        with self.parts.told():
            self._add(piece, logits)
            self._join()  # a piece takes longer to score, so those of an earlier call keep no one

    def _add(self, piece: Piece, logits: np.ndarray) -> None:
        if self._part is None:
            self._part = self.parts.open(piece.unit)
            self._own = Tally()
        if len(piece.encoded) or piece.last:
            self._part.write(piece.scored(self.model.scores(logits)))
        self._own.include(Tally(piece.encoded.account, piece.values))
        if piece.last:
            self.parts.close(piece.unit, self._part, self._own)
            self.tallies[piece.unit] = self._own
            self._part = None

    def _join(self) -> None:
        """Appends the next unit to the output, if it is done."""
        found = self.tallies.get(self._appended)
        if found is None:
            return
        self.parts.append(self._appended, self._joined)
        self.tally.include(found)
        self._appended += 1
        warning = self.tally.warning(self.max_bad_rate)
        if warning and not self._warned and self._appended < len(self.units):
            self._warned = True
            self.say(warning)

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

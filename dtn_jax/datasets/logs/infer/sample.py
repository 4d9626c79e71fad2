"""A sample of a log's rows: from all over it, in bounded memory, in a minute at most."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Mapping, Sequence

import polars as pl

from dtn_jax.datasets.logs.infer import places
from dtn_jax.datasets.logs.infer.places import Places
from dtn_jax.datasets.logs.raw import read as raw_read
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.raw.unit import Types
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.datasets.logs.times import Type
from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError

ROWS = 500_000  # that are looked at
BYTES = 256 << 20  # that they may take
SECONDS = 40.0  # for reading; what is read by then is the sample
FEW = 1e-5  # share of the rows in which a value may be bad: far below what prepare allows


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows of a log.

    Attributes:
      frame: the columns that can be read.
      refused: {column that cannot be: the reason}.
      files: of the log.
      seen: of the files, how many rows are from.
      rows: of the log; 0 is not known.
      exact: whether that is counted, not estimated.
      broken: rows of the sample that could not be read.
      input: how files were read.
    """

    frame: pl.DataFrame
    refused: dict[str, str]
    files: int
    seen: int
    rows: int
    exact: bool
    broken: int
    input: InputSpec

    @property
    def whole(self) -> bool:
        """Whether it is the whole log."""
        return self.exact and self.frame.height + self.broken >= self.rows

    def told(self) -> str:
        """'500,000 of about 12,000,000 rows, from 50 of 214 files'"""
        of = f" of {'' if self.exact else 'about '}{self.rows:,}"
        of = "" if self.whole or (not self.exact and self.rows <= self.frame.height) else of
        rows = f"{'all ' if self.whole else ''}{self.frame.height:,}{of} rows"
        files = "1 file" if self.files == 1 else f"{self.seen:,} of {self.files:,} files"
        files = f"all {self.files:,} files" if 1 < self.files == self.seen else files
        return f"{rows}, from {files}"


def read(files: Sequence[RawFile], input: InputSpec) -> Sample:
    """Reads a sample.

    Raises:
      UserError: a file cannot be read, or there are no rows.
    """
    where = places.choose(files, input)
    columns, refused = usable(files, where.types)
    while True:
        frames, seen, broken, blamed = _rows(files, where, columns, input)
        height = sum(frame.height for frame in frames)
        # A column that alone makes rows unreadable is left out, and the rows are there again.
        bad = {n: why for n, (count, why) in blamed.items() if count > FEW * (height + broken)}
        if not bad:
            break
        refused |= bad
        columns = [name for name in columns if name not in bad]
    if not height:
        raise UserError(f"the {len(files):,} raw files hold no rows that can be read")
    frame = pl.DataFrame({name: _joined([f[name] for f in frames]) for name in columns})
    exact = where.exact
    return Sample(frame, refused, len(files), seen, where.rows, exact, broken, input)


def usable(
    files: Sequence[RawFile], types: Mapping[int, Types]
) -> tuple[list[str], dict[str, str]]:
    """The columns that no file lacks, all of a readable type, and why others are refused."""
    names = dict.fromkeys(name for found in types.values() for name in found)
    refused = {}
    for name in names:
        lost = [n for n, found in types.items() if name not in found and not sparse(files[n])]
        kinds = {_kind(found[name]): n for n, found in types.items() if name in found}
        kinds.pop("nothing", None)
        if lost:
            refused[name] = f"{files[lost[0]].address} has no such column"
        elif "nested" in kinds:
            refused[name] = "nested: write its parts as columns of their own"
        elif not name or len(name) > 200:
            refused[name] = "it has no name" if not name else "its name is too long"
        elif len(kinds) > 1 and set(kinds) != {"numbers", "texts"}:
            told = " and ".join(f"{kind} in {files[n].address}" for kind, n in kinds.items())
            refused[name] = f"it holds {told}"
    return [name for name in names if name not in refused], refused


def sparse(file: RawFile) -> bool:
    """Whether a file may have columns that its first lines lack: JSON may leave out nulls."""
    return file.format == "jsonl"


def _kind(dtype: Type) -> str:
    """Types of one kind can be read as one another."""
    if dtype == pl.List:
        inner = dtype.inner
        return "nested" if inner.is_nested() or inner == pl.Duration else "lists"
    if dtype.is_nested():
        return "nested"
    if dtype == pl.Null:
        return "nothing"
    if dtype.is_numeric():
        return "numbers"
    return "texts" if dtype == pl.String else f"{dtype.base_type()}"


def _rows(
    files: Sequence[RawFile], where: Places, columns: list[str], input: InputSpec
) -> tuple[list[pl.DataFrame], int, int, dict[str, tuple[int, str]]]:
    """Frames, files that they are from, broken rows, and {column: (rows that it broke, why)}."""
    units, found = where.units, {}
    begun, held, broken = time.monotonic(), 0, 0
    counts: collections.Counter[str] = collections.Counter()
    why: dict[str, str] = {}
    # A share of the rows for each place; what a small one leaves, the later ones have.
    left = min(ROWS, where.rows) if where.exact else ROWS
    with progress.Rows() as bars:
        order = places.spread(len(units))
        for done, place in enumerate(
            bars.count(order, "looking at", len(units), rows=lambda _: 1, unit="places")
        ):
            if found and (time.monotonic() - begun > SECONDS or left <= 0):
                break
            unit = units[place]
            quota = -(-left // (len(units) - done))
            if held:
                taken = sum(frame.height for frame in found.values())
                quota = min(quota, int((BYTES - held) * taken / held / (len(units) - done)))
            if quota <= 0:
                break
            size = max(1, min(quota, raw_read.ROWS))
            parts = []
            for chunk in raw_read.chunks(files[unit.file], unit, columns, input, size):
                part = chunk.frame.head(quota - sum(p.height for p in parts))
                parts.append(part)
                held += part.estimated_size()
                broken += len(chunk.broken)
                for reject in chunk.broken:
                    if reject.column:
                        counts[reject.column] += 1
                        why[reject.column] = f"{reject.reason}: {reject.value[:40]}"
                if sum(p.height for p in parts) >= quota or held > BYTES:
                    break
            if parts:
                found[place] = _stacked(parts)
                left -= found[place].height
    seen = len({units[place].file for place in found})
    frames = [found[place] for place in sorted(found)]
    return frames, seen, broken, {name: (n, why[name]) for name, n in counts.items()}


def _stacked(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.DataFrame({name: _joined([p[name] for p in parts]) for name in parts[0].columns})


def _joined(parts: list[pl.Series]) -> pl.Series:
    """One after the other; parts of several types become texts where no type holds all."""
    frames = [part.to_frame() for part in parts]
    types = {part.dtype for part in parts}
    if len(types) == 1:
        return pl.concat(frames).to_series()
    if any(t == pl.String for t in types) and not any(t == pl.List for t in types):
        return pl.concat([f.cast(pl.String) for f in frames]).to_series()
    try:
        return pl.concat(frames, how="vertical_relaxed").to_series()
    except pl.exceptions.PolarsError:
        text = pl.List(pl.String) if any(t == pl.List for t in types) else pl.String
        return pl.concat([f.cast(text) for f in frames]).to_series()

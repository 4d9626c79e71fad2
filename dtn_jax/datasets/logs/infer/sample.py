"""A sample of a log's rows: from its beginning to its end, in bounded time and memory."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.formula.times import Type
from dtn_jax.datasets.logs.infer.columns import FEW
from dtn_jax.datasets.logs.raw import read as raw_read
from dtn_jax.datasets.logs.raw import units as raw_units
from dtn_jax.datasets.logs.raw.files import FILE, RawFile, open_file
from dtn_jax.datasets.logs.raw.unit import Types, Unit
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError

ROWS = 500_000  # that are looked at
BYTES = 256 << 20  # that they may take
FILES = 100  # of which the columns are looked at
PLACES = 50  # of a larger log, in which rows are read
PIECE = 1 << 20  # bytes of a text file that a place may have
WHOLE = 64 << 20  # bytes of text files up to which their lines are counted
CHUNK = 4096  # rows


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
    some = [files[n] for n in _spread(len(files), FILES)]
    size = sum(file.size for file in files)
    units, covered = _units(some, input, size)
    exact = covered == size and all(unit.rows >= 0 for unit in units)
    rows = sum(max(unit.rows, 0) for unit in units) * size // max(covered, 1)
    few = exact and rows <= ROWS
    units = units if few else [units[n] for n in _spread(len(units), PLACES)]
    columns, refused = usable(schemas(some, input))
    lines = {name: "" for u in units for name in _names(some[u.file], u)}
    columns += [name for name in lines if name not in {*columns, *refused}]
    while True:
        frames, broken, blamed, cut = _rows(some, units, columns, input, few)
        height = sum(frame.height for frame in frames)
        # A column that alone makes rows unreadable is left out, and the rows are there again.
        bad = {n: why for n, (count, why) in blamed.items() if count > FEW * (height + broken)}
        bad |= {n: "it holds lists and single values" for n in columns if _is_mixed(n, frames)}
        if not bad:
            break
        refused |= bad
        columns = [name for name in columns if name not in bad]
    if not height:
        raise UserError(f"the {len(files):,} raw files hold no rows that can be read")
    if covered == size and not cut:
        rows, exact = height + broken, True
    frame = pl.concat(frames, how="vertical_relaxed")
    seen = len({unit.file for unit in units})
    return Sample(frame, refused, len(files), seen, rows, exact, broken, input)


def schemas(files: Sequence[RawFile], input: InputSpec) -> dict[str, Types]:
    """{address: the file's columns}."""
    found = raw_read.schemas(files, input)
    return {a: {n: t for n, t in types.items() if n != FILE} for a, types in found.items()}


def _spread(count: int, most: int) -> list[int]:
    """At most so many of 0 to count - 1, from first to last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()


def _units(files: Sequence[RawFile], input: InputSpec, size: int) -> tuple[list[Unit], int, bool]:
    """Where rows can be read, how many there are in all `size` bytes of the log (0 is not known),
    and whether that is counted, not estimated."""
    units, covered = [], 0  # bytes whose rows are counted
    for number, file in enumerate(files):
        if size <= WHOLE or file.packed or file.format in ("parquet", "arrow"):
            own = raw_units.plan([file], input, rows=100_000, size=PIECE)
            covered += file.size
        else:
            own = list(_pieces(file))
            covered += sum(unit.stop - unit.start for unit in own)
        units += [dataclasses.replace(unit, file=number) for unit in own]
    return units, covered


def _pieces(file: RawFile) -> Iterator[Unit]:
    """Pieces of a large text file, from one line end to another; without its first line, which may
    be a header."""
    with open_file(file.address, mapped=False) as source:
        for at in range(0, file.size, max(file.size // PLACES, PIECE)):
            source.seek(at)
            data = source.read(PIECE)
            first, last = data.find(b"\n") + 1, data.rfind(b"\n") + 1
            if last > first:
                yield Unit(0, at + first, at + last, 1, data.count(b"\n", first, last))


def _names(file: RawFile, unit: Unit) -> set[str]:
    """The names in a unit of JSON lines, where any line may have some that the first ones lack."""
    if file.format != "jsonl":
        return set()
    names = set()
    with open_file(file.address, mapped=False) as source:
        text = gzip.GzipFile(fileobj=source) if file.packed else io.BufferedReader(source)
        text.seek(unit.start)
        for line in itertools.islice(text, unit.rows if unit.rows >= 0 else ROWS):
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                names.update(row if isinstance(row, dict) else ())
    return names


def _rows(
    files: Sequence[RawFile], units: Sequence[Unit], columns: list[str], input: InputSpec, few: bool
) -> tuple[list[pl.DataFrame], int, dict[str, tuple[int, str]], bool]:
    """Frames, broken rows, {column: (rows that it broke, why)}, whether a unit has more rows.

    Each unit has its share of the rows and bytes that earlier ones leave; of few rows, all.
    """
    frames, broken, cut, rows, size = [], 0, False, ROWS, BYTES
    counts: dict[str, tuple[int, str]] = {}
    with progress.Rows() as bars:
        places = bars.count(units, "looking at", len(units), rows=lambda _: 1, unit="places")
        for n, unit in enumerate(places):
            left, share = ROWS if few else -(-rows // (len(units) - n)), size // (len(units) - n)
            for chunk in raw_read.chunks(files[unit.file], unit, columns, input, min(CHUNK, left)):
                frame = chunk.frame.head(left)
                frames.append(frame)
                broken += len(chunk.broken)
                for reject in chunk.broken:
                    if reject.column:
                        why = f"{reject.reason}: {reject.value[:40]}"
                        counts[reject.column] = counts.get(reject.column, (0,))[0] + 1, why
                used = frame.estimated_size()
                rows, size, left, share = (
                    rows - frame.height,
                    size - used,
                    left - frame.height,
                    share - used,
                )
                if left <= 0 or share <= 0:
                    cut = True
                    break
    return frames, broken, counts, cut


def _is_mixed(name: str, frames: Sequence[pl.DataFrame]) -> bool:
    types = {frame[name].dtype for frame in frames} - {pl.Null}
    return len({dtype == pl.List for dtype in types}) > 1


def usable(types: Mapping[str, Types]) -> tuple[list[str], dict[str, str]]:
    """The columns that no file lacks, all of a readable type, and why others are refused."""
    refused = {}
    names = dict.fromkeys(name for found in types.values() for name in found)
    for name in names:
        lost = [address for address, found in types.items() if name not in found]
        kinds = {_kind(found[name]): a for a, found in types.items() if name in found}
        kinds.pop("nothing", None)
        if lost:
            refused[name] = f"{lost[0]} has no such column"
        elif "nested" in kinds:
            refused[name] = "nested: write its parts as columns of their own"
        elif not 0 < len(name) <= 200:
            refused[name] = "its name is too long" if name else "it has no name"
        elif len(kinds) > 1 and set(kinds) != {"numbers", "texts"}:
            refused[name] = f"it holds {' and '.join(f'{k} in {a}' for k, a in kinds.items())}"
    return [name for name in names if name not in refused], refused


def _kind(dtype: Type) -> str:
    """Types of one kind can be read as one another."""
    if dtype == pl.List:
        nested = dtype.inner.is_nested() or dtype.inner == pl.Duration
        return "nested" if nested else "lists"
    if dtype.is_nested():
        return "nested"
    if dtype.is_numeric():
        return "numbers"
    return {pl.Null: "nothing", pl.String: "texts"}.get(dtype, f"{dtype.base_type()}")

"""A sample of a log's rows: from its beginning to its end, in bounded time and memory."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import gzip
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.infer.columns import FEW
from dtn_jax.datasets.logs.raw import read as raw_read
from dtn_jax.datasets.logs.raw.files import FILE, RawFile, open_file
from dtn_jax.datasets.logs.raw.types import Types
from dtn_jax.datasets.logs.raw.unit import Reject, Unit
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.datasets.logs.times import Type
from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError

ROWS = 500_000  # that are looked at
BYTES = 256 << 20  # that they may take
FILES = 100  # of which the columns are looked at
PLACES = 50  # of a larger log, in which rows are read
PIECE = 1 << 20  # bytes of a text file that a place may have
WHOLE = 64 << 20  # bytes of text files up to which their lines are counted
CHUNK = 2048  # rows
UNSEEN = "the lines by which prepare knows a file's columns lack it"


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows of a log.

    Attributes:
      frame: the columns that can be read.
      refused: {column that cannot be: the reason}.
      whole: whether it is the whole log.
      size: '500,000 of about 12,000,000 rows, from 50 of 214 files'.
      broken: rows of the sample that could not be read.
      input: how files were read.
    """

    frame: pl.DataFrame
    refused: dict[str, str]
    whole: bool
    size: str
    broken: int
    input: InputSpec


def read(files: Sequence[RawFile], input: InputSpec) -> Sample:
    """Reads a sample.

    Raises:
      UserError: a file cannot be read, or there are no rows.
    """
    some = [files[n] for n in _spread(len(files), FILES)]
    size, units, covered = sum(file.size for file in files), [], 0  # bytes of the units
    for number, file in enumerate(some):
        if size <= WHOLE or file.packed or file.format in ("parquet", "arrow"):
            parts = raw_read.plan([file], input, rows=100_000, size=PIECE)
            covered += file.size
        else:
            parts = list(_pieces(file))
            covered += sum(unit.stop - unit.start for unit in parts)
        units += [dataclasses.replace(unit, file=number) for unit in parts]
    rows = sum(max(unit.rows, 0) for unit in units) * size // max(covered, 1)  # 0: not known
    exact = covered == size and all(unit.rows >= 0 for unit in units)
    few = exact and rows <= ROWS
    units = units if few else [units[n] for n in _spread(len(units), PLACES)]
    columns, refused = usable(schemas(some, input))
    names = [name for unit in units for name in _names(some[unit.file], unit)]
    refused |= {n: UNSEEN for n in dict.fromkeys(names) if n not in {*columns, *refused}}
    while True:
        frames, rejects, cut = _rows(some, units, columns, input, few)
        height, broken = sum(frame.height for frame in frames), len(rejects)
        # A column that alone makes rows unreadable is left out, and the rows are there again.
        counts = collections.Counter(reject.column for reject in rejects if reject.column)
        most = FEW * (height + broken)
        bad = [reject for reject in rejects if counts[reject.column] > most]
        if not bad:
            break
        refused |= {r.column: f"{r.reason}: {r.value[:40]}" for r in bad}
        columns = [name for name in columns if name not in refused]
    if not height:
        raise UserError(f"the {len(files):,} raw files hold no rows that can be read")
    whole, count = covered == size and not cut, len({unit.file for unit in units})
    of = f" of {'' if exact else 'about '}{rows:,}" if rows > height and not whole else ""
    which = f"all {count:,}" if count == len(files) else f"{count:,} of {len(files):,}"
    which = f"{which} files" if len(files) > 1 else "1 file"
    account = f"{'all ' * whole}{height:,}{of} rows, from {which}"
    frame = pl.concat(frames, how="vertical_relaxed")
    return Sample(frame, refused, whole, account, broken, input)


def schemas(files: Sequence[RawFile], input: InputSpec) -> dict[str, Types]:
    """{address: the file's columns}."""
    by_file = raw_read.schemas(files, input)
    return {a: {n: t for n, t in types.items() if n != FILE} for a, types in by_file.items()}


def _spread(count: int, most: int) -> list[int]:
    """At most so many of 0 to count - 1, from first to last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()


def _pieces(file: RawFile) -> Iterator[Unit]:
    """Pieces of a large text file, from one line end to another; without its first line, which may
    be a header."""
    with open_file(file.address, mapped=False) as source:
        step = max(file.size // PLACES, PIECE)
        for at in range(0, max(file.size - step, 0) + 1, step):
            source.seek(at)
            data = source.read(PIECE)
            first, last = data.find(b"\n") + 1, data.rfind(b"\n") + 1
            if last > first:
                yield Unit(0, at + first, at + last, 1, data.count(b"\n", first, last))


def _names(file: RawFile, unit: Unit) -> dict[str, None]:
    """The names in a unit of JSON lines, where any line may have some that the first ones lack."""
    names: dict[str, None] = {}
    if file.format != "jsonl":
        return names
    with open_file(file.address, mapped=False) as source:
        text = gzip.GzipFile(fileobj=source) if file.packed else io.BufferedReader(source)
        text.seek(unit.start)
        for line in itertools.islice(text, unit.rows if unit.rows >= 0 else ROWS):
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                names |= dict.fromkeys(row if isinstance(row, dict) else ())
    return names


def _rows(
    files: Sequence[RawFile], units: Sequence[Unit], columns: list[str], input: InputSpec, few: bool
) -> tuple[list[pl.DataFrame], list[Reject], bool]:
    """Frames, rows that cannot be read, and whether a unit has more of them.

    Each unit has its share of the rows and bytes, and what earlier ones left; of `few` rows, all.
    """
    frames, rejects, cut, rows, size = [], [], False, 0, 0
    with progress.Rows() as bars:
        places = bars.count(units, "looking at", len(units), rows=lambda _: 1, unit="places")
        for n, unit in enumerate(places, 1):
            share = 1 if few else n / len(units)
            for chunk in raw_read.chunks(files[unit.file], unit, columns, input, CHUNK):
                frames.append(chunk.frame.head(max(round(ROWS * share) - rows, 0)))
                rejects += chunk.broken
                rows, size = rows + frames[-1].height, size + frames[-1].estimated_size()
                if rows >= round(ROWS * share) or size >= BYTES * share:
                    cut = True
                    break
    return frames, rejects, cut


def usable(types: Mapping[str, Types]) -> tuple[list[str], dict[str, str]]:
    """The columns that no file lacks, all of a readable type, and why others are refused."""
    refused = {}
    names = dict.fromkeys(name for columns in types.values() for name in columns)
    for name in names:
        lacking = [address for address, columns in types.items() if name not in columns]
        kinds = {_kind(columns[name]): a for a, columns in types.items() if name in columns}
        kinds.pop("nothing", None)
        if lacking:
            refused[name] = f"{lacking[0]} has no such column"
        elif "nested" in kinds:
            refused[name] = "nested: write its parts as columns of their own"
        elif not 0 < len(name) <= 200:
            refused[name] = "its name is too long" if name else "it has no name"
        elif len(kinds) > 1 and set(kinds) != {"numbers", "texts"}:
            refused[name] = f"it holds {' and '.join(f'{k} in {a}' for k, a in kinds.items())}"
    return [name for name in names if name not in refused], refused


def _kind(dtype: Type) -> str:
    """Types of one kind can be read as one another."""
    lists = dtype == pl.List
    if dtype.is_nested() and (not lists or dtype.inner.is_nested() or dtype.inner == pl.Duration):
        return "nested"
    kinds = {pl.List: "lists", pl.Null: "nothing", pl.String: "texts"}
    base = dtype.base_type()
    return "numbers" if dtype.is_numeric() else kinds.get(base, str(base))

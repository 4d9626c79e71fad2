"""Where to look in a log of any size: units spread over its files, none of which is read whole."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from dtn_jax.datasets.logs.raw import csv, lines, read
from dtn_jax.datasets.logs.raw import units as raw_units
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.raw.unit import Types, Unit
from dtn_jax.datasets.logs.schema.spec import InputSpec

PLACES = 50  # in which rows are read
SECONDS = 15.0  # for the columns of files; of many files, some are left out
PIECE = 1 << 20  # bytes of a text file that a place may have
MOST = 500_000  # rows of a log all of whose places are used
WHOLE = 64 << 20  # bytes of text files that are read from their beginning to their end


@dataclasses.dataclass(frozen=True)
class Places:
    """Where rows are read.

    Attributes:
      units: in the order of the log.
      types: {place of a file: its columns}, of the files whose columns were looked at.
      rows: of the log; 0 is not known.
      exact: whether that is counted, not estimated.
    """

    units: list[Unit]
    types: dict[int, Types]
    rows: int
    exact: bool


def choose(files: Sequence[RawFile], input: InputSpec) -> Places:
    """Places from the first file to the last, and the columns of as many files as time allows.

    Raises:
      UserError: a file cannot be read.
    """
    begun, types, units, rows, bytes_seen = time.monotonic(), {}, {}, 0, 0
    whole = sum(file.size for file in files) <= WHOLE
    for number in spread(len(files)):
        if types and time.monotonic() - begun > SECONDS:
            break
        file = files[number]
        types[number] = read.schema(file, input)
        units[number] = _units(number, file, input, whole)
        known = [unit.rows for unit in units[number]]
        rows += sum(known) if min(known, default=0) >= 0 else _estimated(file)
        bytes_seen += file.size
    exact = len(types) == len(files) and all(u.rows >= 0 for found in units.values() for u in found)
    if bytes_seen and len(types) < len(files):
        rows = rows * sum(file.size for file in files) // bytes_seen
    every = [unit for number in sorted(units) for unit in units[number]]
    return Places(_few(every, whole), types, rows, exact)


def spread(count: int) -> list[int]:
    """0 to count - 1 in an order whose beginning covers all: first, last, middle, quarters."""
    found = dict.fromkeys([0, count - 1] if count else [])
    step = count - 1
    while len(found) < count:
        step = max(step / 2, 0.5)
        at = step
        while at < count:
            found.setdefault(int(at))
            at += step
    return list(found)


def _few(units: list[Unit], whole: bool) -> list[Unit]:
    total = sum(unit.rows for unit in units)
    if whole or len(units) <= PLACES or (all(u.rows >= 0 for u in units) and total <= MOST):
        return units
    kept = {round(n * (len(units) - 1) / (PLACES - 1)) for n in range(PLACES)}
    return [units[n] for n in sorted(kept)]


def _units(number: int, file: RawFile, input: InputSpec, whole: bool) -> list[Unit]:
    if whole or file.packed or file.format in ("parquet", "arrow"):
        found = raw_units.plan([file], input, rows=100_000, size=PIECE if not whole else WHOLE)
        return [dataclasses.replace(unit, file=number) for unit in found]
    start = csv.begins(file, input) if file.format == "csv" else lines.after_mark(file)
    step = max((file.size - start) // PLACES, PIECE)
    found = []
    for at in range(start, file.size, step):
        unit = lines.piece(file, start, at, min(at + PIECE, file.size))
        if unit:
            found.append(Unit(number, *unit, 1, -1))
    return found


def _estimated(file: RawFile) -> int:
    """The rows of a text file, by the length of its first lines; 0 of a packed one."""
    if file.packed or file.format == "arrow":
        return 0
    text = lines.head(file, 1 << 18)
    return file.size * text.count(b"\n") // max(len(text), 1)

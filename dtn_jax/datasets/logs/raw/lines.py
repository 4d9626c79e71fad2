"""Text files as lines: where they begin, ranges of them for tasks, and blocks to parse at once."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from dtn_jax.datasets.logs.raw.files import RawFile, open_file
from dtn_jax.datasets.logs.raw.unit import Unit
from dtn_jax.errors import UserError
from dtn_jax.shapes import Int, UInt8

BLOCK = 8 << 20  # bytes that are parsed at once
LONGEST = 64 << 20  # bytes of a line; a file that has a longer one is no text
SCANNED = 1 << 20  # bytes in which line ends are counted at once, from the processor's cache
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16
NEWLINE, RETURN = 10, 13

NOT_UTF8 = "bytes that are not UTF-8"
NUL = "a NUL byte in the line"


@dataclasses.dataclass(frozen=True)
class Lines:
    """Whole lines of a text file.

    Attributes:
      data: `[N]`, their bytes.
      starts: `[L]`, where each begins.
      ends: `[L]`, where its text ends, before the line feed, or carriage return and line feed.
      first: the number of the first in the file.
    """

    data: UInt8[np.ndarray, " N"]
    starts: Int[np.ndarray, " L"]
    ends: Int[np.ndarray, " L"]
    first: int

    def line(self, index: int) -> bytes:
        return self.data[self.starts[index] : self.ends[index]].tobytes()

    def holding(self, value: int) -> Int[np.ndarray, " K"]:
        """The lines that hold this byte."""
        return np.unique(self.at(np.flatnonzero(self.data == value)))

    def at(self, positions: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
        """The lines of these bytes."""
        return np.searchsorted(self.starts, positions, side="right") - 1


@contextlib.contextmanager
def opened(file: RawFile) -> Iterator[BinaryIO]:
    """The file's text, unpacked; what is wrong with a gzip file is told with its name."""
    with open_file(file.address, mapped=False) as source:
        try:
            if file.packed:
                with gzip.GzipFile(fileobj=source, mode="rb") as unpacked:
                    yield unpacked
            else:
                yield source
        except (EOFError, zlib.error, OSError) as error:  # a broken gzip file is an OSError
            raise UserError(f"{file.address} cannot be read to its end: {error}") from None


def head(file: RawFile, size: int) -> bytes:
    """The first lines, as many as `size` bytes hold, and at least one; without a byte order mark.

    Raises:
      UserError: the text is UTF-16, or no text at all.
    """
    with opened(file) as source:
        text = source.read(size)
        while b"\n" not in text and (more := source.read(size)):
            text += more
            _check_length(file, text, 1)
        whole = not source.read(1)
    if text.startswith(OTHER_MARKS):
        raise UserError(f"{file.address} is UTF-16; expected UTF-8")
    text = text if whole else text[: text.rfind(b"\n") + 1]
    return text.removeprefix(BYTE_ORDER_MARK)


def after_mark(file: RawFile) -> int:
    """Bytes of the byte order mark."""
    with opened(file) as source:
        return 3 if source.read(3) == BYTE_ORDER_MARK else 0


def ranges(file: RawFile, start: int, first: int, size: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first line, lines) of pieces of about `size` bytes, cut at line ends.

    Args:
      start: the byte where the first line begins, whose number is `first`.
    """
    if file.packed:
        return [(start, -1, first, -1)]
    pieces = []
    with opened(file) as source:
        source.seek(start)
        begun, place, lines = start, start, 0
        while data := source.read(SCANNED):
            # The first line end at or after `size` bytes cuts; it may be in a later read.
            cut = data.find(b"\n", max(0, begun + size - place - 1)) + 1
            data = data[:cut] if cut else data
            lines += int(np.count_nonzero(np.frombuffer(data, np.uint8) == NEWLINE))
            place += len(data)
            if cut:
                pieces.append((begun, place, first, lines))
                begun, first, lines = place, first + lines, 0
                source.seek(place)
        if place > begun:
            source.seek(place - 1)
            last = source.read(1)
            pieces.append((begun, place, first, lines + (last != b"\n")))
    return pieces


def blocks(file: RawFile, unit: Unit, rows: int) -> Iterator[Lines]:
    """A unit's lines, at most `rows` and about BLOCK bytes at a time."""
    with opened(file) as source:
        source.seek(unit.start)
        place, rest, first = unit.start, b"", unit.first_row
        while True:
            wanted = BLOCK if unit.stop < 0 else min(BLOCK, unit.stop - place)
            data = source.read(wanted) if wanted else b""
            place += len(data)
            text = rest + data
            if not text:
                break
            cut = text.rfind(b"\n") + 1 if data else len(text)
            rest = text[cut:]
            _check_length(file, rest, first)
            for lines in _split(text[:cut], first, rows):
                yield lines
                first += len(lines.starts)
            if not data:
                break
    unit.check(file.address, first - unit.first_row)


def _split(text: bytes, first: int, rows: int) -> Iterator[Lines]:
    data = np.frombuffer(text, np.uint8)
    stops = np.flatnonzero(data == NEWLINE)
    if len(text) and data[-1] != NEWLINE:  # the file's last line
        stops = np.append(stops, len(data))
    starts = np.append(0, stops[:-1] + 1)
    for n in range(0, len(stops), rows):
        low, high = starts[n], min(stops[n : n + rows][-1] + 1, len(data))
        begins, ends = starts[n : n + rows] - low, stops[n : n + rows] - low
        part = data[low:high]
        before = part[np.maximum(ends - 1, 0)]
        ends = ends - ((before == RETURN) & (ends > begins))
        yield Lines(part, begins, ends, first + n)


def not_utf8(lines: Lines) -> list[int]:
    """The lines whose bytes are not UTF-8."""
    try:
        lines.data.tobytes().decode()
        return []
    except UnicodeDecodeError:
        suspected = np.unique(lines.at(np.flatnonzero(lines.data >= 0x80)))
    return [n for n in suspected.tolist() if not _decodes(lines.line(n))]


def _decodes(line: bytes) -> bool:
    try:
        line.decode()
        return True
    except UnicodeDecodeError:
        return False


def shown(line: bytes) -> str:
    """A broken line for a message."""
    return line[:400].decode(errors="replace")


def _check_length(file: RawFile, text: bytes, line: int) -> None:
    if len(text) > LONGEST and b"\n" not in text:
        raise UserError(
            f"{file.address}: line {line} is longer than {LONGEST >> 20} MiB; is it a text file?"
        )

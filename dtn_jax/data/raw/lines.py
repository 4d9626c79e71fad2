"""Text files as lines: where they begin, ranges of them for tasks, and blocks to parse at once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from dtn_jax.data.raw.files import RawFile, open_file
from dtn_jax.data.raw.types import Unit
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool, Int, UInt8

BLOCK = 8 << 20  # bytes that are parsed at once
LONGEST = 64 << 20  # bytes of a line; a file that has a longer one is no text
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
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

    def shown(self, index: int) -> str:
        """A broken line for a message."""
        return self.line(index)[:400].decode(errors="replace")

    def at(self, positions: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
        """The lines of these bytes."""
        return np.searchsorted(self.starts, positions, side="right") - 1

    def only(self, kept: Bool[np.ndarray, " L"]) -> UInt8[np.ndarray, " K"]:
        """The bytes of some of the lines."""
        return self.data[np.repeat(kept, np.diff(self.starts, append=len(self.data)))]

    @functools.cached_property
    def text(self) -> bytes:
        return self.data.tobytes()

    def places(self, sign: int) -> Int[np.ndarray, " K"]:
        """Where a byte stands; quick where it does not."""
        return np.flatnonzero(self.data == sign) if bytes([sign]) in self.text else np.empty(0, int)

    def not_text(self) -> dict[int, str]:
        """{line: what is wrong with its bytes}."""
        bad: dict[int, str] = {}
        try:
            self.text.decode()
        except UnicodeDecodeError:
            for n in np.unique(self.at(np.flatnonzero(self.data >= 0x80))).tolist():
                try:
                    self.line(n).decode()
                except UnicodeDecodeError:
                    bad[n] = NOT_UTF8
        return bad | dict.fromkeys(self.at(self.places(0)).tolist(), NUL)


@contextlib.contextmanager
def opened(file: RawFile) -> Iterator[BinaryIO]:
    """The file's text, unpacked; what is wrong with a gzip file is told with its name."""
    with open_file(file.address, mapped=False) as source:
        try:
            with (
                gzip.GzipFile(fileobj=source) if file.packed else io.BufferedReader(source) as text
            ):
                yield text
        except (EOFError, zlib.error, OSError) as error:  # a broken gzip file is an OSError
            raise UserError(f"{file.address} cannot be read to its end: {error}") from None


def head(file: RawFile, size: int) -> bytes:
    """The first lines in `size` bytes, or at least one; without a byte order mark."""
    with opened(file) as source:
        text = source.read(size)
        whole = text[: text.rfind(b"\n") + 1] or text + source.readline(LONGEST)
    return (whole if len(text) == size else text).removeprefix(BYTE_ORDER_MARK)


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
        while data := source.read(size):
            lines = data.count(b"\n")
            if not data.endswith(b"\n"):
                lines, data = lines + 1, data + source.readline()
            pieces.append((start, start + len(data), first, lines))
            start, first = start + len(data), first + lines
    return pieces


def blocks(file: RawFile, unit: Unit, rows: int) -> Iterator[Lines]:
    """A unit's lines, at most `rows` and about BLOCK bytes at a time."""
    with opened(file) as source:
        source.seek(unit.start)
        place, rest, first, data = unit.start, b"", unit.first_row, b"\n"
        while data:
            data = source.read(BLOCK if unit.stop < 0 else min(BLOCK, unit.stop - place))
            place, text = place + len(data), rest + data
            cut = text.rfind(b"\n") + 1 if data else len(text)
            rest = text[cut:]
            if len(rest) > LONGEST:
                what = f"a line longer than {LONGEST >> 20} MiB; is it a text file?"
                raise UserError(f"{file.address}, line {first}: {what}")
            for lines in _split(text[:cut], first, rows):
                yield lines
                first += len(lines.starts)


def _split(text: bytes, first: int, rows: int) -> Iterator[Lines]:
    data = np.frombuffer(text, np.uint8)
    stops = np.flatnonzero(data == NEWLINE)
    if len(data) and data[-1] != NEWLINE:  # the file's last line
        stops = np.append(stops, len(data))
    starts = np.append(0, stops[:-1] + 1)
    returns = (data[np.maximum(stops - 1, 0)] == RETURN) & (stops > starts)
    for n in range(0, len(stops), rows):
        at, low = slice(n, n + rows), starts[n]
        part = data[low : stops[at][-1] + 1]
        yield Lines(part, starts[at] - low, stops[at] - returns[at] - low, first + n)

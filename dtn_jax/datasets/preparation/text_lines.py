"""Reads the lines of large text files, plain or gzip, in chunks, and counts damaged ones."""

from __future__ import annotations

import codecs
import dataclasses
import gzip
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dtn_jax.errors import UserError

CHUNK_BYTES = 4 << 20  # read at a time; more is slower, out of the processor's caches
SHOWN = 60  # characters of a damaged line
NUMBER, TEXT = "number", "text"  # the columns of a chunk of lines


class Reason(NamedTuple):
    """What is wrong with a line.

    Attributes:
      text: for the reader of the account.
      left_out: the whole line is; else the rest of it is used.
      limited: such lines count towards the percentage that may be damaged.
    """

    text: str
    left_out: bool = True
    limited: bool = True


ENCODING = Reason("not UTF-8")


@dataclasses.dataclass
class Found:
    """Lines with one reason: how many, the number of the first, and how that one begins."""

    lines: int
    first: int
    begins: str


class Damage:
    """The account of one file, or of the lines of it that a split has.

    Attributes:
      path: the file.
      split: the split, where the file holds more than one.
      lines: how many lines were read.
      passed: how many were passed over, as another split's.
      found: what was wrong, by reason.
    """

    def __init__(self, path: pathlib.Path, split: str = ""):
        self.path, self.split = path, split
        self.lines, self.passed, self.found = 0, 0, {}

    def add(self, reason: Reason, numbers: np.ndarray, texts: pa.Array) -> None:
        """Counts these lines."""
        if not len(numbers):
            return
        if reason not in self.found:
            text = texts[0].as_py()
            text = text.decode(errors="replace") if isinstance(text, bytes) else text
            begins = text[:SHOWN] + ("…" if len(text) > SHOWN else "")
            self.found[reason] = Found(0, int(numbers[0]), begins)
        self.found[reason].lines += len(numbers)

    def include(self, other: Damage) -> None:
        """Adds the account of other lines of the same file."""
        self.lines += other.lines
        for reason, found in other.found.items():
            known = self.found.get(reason, found)
            lines = found.lines + (known.lines if reason in self.found else 0)
            first = min(known, found, key=lambda f: f.first)
            self.found[reason] = dataclasses.replace(first, lines=lines)

    @property
    def left_out(self) -> int:
        return sum(found.lines for reason, found in self.found.items() if reason.left_out)

    @property
    def limited(self) -> int:
        return sum(found.lines for reason, found in self.found.items() if reason.limited)

    def account(self) -> list[str]:
        """A line of text for each reason, the most frequent first."""
        return [
            f"{self.path.name}: {found.lines:,} of {self.lines:,} lines "
            f"{'skipped' if reason.left_out else 'used in part'}: {reason.text}; "
            f"the first is line {found.first}: {found.begins!r}"
            for reason, found in sorted(self.found.items(), key=lambda kv: -kv[1].lines)
        ]

    def check(self, percent: int) -> None:
        """Raises UserError if no line is left, or more than `percent` of them are damaged."""
        problem = too_many(self.limited, self.lines, percent)
        if problem:
            raise UserError(f"{self.path}: {problem}. {' '.join(self.account())}")
        if not self.lines - self.left_out:
            problem = "holds no lines"
            if self.lines:
                problem = f"holds no well-formed line. {' '.join(self.account())}"
            elif self.passed:
                problem = (
                    f"is too small: none of its {self.passed:,} lines falls into {self.split}, "
                    "which has a fixed share of them; expected a file of more lines"
                )
            raise UserError(f"{self.path} {problem}")

    def facts(self) -> dict:
        """For notes.json."""
        reasons = {reason.text: dataclasses.asdict(f) for reason, f in self.found.items()}
        counts = {"lines": self.lines, "left_out": self.left_out, "limited": self.limited}
        return counts | {"damage": reasons}


def too_many(damaged: int, lines: int, percent: int) -> str:
    """The problem with so many damaged lines, or '' if they are allowed."""
    if damaged * 100 <= percent * lines:
        return ""
    return (
        f"{damaged:,} of {lines:,} lines are damaged; at most {percent} % may be (option damaged)"
    )


def by_file(accounts: Iterable[Damage]) -> list[Damage]:
    """One account per file, in order of first appearance."""
    files: dict[pathlib.Path, Damage] = {}
    for account in accounts:
        files.setdefault(account.path, Damage(account.path)).include(account)
    return list(files.values())


def read_lines(
    path: pathlib.Path, damage: Damage, wanted: Callable[[pa.Array], np.ndarray] | None = None
) -> Iterator[pa.RecordBatch]:
    """Chunks of lines, columns NUMBER (int64, from 1) and TEXT.

    Args:
      path: the file; `.gz` is unpacked while reading.
      damage: counts the lines, and those that are not UTF-8, which are skipped.
      wanted: makes a mask of the lines to read, from their bytes; the others are passed over.

    Raises:
      UserError: the file cannot be read.
    """
    number = 1
    for chunk in _chunks(path):
        texts = pc.split_pattern(pa.array([chunk.removesuffix(b"\n")]), "\n").flatten()
        numbers = np.arange(number, number + len(texts))
        number += len(texts)
        if wanted is not None:
            mask = wanted(texts)
            damage.passed += int((~mask).sum())
            texts, numbers = texts.filter(pa.array(mask)), numbers[mask]
        damage.lines += len(numbers)
        try:
            texts = texts.cast(pa.string())
        except pa.ArrowInvalid:
            good = np.asarray([_is_utf8(text.as_py()) for text in texts], bool)
            damage.add(ENCODING, numbers[~good], texts.filter(pa.array(~good)))
            texts, numbers = texts.filter(pa.array(good)).cast(pa.string()), numbers[good]
        yield pa.RecordBatch.from_arrays([pa.array(numbers), texts], [NUMBER, TEXT])


def _chunks(path: pathlib.Path) -> Iterator[bytes]:
    """The file's bytes in pieces of whole lines, without the mark that some editors begin with."""
    rest = []
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            rest.append(file.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8))
            while data := file.read(CHUNK_BYTES):
                end = data.rfind(b"\n") + 1
                if end:
                    yield _unix(b"".join([*rest, data[:end]]))
                    rest = []
                rest.append(data[end:])
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if any(rest):
        yield _unix(b"".join(rest)).removesuffix(b"\r")


def _unix(text: bytes) -> bytes:
    """Lines without the carriage return that some systems end them with."""
    return text.replace(b"\r\n", b"\n") if b"\r" in text else text


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True

"""What is looked at: a sample of a log's rows, from its beginning to its end, and its columns."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow.compute as pc

from dtn_jax.data import progress, times
from dtn_jax.data.cast import typed
from dtn_jax.data.clean import Bad
from dtn_jax.data.raw import read as raw_read
from dtn_jax.data.raw.files import FILE, RawFile
from dtn_jax.data.raw.lines import opened
from dtn_jax.data.raw.types import Type, Types, Unit, read_as
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.data.stages.account import Account
from dtn_jax.errors import UserError
from dtn_jax.shapes import Float64

ROWS = 500_000  # that are looked at
BYTES = 256 << 20  # that they may take
FILES = 100  # of which the columns are looked at
PLACES = 50  # of a larger log, in which rows are read
PIECE = 1 << 20  # bytes of a text file that a place may have
WHOLE = 64 << 20  # bytes of text files up to which their lines are counted
CHUNK = 2048  # rows
STRAY = 1e-3  # share of rows that may have another value than 0 and 1, or lie elsewhere
FEW = 1e-4  # share of the rows in which a value may be bad: a tenth of what prepare allows
MOST = 1_000_000  # values of a column's lists that are looked at one by one
NUMBER = r"^\s*-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?\s*$"
INTEGER = r"^\s*-?\d{1,18}\s*$"
NO_NUMBER = r"^\s*-?(0\d|\d{19})"  # 007, and what no number holds in full
WRITTEN = (  # 2026030112, and with minutes and seconds: no unit, though it looks like seconds
    r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d){0,2}$"
)
MISSING = ("\\N", "NULL", "null", "NaN", "nan", "NA", "N/A", "None", "none", "-")
KINDS = {pl.Boolean: "truth", pl.String: "text"}
TRUTHS = {"true": True, "false": False}
LONGEST = 24  # characters of an example


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows of a log.

    Attributes:
      frame: the columns that can be read.
      refused: {column that cannot be: the reason}.
      whole: whether it is the whole log.
      size: '500,000 of about 12,000,000 rows, from 50 of 214 files'.
      broken: the account of its rows, those that could not be read included.
      input: how files were read.
    """

    frame: pl.DataFrame
    refused: dict[str, str]
    whole: bool
    size: str
    broken: Account
    input: InputSpec


def read(files: Sequence[RawFile], input: InputSpec) -> Sample:
    """Reads a sample.

    Raises:
      UserError: a file cannot be read, or there are no rows.
    """
    some = [files[n] for n in _spread(len(files), FILES)]
    size, units, covered = sum(file.size for file in files), [], 0  # bytes of the units
    for number, file in enumerate(some):
        large = size > WHOLE and file.format in ("csv", "jsonl") and not file.packed
        parts = list(_pieces(file) if large else raw_read.plan([file], input, 100_000, PIECE))
        covered += sum(unit.stop - unit.start for unit in parts) if large else file.size
        units += [dataclasses.replace(unit, file=number) for unit in parts]
    rows = sum(max(unit.rows, 0) for unit in units) * size // max(covered, 1)  # 0: not known
    few = covered == size and all(unit.rows >= 0 for unit in units) and rows <= ROWS
    units = units if few else [units[n] for n in _spread(len(units), PLACES)]
    types = raw_read.schemas(some, input)
    if input.format == "jsonl":  # any line may have names that a file's first lines lack
        late = {name: pl.Null() for unit in units for name in _names(some[unit.file], unit)}
        types = {address: {**of_file, **late, **of_file} for address, of_file in types.items()}
    columns, refused = usable(types)
    while True:
        frames, broken, cut = _rows(some, units, columns, input, few)
        height = sum(frame.height for frame in frames)
        # A column that alone makes rows unreadable is left out, and the rows are there again.
        rejects = [reject for _, reject in broken.kept if reject.column]
        counts = collections.Counter(reject.column for reject in rejects)
        most = FEW * (height + broken.rejected)
        bad = {r.column: f"{r.reason}: {r.value[:40]}" for r in rejects if counts[r.column] > most}
        refused |= bad
        columns = [name for name in columns if name not in bad]
        if not bad:
            break
    if not height:
        raise UserError(f"the {len(files):,} raw files hold no rows that can be read")
    whole, count = covered == size and not cut, len({unit.file for unit in units})
    of = f" of about {rows:,}" if rows > height and not whole else ""
    account = f"{'all ' * whole}{height:,}{of} rows, from {count:,} of {len(files):,} files"
    frame = pl.concat(frames, how="vertical_relaxed")
    return Sample(frame, refused, whole, account, broken, input)


def _spread(count: int, most: int) -> list[int]:
    """At most so many of 0 to count - 1, from first to last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()


def _pieces(file: RawFile) -> Iterator[Unit]:
    """Pieces of a large text file, from one line end to another; without its first line, which may
    be a header."""
    with opened(file) as source:
        step = max(file.size // PLACES, PIECE)
        for at in range(0, max(file.size - step, 0) + 1, step):
            source.seek(at)
            data = source.read(PIECE)
            first, last = data.find(b"\n") + 1, data.rfind(b"\n") + 1
            if last > first:
                yield Unit(0, at + first, at + last, 1, data.count(b"\n", first, last))


def _names(file: RawFile, unit: Unit) -> Iterator[str]:
    """The names in the objects of a unit of JSON lines."""
    with opened(file) as text:
        text.seek(unit.start)
        for line in itertools.islice(text, unit.rows if unit.rows >= 0 else ROWS):
            with contextlib.suppress(ValueError, TypeError):
                yield from dict(json.loads(line))


def _rows(
    files: Sequence[RawFile], units: Sequence[Unit], columns: list[str], input: InputSpec, few: bool
) -> tuple[list[pl.DataFrame], Account, bool]:
    """Frames, the account of rows that cannot be read, and whether a unit has more rows.

    Each unit has its share of the rows and bytes, and what earlier ones left; of `few` rows, all.
    """
    frames, account, cut, rows, size = [], Account(), False, 0, 0
    with progress.Rows() as bars:
        places = bars.count(units, "looking at", len(units), rows=lambda _: 1, unit="places")
        for n, unit in enumerate(places, 1):
            share, file = 1 if few else n / len(units), files[unit.file]
            place = file.address
            if unit.start and unit.first_row == 1:  # nobody knows the lines before a large file's
                place += f", from byte {unit.start:,} on"
            for chunk in raw_read.chunks(file, unit, columns, input, CHUNK):
                bad = Bad(chunk.numbers, place, account)
                bad.broken(chunk.broken)
                frame = pl.DataFrame([typed(c, read_as(c.dtype), bad) for c in chunk.frame])
                frame = frame.filter(pl.Series(bad.good))
                frames.append(frame.head(max(round(ROWS * share) - rows, 0)))
                rows, size = rows + frames[-1].height, size + frames[-1].estimated_size()
                if rows >= round(ROWS * share) or size >= BYTES * share:
                    cut = True
                    break
    return frames, account, cut


def usable(types: Mapping[str, Types]) -> tuple[list[str], dict[str, str]]:
    """The columns that no file lacks, all of a readable type, and why others are refused."""
    names = dict.fromkeys(name for columns in types.values() for name in columns if name != FILE)
    refused = {}
    for name in names:
        kinds = {_kind(columns.get(name)): address for address, columns in types.items()}
        held = kinds.keys() - {"nothing"}
        alike = len(held) <= 1 or held == {"numbers", "texts"}
        if not alike or not name or held & {"nested", "absent"}:
            refused[name] = f"it is {' and '.join(f'{k} in {a}' for k, a in kinds.items())}"
    return [name for name in names if name not in refused], refused


def _kind(dtype: Type | None) -> str:
    """Types of one kind can be read as one another."""
    if dtype is None:
        return "absent"
    if dtype == pl.List and not dtype.inner.is_nested() and dtype.inner != pl.Duration:
        return "lists"
    if dtype.is_nested():
        return "nested"
    kinds = {pl.Null: "nothing", pl.String: "texts"}
    return "numbers" if dtype.is_numeric() else kinds.get(dtype, str(dtype.base_type()))


class Column:
    """A column.

    Attributes:
      raw: as it was read.
      lengths: of lists, the values of each; -1 is a missing list. None of others.
      length: of all lists, at least 2; 0 where they differ.
      values: numbers and truths that stand as texts read as such; NaN is missing. Of lists, what is
        in them, one list's after another's; of many long ones, of every n-th list.
      kind: number, truth, text; '' of others.
      codes: the number of each value in `different`; -1 is missing.
      different: the values, each once, in the order in which they first appear.
      counts: how often each of these is there.
      known: how many values are not missing.
      missing: the share of missing values, or lists.
      infinite: the share of numbers that are infinite.
      is_finite: whether all values are numbers, none missing or infinite.
      is_whole, is_fraction: whether all numbers are whole, by type or value, or not.
    """

    def __init__(self, raw: pl.Series):
        self.raw, self.name, self.is_list = raw, raw.name, raw.dtype == pl.List
        self.lengths, self.length, values = None, 0, raw
        if self.is_list:
            self.lengths = raw.list.len().cast(pl.Int64).fill_null(-1).to_numpy()
            sizes = np.unique(self.lengths[self.lengths >= 0])
            self.length = int(sizes[0]) if len(sizes) == 1 and sizes[0] > 1 else 0
            filled = raw.filter(raw.list.len() > 0)
            values = filled.gather_every(-(-int(filled.list.len().sum()) // MOST) or 1).explode()
        if values.dtype.is_decimal():
            values = values.cast(pl.Float64)
        elif values.dtype in (pl.String, pl.Categorical, pl.Enum):
            values = _read(values.cast(pl.String))
        real = values.dtype.is_float()
        self.values = values = values.fill_nan(None) if real else values
        self.kind = KINDS.get(values.dtype, "number" if values.dtype.is_numeric() else "")
        physical = values.cast(pl.Int8) if values.dtype in (pl.Boolean, pl.Null) else values
        encoded = pc.dictionary_encode(physical.rechunk().to_arrow())
        self.codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        self.different = known = pl.from_arrow(encoded.dictionary)
        self.distinct = len(known)
        self.counts = np.bincount(self.codes[self.codes >= 0], minlength=self.distinct)
        self.known, rows = int(self.counts.sum()), max(len(raw), 1)
        self.missing = (raw if self.is_list else values).null_count() / rows
        self.infinite = values.is_infinite().sum() / max(len(values), 1) if real else 0.0
        number = self.kind == "number"
        self.is_finite = number and 0 < len(values) == self.known and not self.infinite
        whole = not real or ((known == known.floor()) & (known.abs() < 2.0**53)).all()
        self.is_whole, self.is_fraction = number and whole, number and not whole

    @property
    def numbers(self) -> Float64[np.ndarray, " R"]:
        """Numbers, NaN where missing."""
        return self.values.cast(pl.Float64).fill_null(np.nan).to_numpy()

    def common(self, count: int = 3) -> str:
        """The most common values, the first of them first, for a comment."""
        places = np.argsort(-self.counts, kind="stable")[:count]
        return ", ".join(shown(self.different[int(n)]) for n in places)

    @functools.cached_property
    def is_binary(self) -> bool:
        """Of 0 and 1, or false and true; beside both of 0 and 1, few rows may have others."""
        if self.kind not in ("number", "truth") or not self.known:
            return False
        usual = np.isin(self.different.to_numpy(), [0, 1])
        few = self.counts[~usual].sum() <= STRAY * self.known and usual.sum() == 2
        return bool(usual.all() or few)

    @functools.cached_property
    def is_skewed(self) -> bool:
        """Whether numbers from 0 on are more even as logarithms."""
        x = pl.Series(self.numbers[np.isfinite(self.numbers)])
        if not len(x) or x.min() < 0 or not x.max():
            return False
        plain = (x / x.max()).skew()  # of a scale on which nothing overflows
        return plain > 2 and abs(x.log1p().skew()) < plain / 2

    @functools.cached_property
    def unit(self) -> str:
        """The unit of times; number of other numbers, '' where it can be no time."""
        if times.is_date(self.raw.dtype):
            return "date"
        if self.is_list or not self.known or self.kind not in ("number", "text"):
            return ""
        if self.kind == "number":
            return "number" if self.is_written else times.unit_of(self.raw)
        head = self.raw.drop_nulls().head(1000)
        return "date" if times.to_time(head, "date").null_count() <= 0.01 * len(head) else ""

    @property
    def unread(self) -> pl.Series:
        """Values that are no times by the unit."""
        return self.raw.filter(self.moments.is_null() & self.raw.is_not_null())

    @functools.cached_property
    def is_written(self) -> bool:
        """Whether whole numbers are a date and an hour, maybe minutes and seconds too."""
        known = self.different
        return known.dtype.is_integer() and bool(known.cast(pl.String).str.contains(WRITTEN).all())

    @functools.cached_property
    def moments(self) -> pl.Series:
        """Times in microseconds, or numbers, by the unit; null where there is none."""
        return times.to_time(self.raw, self.unit or times.unit_of(self.raw))


def _read(texts: pl.Series) -> pl.Series:
    """Texts as the numbers or truths that they are."""
    known = texts.drop_nulls()
    number = known.str.contains(NUMBER) & ~known.str.contains(NO_NUMBER)
    bad = len(known) - int(number.sum())
    if len(known) and bad <= FEW * len(known):
        kind = pl.Int64 if bad == 0 and known.str.contains(INTEGER).all() else pl.Float64
        return texts.str.strip_chars().cast(kind, strict=False)
    if len(known) and known.str.to_lowercase().is_in(list(TRUTHS)).all():
        return texts.str.to_lowercase().replace_strict(TRUTHS, return_dtype=pl.Boolean)
    return texts


def missing_words(frame: pl.DataFrame) -> list[str]:
    """Texts of a CSV file that stand for a missing value: those among numbers, `\\N` and NULL."""
    words = set()
    for raw in frame.select(pl.col(pl.String)):
        known = raw.drop_nulls().unique()
        others = known.filter(~known.is_in(MISSING))
        numbers = len(others) and others.str.contains(NUMBER).all()
        words |= {*known} & {*(MISSING if numbers else MISSING[:2])}
    return sorted(words)


def shown(value: Any) -> str:
    """A value as an example in a comment."""
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"
    text = clean(str(value))
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    plain = not isinstance(value, str) or (text and text == text.strip() and "," not in text)
    return text if plain else f"'{text}'"


def clean(text: str) -> str:
    """A text for a comment: on one line, without what YAML does not allow."""
    return "".join(sign if sign.isprintable() else "·" for sign in text)


def percent(share: float) -> str:
    """'3.2 %'"""
    return "100 %" if share == 1 else progress.percent(share)

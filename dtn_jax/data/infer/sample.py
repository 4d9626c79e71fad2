"""What is looked at: a sample of a log's rows, from its beginning to its end, and its columns."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow.compute as pc

from dtn_jax.data import progress
from dtn_jax.data.raw import read as raw_read
from dtn_jax.data.raw.files import FILE, RawFile
from dtn_jax.data.raw.lines import opened
from dtn_jax.data.raw.types import Type, Types
from dtn_jax.data.raw.unit import Reject, Unit
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool, Float64, Int

ROWS = 500_000  # that are looked at
BYTES = 256 << 20  # that they may take
FILES = 100  # of which the columns are looked at
PLACES = 50  # of a larger log, in which rows are read
PIECE = 1 << 20  # bytes of a text file that a place may have
WHOLE = 64 << 20  # bytes of text files up to which their lines are counted
CHUNK = 2048  # rows
UNSEEN = "the lines by which prepare knows a file's columns lack it"
SMALL = 20  # different values: so few are categories, whatever the numbers mean
STRAY = 1e-3  # share of rows that may have another value than 0 and 1, or lie elsewhere
FEW = 1e-5  # share of the rows in which a value may be bad: far below what prepare allows
MOST = 1_000_000  # values of a column's lists that are looked at one by one
NUMBER = r"^\s*-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?\s*$"
INTEGER = r"^\s*-?\d{1,18}\s*$"
PADDED = r"^\s*-?0\d"  # 007 is no number
MISSING = ("\\N", "NULL", "null", "NaN", "nan", "NA", "N/A", "None", "none", "-")
KINDS = {pl.Boolean: "truth", pl.String: "text"}
TRUTHS = {"true": True, "false": False}


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
    with opened(file) as source:
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
    with opened(file) as text:
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


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """A column.

    Attributes:
      raw: as it was read.
      values: numbers and truths that stand as texts read as such; NaN is missing. Of lists, what is
        in them, one list's after another's; of many long ones, of every n-th list.
      kind: number, truth, text; '' of others.
      stray: where all but a few texts are numbers, one that is none; else ''.
      codes: the number of each value in `different`; -1 is missing.
      different: the values, each once, in the order in which they first appear.
      counts: the rows of each of these.
      lengths: of lists, the values of each; -1 is a missing list.
    """

    raw: pl.Series
    values: pl.Series
    kind: str
    stray: str
    codes: Int[np.ndarray, " R"]
    different: pl.Series
    counts: Int[np.ndarray, " V"]
    lengths: Int[np.ndarray, " R"] | None = None

    @property
    def name(self) -> str:
        return self.raw.name

    @property
    def is_list(self) -> bool:
        return self.lengths is not None

    @functools.cached_property
    def is_whole(self) -> bool:
        """Whole numbers, by their type or their values."""
        if not self.values.dtype.is_float():
            return self.kind == "number"
        known = self.different.drop_nulls()
        return bool((known == known.floor()).all()) and bool((known.abs() < 2.0**53).all())

    @property
    def infinite(self) -> float:
        """The share of numbers that are not finite."""
        if not self.values.dtype.is_float():
            return 0.0
        return self.values.is_infinite().sum() / max(len(self.values), 1)

    @property
    def is_finite(self) -> bool:
        """Whether all values are numbers, none missing or infinite."""
        return self.kind == "number" and 0 < len(self.values) == self.known and not self.infinite

    @property
    def known(self) -> int:
        return len(self.values) - self.values.null_count()

    @property
    def distinct(self) -> int:
        return len(self.different)

    @property
    def missing(self) -> float:
        """The share of missing values, or lists."""
        column = self.raw if self.is_list else self.values
        return column.null_count() / max(len(column), 1)

    @property
    def numbers(self) -> Float64[np.ndarray, " R"]:
        """Numbers, NaN where missing."""
        return self.values.cast(pl.Float64).fill_null(np.nan).to_numpy()

    def common(self, count: int = 3) -> list:
        """The most common values, the first of them first."""
        return [self.different[int(n)] for n in np.argsort(-self.counts, kind="stable")[:count]]

    @property
    def strays(self) -> Bool[np.ndarray, " V"]:
        """Which of the different values are neither 0 nor 1."""
        return ~np.isin(self.different.to_numpy(), [0, 1])

    @functools.cached_property
    def is_binary(self) -> bool:
        """Of 0 and 1, or false and true; beside both of 0 and 1, few rows may have others."""
        if self.kind not in ("number", "truth") or not self.known:
            return False
        few = self.counts[self.strays].sum() <= STRAY * self.known
        return bool(not self.strays.any() or (few and (~self.strays).sum() == 2))

    @functools.cached_property
    def is_skewed(self) -> bool:
        """Whether numbers from 0 on are more even as logarithms."""
        x = self.numbers[np.isfinite(self.numbers)]
        if not len(x) or x.min() < 0 or x.max() == x.min():
            return False
        plain = _skewness(x / x.max())  # of a scale on which nothing overflows
        return plain > 2 and abs(_skewness(np.log1p(x))) < plain / 2

    @property
    def length(self) -> int:
        """The length of all lists, at least 2; 0 where they differ."""
        known = np.unique(self.lengths[self.lengths >= 0])
        return int(known[0]) if len(known) == 1 and known[0] > 1 else 0


def _skewness(x: Float64[np.ndarray, " K"]) -> float:
    centred = x - x.mean()
    return float((centred**3).mean() / max((centred**2).mean() ** 1.5, 1e-300))


def column_of(raw: pl.Series, as_is: bool = False) -> Column:
    """A column as it was read; `as_is`: texts are no numbers."""
    lengths = None
    values = raw
    if raw.dtype == pl.List:
        lengths = raw.list.len().cast(pl.Int64).fill_null(-1).to_numpy()
        filled = raw.filter(raw.list.len() > 0)
        values = filled.gather_every(-(-int(filled.list.len().sum()) // MOST) or 1).explode()
    if values.dtype.is_float():
        values = values.fill_nan(None)
    elif values.dtype.is_decimal():
        values = values.cast(pl.Float64)
    elif values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    stray = ""
    if values.dtype == pl.String and not as_is:
        values, stray = _read(values)
    physical = values.cast(pl.Int8) if values.dtype in (pl.Boolean, pl.Null) else values
    encoded = pc.dictionary_encode(physical.rechunk().to_arrow())
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    different = pl.from_arrow(encoded.dictionary)
    counts = np.bincount(codes[codes >= 0], minlength=len(different))
    kind = KINDS.get(values.dtype, "number" if values.dtype.is_numeric() else "")
    return Column(raw, values, kind, stray, codes, different, counts, lengths)


def _read(texts: pl.Series) -> tuple[pl.Series, str]:
    """Texts as the numbers or truths that they are; and one that is none among many."""
    known = texts.drop_nulls()
    number = known.str.contains(NUMBER) & ~known.str.contains(PADDED)
    bad = len(known) - int(number.sum())
    if len(known) and bad <= FEW * len(known):
        kind = pl.Int64 if bad == 0 and known.str.contains(INTEGER).all() else pl.Float64
        return texts.str.strip_chars().cast(kind, strict=False), ""
    if len(known) and known.str.to_lowercase().is_in(list(TRUTHS)).all():
        return texts.str.to_lowercase().replace_strict(TRUTHS, return_dtype=pl.Boolean), ""
    return texts, known.filter(~number)[0] if 0 < bad <= 0.01 * len(known) else ""


def missing_words(frame: pl.DataFrame) -> list[str]:
    """Texts of a CSV file that stand for a missing value: those among numbers, `\\N` and NULL."""
    found = set()
    for raw in frame.select(pl.col(pl.String)):
        known = raw.drop_nulls().unique()
        words = set(known.filter(known.is_in(list(MISSING))))
        others = known.filter(~known.is_in(list(MISSING)))
        numbers = len(others) and others.str.contains(NUMBER).all()
        found |= words if numbers else words & {"\\N", "NULL"}
    return sorted(found)

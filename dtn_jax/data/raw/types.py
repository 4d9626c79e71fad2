"""What raw files are read as: units, chunks of rows, rows that cannot be used; and the types of
columns, their names, and what becomes of a column that has several.

A column has one of NAMES, or lists of one. A set's schema.json keeps these names; the values of
JSON are of a *kind* each, which is such a name, `long` (a whole number that a float may round), or
`nested` (an object, or a list in a list).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import keys, times
from dtn_jax.data.times import Type
from dtn_jax.shapes import Int

Types = Mapping[str, Type]  # {column: its type}
Kinds = set[str]
Pieces = list[tuple[int, int, int, int]]  # of a file: start, stop, first row, rows of each `Unit`
UTC = pl.Datetime("us")
NAMES: dict[str, Type] = {
    "truth": pl.Boolean,
    "whole": pl.Int64,
    "unsigned": pl.UInt64,
    "float32": pl.Float32,
    "number": pl.Float64,
    "text": pl.String,
    "date": pl.Date,
    "time": UTC,
    "nothing": pl.Null,
}
LONGEST = 80  # characters of a rejected value that are kept
LIST_OF, LONG, NESTED = "list of ", "long", "nested"
WIDER = (  # types that go together, and the one that they become
    ((pl.Float32, pl.Float64), pl.Float64),
    ((pl.Date, pl.Datetime), UTC),
    ((pl.Boolean, pl.Int64), pl.Int64),
)


@dataclasses.dataclass(frozen=True)
class Unit:
    """A piece of a raw file that one task reads.

    Attributes:
      file: its place in the list of files.
      start, stop: Parquet: row groups; Arrow: record batches; text: bytes. A gzip file is one unit:
        `start` counts unpacked bytes, and `stop` is -1, the end.
      first_row: the number of its first row, from 1; in a text file the number of its first line.
      rows: how many; in a text file its lines, blank and broken ones too. -1: unknown before it is
        read, in a gzip file.
    """

    file: int
    start: int
    stop: int
    first_row: int
    rows: int


@dataclasses.dataclass(frozen=True)
class Reject:
    """A row that is counted and shown, never silently dropped.

    Attributes:
      row: its number in its file: the line in a text file, otherwise counted from 1.
      reason: the same text for all rows of this kind, so that they can be counted by it.
      column: whose value is wrong; '' where it is the row.
      value: what was found; of more than LONGEST characters, the first ones and '…'.
    """

    row: int
    reason: str
    column: str = ""
    value: str = ""

    def __post_init__(self):
        if len(self.value) > LONGEST:
            object.__setattr__(self, "value", f"{self.value[: LONGEST - 1]}…")


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some rows of a unit, in the file's order.

    Attributes:
      frame: the rows that could be read, the wanted columns in the wanted order.
      numbers: `[rows]`, the number in the file of each row of the frame.
      broken: the rows that cannot be used. Those in the frame are null where a value is none.
      kinds: of JSON lines, the kinds of each column's values.
    """

    frame: pl.DataFrame
    numbers: Int[np.ndarray, " rows"]
    broken: list[Reject]
    kinds: dict[str, Kinds] = dataclasses.field(default_factory=dict)


def name_of(kind: Type) -> str:
    """A type's name in schema.json: one of NAMES, or `list of` one."""
    if kind == pl.List:
        return LIST_OF + name_of(kind.inner)
    return next(name for name, known in NAMES.items() if known == kind)


def of_name(name: str) -> Type:
    """The type that `name_of` named."""
    inner = name.removeprefix(LIST_OF)
    return NAMES[inner] if inner == name else pl.List(of_name(inner))


def plain(kind: Type) -> Type:
    """The type that a column of one file is read as: one of NAMES, or a list of such."""
    if kind == pl.List:
        return pl.List(plain(kind.inner))
    if kind.is_integer():
        return pl.UInt64 if kind == pl.UInt64 else pl.Int64
    if kind == pl.Datetime:
        return UTC
    known = (pl.Boolean, pl.Float32, pl.Float64, pl.Date, pl.Null, pl.Struct)
    return kind if kind in known else pl.String


def read_as(kind: Type) -> Type:
    """The same type, but decimals as floats (without a fraction whole numbers, or texts of them),
    and bytes as text, also in lists."""
    if kind == pl.List:
        return pl.List(read_as(kind.inner))
    if kind == pl.Decimal:
        return pl.Float64() if kind.scale else pl.Int64() if kind.precision <= 18 else pl.String()
    return pl.String() if kind == pl.Binary else kind


def common(one: Type, other: Type) -> Type:
    """The type of a column that files have as two types."""
    if one == other or other == pl.Null:
        return one
    if one == pl.Null:
        return other
    if pl.List in (one, other) or pl.Struct in (one, other):
        both = one == pl.List and other == pl.List
        return pl.List(common(one.inner, other.inner)) if both else pl.Struct([])
    return next((wide for kinds, wide in WIDER if one in kinds and other in kinds), pl.String)


def of_kinds(kinds: Iterable[str]) -> Type:
    """The type of a column of JSON with values of these kinds; it loses none of them."""
    kinds = set(kinds)
    inner = {kind.removeprefix(LIST_OF) for kind in kinds}
    if inner == {NESTED}:
        return pl.Struct([])
    inner -= {"nothing", NESTED}
    if inner == {"whole", "number"}:
        kind = pl.Float64
    elif inner and inner <= {"whole", LONG}:
        kind = pl.Int64
    else:
        kind = pl.String if len(inner) > 1 else NAMES[min(inner, default="nothing")]
    return pl.List(kind) if is_listed(kinds) else kind()


def is_listed(kinds: Iterable[str]) -> bool:
    """Whether some of the values are lists."""
    return any(kind.startswith(LIST_OF) for kind in kinds)


def as_type(column: pl.Series, kind: Type) -> pl.Series:
    """A column in another type, null where a value has none.

    No number is rounded but to the digits of a float, no time cut to its date. Bytes are text in
    UTF-8.
    """
    dtype = column.dtype
    if dtype == kind:
        return column
    if dtype == pl.Datetime and dtype.time_zone:
        return as_type(column.dt.convert_time_zone("UTC").dt.replace_time_zone(None), kind)
    if dtype == pl.Decimal and (kind.is_integer() or kind == pl.String):
        return as_type(column.cast(pl.String).str.replace(r"\.0+$", ""), kind)
    if isinstance(dtype.inner if dtype == pl.List else dtype, pl.Decimal):
        float64 = pa.float64() if dtype == pl.Decimal else pa.large_list(pa.float64())
        floats = pl.from_arrow(column.to_arrow().cast(float64))  # polars' differ in the last bit
        return as_type(floats.alias(column.name), kind)
    if isinstance(dtype, pl.Array):
        return as_type(column.arr.to_list(), kind)
    if dtype == pl.Binary:
        return as_type(_decoded(column), kind)
    if dtype in (pl.Int128, pl.UInt128):
        return as_type(column.cast(pl.String, strict=False), kind)
    none = isinstance(dtype, pl.Struct | pl.Object | pl.Duration)
    if none or (dtype == pl.List) != (kind == pl.List):
        return _nothing(column, kind)
    if kind == pl.List:
        inner = as_type(column.explode(keep_nulls=False, empty_as_null=False), kind.inner)
        lengths = column.list.len().fill_null(0).to_numpy()
        return lists(inner, lengths, column.is_null().to_numpy()).alias(column.name)
    if kind == pl.String:
        return keys.text(column)
    if times.is_text(dtype):
        return _of_text(column.cast(pl.String).str.strip_chars(), kind)
    if times.is_date(kind) and times.is_date(dtype):
        cast = column.cast(kind)
        return cast if kind == pl.Datetime else cast.set(cast != column, None)
    if times.is_date(kind) or not (dtype.is_numeric() or dtype == pl.Boolean):
        return _nothing(column, kind)
    if kind == pl.Boolean:
        return column.set(~((column == 0) | (column == 1)), None).cast(pl.Boolean)
    cast = column.cast(kind, strict=False)
    if not dtype.is_float():
        return cast
    if kind.is_float():  # training read no more digits; but it may be too large
        return cast.set((cast.is_infinite() & column.is_finite()).fill_null(False), None)
    return cast.set((cast.cast(dtype) != column).fill_null(False), None)


def _of_text(text: pl.Series, kind: Type) -> pl.Series:
    """Values that texts say."""
    if times.is_date(kind):
        return as_type(times.to_time(text, "date").cast(UTC), kind)
    if kind.is_float():
        return keys.numbers(text).cast(kind)
    plain = keys.plain_texts(text)
    return as_type(plain.cast(pl.Int8 if kind == pl.Boolean else kind, strict=False), kind)


def _decoded(column: pl.Series) -> pl.Series:
    """Texts of bytes, null where they are none."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.ComputeError:
        texts = [value if value is None else value.decode(errors="ignore") for value in column]
        text = pl.Series(column.name, texts, dtype=pl.String)
        return text.set(text.cast(pl.Binary) != column, None)


def _nothing(column: pl.Series, kind: Type) -> pl.Series:
    return pl.Series(column.name, [None], dtype=kind).new_from_index(0, len(column))


def lists(values: pl.Series, lengths: np.ndarray, missing: np.ndarray) -> pl.Series:
    """Lists of values, one's after another's, of these lengths; null where one is missing."""
    offsets = pa.array(np.append(0, np.cumsum(lengths)), pa.int64())
    array = pa.LargeListArray.from_arrays(offsets, values.to_arrow(), mask=pa.array(missing))
    return pl.Series(pl.from_arrow(array))

"""The columns of raw files: those that a model needs, and those that stand beside the scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from dtn_jax.data.raw.files import FILE
from dtn_jax.data.raw.types import Types, as_type
from dtn_jax.errors import UserError, choose
from dtn_jax.export.encoding import Encoding
from dtn_jax.export.raw_rows import check_there

_FORMATS = {".csv": "CSV", ".jsonl": "JSON", ".ndjson": "JSON"}  # which lack types
_LISTS = {
    False: "such as ['a', 'b']",
    True: "which CSV does not have: write Parquet or JSON lines",
}


def check_columns(encoding: Encoding, address: str, types: Types, csv: bool = False) -> None:
    """Raises UserError where a file lacks a column, or has single values where lists belong."""
    try:
        own = [name for name in types if name != FILE or name in encoding.columns]
        check_there(own, encoding.columns, encoding.optional)
    except UserError as error:
        raise UserError(f"{address}: {error}{_made(encoding, own)}") from None
    for name in sorted(encoding.by.lists() & types.keys()):
        if not isinstance(types[name], pl.List) and types[name] != pl.Null:
            raise UserError(
                f"{address}: column {name!r} holds {types[name]}, expected lists, {_LISTS[csv]}"
            )


def _made(encoding: Encoding, there: Sequence[str]) -> str:
    """What to say of a missing history that was made from the log when its set was prepared."""
    rules = getattr(encoding.by, "rules", {})
    lacking = [name for name in rules if not set(encoding.by.columns_of(name)) <= set(there)]
    if not lacking:
        return ""
    name = lacking[0]
    return f" prepare made {name!r}; a row to score brings its own list: {rules[name]}."


def kept_types(
    types: Mapping[str, Types],
    wanted: Sequence[str] | None,
    left: Collection[str],
    outputs: Collection[str],
    suffix: str,
) -> Types:
    """{column: its type in the output}, one for all files.

    Args:
      types: the columns of each raw file, by its address.
      wanted: the columns to keep; None keeps all but those of `left`, in the order of the files.
      left: columns that are kept only where `wanted` names them.
      outputs: the names of the columns that scoring writes.
      suffix: of the output, which says what it can hold.

    Raises:
      UserError: no file has a wanted column, it has the name of one of `outputs`, types that do not
        go together, or one that the output's format does not have.
    """
    every = list(dict.fromkeys(name for own in types.values() for name in own))
    if wanted is None:
        wanted = [name for name in every if name not in left and name != FILE]
    found = {}
    for name in wanted:
        choose("column to keep:", name, every)
        if name in outputs:
            raise UserError(
                f"the rows have a column {name!r} already, which is the name of one that scoring "
                "writes; choose the columns to keep, with --columns"
            )
        found[name] = _common(name, {a: own[name] for a, own in types.items() if name in own})
        if what := _lacking(found[name], suffix):
            raise UserError(
                f"column {name!r} holds {what}, which {_FORMATS[suffix]} does not have; leave it "
                "out, with --columns=… of the others, or write Parquet"
            )
    return found


def _lacking(dtype: object, suffix: str) -> str:
    """What a column of this type holds that the output's format does not have; '' if nothing."""
    if suffix == ".csv" and _nested(dtype):
        return "lists"
    if suffix == ".csv" and dtype == pl.Duration:
        return "durations"
    return "bytes" if suffix in _FORMATS and _of_bytes(dtype) else ""


def binary(types: Mapping[str, Types]) -> dict[str, None]:
    """The columns of bytes, in the order of the files."""
    return {n: None for own in types.values() for n, dtype in own.items() if dtype == pl.Binary}


def nested(types: Mapping[str, Types]) -> dict[str, None]:
    """The columns that hold lists or structures, in the order of the files."""
    return {n: None for own in types.values() for n, dtype in own.items() if _nested(dtype)}


def cast(column: pl.Series, dtype: object, file: str) -> pl.Series:
    """A chunk's column in the output's type.

    Raises:
      UserError: a value does not fit: JSON lines may show other types after the first lines.
    """
    if column.dtype == dtype:
        return column
    if column.dtype == pl.Binary and dtype == pl.String:  # the model's: no text is a bad row
        return column.cast(dtype, strict=False)
    try:
        text = column.dtype in (pl.String, pl.List(pl.String))  # of JSON lines, and of CSV
        made = as_type(column, dtype) if text else column.cast(dtype, strict=False)
    except pl.exceptions.PolarsError:  # lists, where single values belong, or the other way round
        holds = "lists" if _nested(column.dtype) else f"{column.dtype}"
        raise _unfit(file, column, holds, dtype) from None
    lost = made.is_null() & column.is_not_null()
    if column.dtype.is_float() and made.dtype.is_integer():
        lost |= (made.cast(column.dtype) != column).fill_null(False)
    if column.dtype.is_decimal() and made.dtype.is_float():
        lost |= (made.cast(column.dtype, strict=False) != column).fill_null(
            True
        ) & made.is_not_null()
    if lost.any():
        raise _unfit(file, column, repr(column.filter(lost)[0]), dtype)
    return made


def _unfit(file: str, column: pl.Series, holds: str, dtype: object) -> UserError:
    return UserError(
        f"{file}: column {column.name!r} holds {holds}, where the output has {dtype}, as other "
        "files or the first lines do; choose other columns, with --columns"
    )


def _nested(dtype: object) -> bool:
    return isinstance(dtype, pl.List | pl.Array | pl.Struct)


def _of_bytes(dtype: object) -> bool:
    return (dtype.inner if isinstance(dtype, pl.List) else dtype) == pl.Binary


def _common(name: str, own: Mapping[str, object]) -> object:
    """The type that holds the values of all files."""
    empty = [pl.DataFrame(schema={name: dtype}) for dtype in own.values()]
    try:
        dtype = pl.concat(empty, how="vertical_relaxed")[name].dtype
    except pl.exceptions.PolarsError:
        examples = {str(dtype): address for address, dtype in reversed(own.items())}
        listed = ", ".join(f"{dtype} ({address})" for dtype, address in examples.items())
        raise UserError(
            f"column {name!r} is of several types: {listed}; choose the columns to keep, with "
            "--columns"
        ) from None
    return pl.String() if dtype == pl.Null else dtype

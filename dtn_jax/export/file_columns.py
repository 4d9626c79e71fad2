"""The columns of raw files: those that a model needs, and those that stand beside the scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from dtn_jax.data import columns
from dtn_jax.data.cast import typed
from dtn_jax.data.raw.files import FILE
from dtn_jax.data.raw.types import Type, Types, as_type
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.errors import UserError, choose
from dtn_jax.export.encoding import Encoding
from dtn_jax.export.raw_rows import check_there

FORMATS = {".csv": "CSV", ".jsonl": "JSON", ".ndjson": "JSON"}  # which lack types
NESTED = (pl.List, pl.Array, pl.Struct)
LISTS = {
    False: "such as ['a', 'b']",
    True: "which CSV does not have: write Parquet or JSON lines",
}


def check_columns(encoding: Encoding, labels: Spec, address: str, types: Types, csv: bool) -> None:
    """Raises UserError where a file lacks a column, or has single values where lists belong.

    Args:
      encoding: of the model.
      labels: of the schema file those that are read.
      address: of the file.
      types: its columns.
      csv: whether it is one of CSV.
    """
    there = [name for name in types if name != FILE or name in encoding.columns]
    try:
        check_there(there, encoding.columns, encoding.optional)
    except UserError as error:
        made = [n for n in encoding.rules if not {*encoding.columns_of(n)} <= {*there}]
        hints = [f" prepare made {n!r}; a row to score brings its own list: " for n in made[:1]]
        hints += [f"{encoding.rules[name]}." for name in made[:1]]
        raise UserError(f"{address}: {error}{''.join(hints)}") from None
    for name in sorted(encoding.lists() & types.keys()):
        if types[name] not in (pl.List, pl.Null):
            told = f"column {name!r} holds {types[name]}, expected lists, {LISTS[csv]}"
            raise UserError(f"{address}: {told}")
    try:
        columns.check(labels, address, types)
    except UserError as error:
        raise UserError(f"--labels: {error}") from None


def of_kind(types: Mapping[str, Types], kinds: Collection[Type]) -> list[str]:
    """The columns of these kinds, in the order of the files."""
    found = (name for own in types.values() for name, kind in own.items() if kind in kinds)
    return list(dict.fromkeys(found))


def kept_types(
    types: Mapping[str, Types],
    wanted: Sequence[str] | None,
    left: Collection[str],
    outputs: Collection[str],
    suffix: str,
) -> Types:
    """{column: its type in the output}: that of the files; where they differ, the one in which
    `prepare` would read it, which loses no digit.

    Args:
      types: the columns of each raw file, by its address.
      wanted: the columns to keep; None keeps all but those of `left`, in the order of the files.
      left: columns that are kept only where `wanted` names them.
      outputs: the names of the columns that scoring writes.
      suffix: of the output, which says what it can hold.

    Raises:
      UserError: no file has a wanted column, it has the name of one of `outputs`, or a type that
        the output's format does not have.
    """
    every = list(dict.fromkeys(name for own in types.values() for name in own))
    if wanted is None:
        wanted = [name for name in every if name not in left and name != FILE]
    kept = {}
    for name in wanted:
        choose("column to keep:", name, every)
        if name in outputs:
            raise UserError(
                f"the rows have a column {name!r} already, which is the name of one that scoring "
                "writes; choose the columns to keep, with --columns"
            )
        kinds = {own[name] for own in types.values() if name in own} - {pl.Null()}
        common = columns.types_of(types.values(), [name])[name] if len(kinds) > 1 else None
        kept[name] = kind = common or next(iter(kinds), pl.String())
        if what := _lacking(kind, suffix):
            raise UserError(
                f"column {name!r} holds {what}, which {FORMATS[suffix]} does not have; leave it "
                "out, with --columns=… of the others, or write Parquet"
            )
    return kept


def _lacking(kind: Type, suffix: str) -> str:
    """What a column of this type holds that the output's format does not have; '' if nothing."""
    if suffix == ".csv" and (kind in NESTED or kind == pl.Duration):
        return "durations" if kind == pl.Duration else "lists"
    held = kind.inner if kind == pl.List else kind
    return "bytes" if suffix in FORMATS and held == pl.Binary else ""


def fitting(column: pl.Series, kind: Type, file: str) -> pl.Series:
    """A chunk's column in the output's type.

    Raises:
      UserError: a value does not fit: JSON lines may show other types after the first lines.
    """

    def refuse(good: pl.Series, _: str, values: pl.Series) -> None:
        holds = "lists" if values.dtype in NESTED else repr(values.filter(~good)[0])
        raise UserError(
            f"{file}: column {column.name!r} holds {holds}, where the output has {kind}, as other "
            "files or the first lines do; choose other columns, with --columns"
        )

    if column.dtype == pl.Binary and kind == pl.String:  # the model's: no text is a bad row
        return as_type(column, kind)
    return typed(column, kind, refuse)

"""How a model's raw rows become what its program takes: `table`, then `clean`, then `arrays`.

Rows in any of the forms that Python has for them become a table of the types that training had. A
row that lacks a column has a null there; a column that no row has is missing, which is an error
unless the model can do without it. The table goes through training's cleaner and its encoder, which
are read from the folder's `encoders/`: encoders.json, spec.json and vocabulary/.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import clean
from dtn_jax.data import encode as encoders
from dtn_jax.data.cast import of_values, typed
from dtn_jax.data.clean import Bad
from dtn_jax.data.encode import Fitted
from dtn_jax.data.formula import Expression, of_column, parse
from dtn_jax.data.raw import columnar
from dtn_jax.data.raw.types import Reject, Types, of_name
from dtn_jax.data.rows import Rows
from dtn_jax.data.schemas.spec import (
    FieldSpec,
    HistorySpec,
    InputSpec,
    Spec,
    SplitSpec,
    TaskSpec,
)
from dtn_jax.errors import UserError
from dtn_jax.schema import Schema
from dtn_jax.shapes import Bool, Float32, Int32, Int64

FITTED, SPEC, VOCABULARY = "encoders.json", "spec.json", "vocabulary"
STANDS = "\1"  # begins the names of columns that stand for fields which only training knows
NO_SPLIT = SplitSpec(by="random")  # which no column says
NOT_FINITE = "score that is not finite"
FORMS = "a list of dicts, a table of polars, pandas or Arrow"


@dataclasses.dataclass
class Encoded:
    """B rows, bad ones included; a bad row's numbers are those of a row that holds nothing.

    Attributes:
      ids: int32 `[B, L]`, as in `interface.Batch`: -1 pads, 0 is the unknown id.
      weights: float32 `[B, W]`, of the weighted bags.
      numeric: float32 `[B, N]`, of standardised numbers and vectors.
      rejected: the bad rows.
    """

    ids: Int32[np.ndarray, "B L"]
    weights: Float32[np.ndarray, "B W"]
    numeric: Float32[np.ndarray, "B N"]
    rejected: Bad

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def good(self) -> Bool[np.ndarray, " B"]:
        """Which rows have no bad value."""
        return self.rejected.good

    @property
    def bad(self) -> list[Reject]:
        """The bad rows, with number, reason, column and value: of each reason the first 1,000."""
        return [reject for _, reject in self.rejected.account.kept]


@dataclasses.dataclass(frozen=True)
class Encoding:
    """Raw rows to arrays.

    Attributes:
      schema: of the data set.
      spec: the schema file.
      fitted: {field: what was fitted for it}, in the schema's order.
      fixed: {name of a column that stands for a field: its one value}.
      types: of the raw columns, those of labels too, as training had them.
      columns: the raw columns that are read.
      optional: those of them that rows may lack.
      cleaned: what of the schema file is read of rows: the fields, and `log_labels.labelled`.
    """

    schema: Schema
    spec: Spec
    fitted: Mapping[str, Fitted]
    fixed: Mapping[str, Any]
    types: Types
    columns: tuple[str, ...]
    optional: tuple[str, ...]
    cleaned: Spec

    def columns_of(self, *fields: str) -> tuple[str, ...]:
        """The raw columns of fields, each once."""
        read = clean.raw_columns(self.fitted[name].spec for name in fields)
        return tuple(name for name in read if name not in self.fixed)

    def encode(self, rows: Any) -> Encoded:
        """The arrays of raw rows; see `table` for their forms, and what is raised."""
        types = {name: self.types[name] for name in self.columns}
        frame, bad = table(rows, types, self.optional)
        return self.arrays(self.clean(frame, bad), bad)

    def clean(self, frame: pl.DataFrame, bad: Bad) -> Rows:
        """The good rows of a table that has all columns, in their types. Rows that training would
        have rejected are bad from here on."""
        fixed = [
            pl.Series(name, [v]).new_from_index(0, len(bad.good)) for name, v in self.fixed.items()
        ]
        frame = pl.DataFrame([*frame.get_columns(), *fixed])
        return encoders.with_crosses(self._specs, clean.good_rows(self.cleaned, frame, bad))

    def arrays(self, rows: Rows, bad: Bad) -> Encoded:
        """The arrays of rows, the bad ones among them, of which `clean` gave the others."""
        with np.errstate(over="ignore", invalid="ignore"):  # its score is not finite then
            fields = encoders.encode(self.fitted, rows).values()
        joined = []
        for what in ("ids", "weights", "numbers"):
            parts = [part for f in fields if (part := getattr(f, what)) is not None]
            parts = parts or [np.empty((len(rows), 0), np.float32)]
            array = np.concatenate(parts, axis=1)
            if not bad.good.all():
                good, array = array, np.zeros((len(bad.good), array.shape[1]), array.dtype)
                array[bad.good] = good
            joined.append(array)
        return Encoded(*joined, bad)

    @functools.cached_property
    def _specs(self) -> dict[str, FieldSpec]:
        return {name: field.spec for name, field in self.fitted.items()}

    def counted(self, encoded: Encoded) -> Int64[np.ndarray, "2 F"]:
        """How many values each field has, and how many of them are unknown: missing, or not seen in
        training. Padding, and bad rows, count as none."""
        ids = encoded.ids if encoded.good.all() else encoded.ids[encoded.good]
        starts = np.cumsum([0, *(field.slots for field in self.schema.fields)])[:-1]
        counts = [np.count_nonzero(those, axis=0) for those in (ids >= 0, ids == 0)]
        return np.add.reduceat(counts, starts, axis=1)


def read(folder: pathlib.Path, spec: Spec, schema: Schema) -> Encoding:
    """The encoding of a model, or of a prepared set.

    Args:
      folder: has encoders.json and vocabulary/.
      spec: the schema file, its times in their unit.
      schema: of the data set.

    Raises:
      ValueError: they do not go together.
    """
    specs, stands, fixed, optional = {}, {}, spec.fixed(), spec.optional()
    for field in spec.fields:
        if field.history is not None:  # a row to score brings its own
            value = of_column(field.name)
            field = dataclasses.replace(field, history=None, gap=False, value=value)
        if field.name in fixed:
            stand = f"{STANDS}{field.name}"
            stands[stand] = fixed[field.name]
            field = dataclasses.replace(field, value=of_column(stand))
        specs[field.name] = field
    cleaned = Spec(name=spec.name, fields=(*specs.values(),), tasks=(), split=NO_SPLIT)
    fitted = encoders.fitted(specs, json.loads((folder / FITTED).read_text()), folder / VOCABULARY)
    types = {column.name: of_name(column.type) for column in schema.columns}
    for field in spec.fields:
        if field.history is not None:  # of the lists that a row brings
            source = field.value if field.beside else specs[field.target].value
            kind = types.get(source.column) if source is not None else None
            types[field.name] = pl.List(kind or (pl.Int64 if field.gap else pl.String))
    encoding = Encoding(schema, spec, fitted, stands, types, (), (), cleaned)
    columns = encoding.columns_of(*schema.field_names)
    needed = encoding.columns_of(*(name for name in schema.field_names if name not in optional))
    offered = tuple(name for name in columns if name not in needed)
    return dataclasses.replace(encoding, columns=columns, optional=offered)


# ---------------------------------------------------------------- raw rows


def table(
    rows: Any, types: Types, optional: Collection[str] = (), bad: Bad | None = None
) -> tuple[pl.DataFrame, Bad]:
    """The wanted columns of raw rows in their types, and the rows that have other values.

    Args:
      rows: a list of dicts, a polars or pandas DataFrame, an Arrow table or record batch.
      types: {column that is wanted: its type}; other columns are not looked at.
      optional: of these, what may be missing; it is null then.
      bad: is told of bad rows; None: a new one, which counts rows from 1.

    Raises:
      UserError: another form, a required column is missing, or a table that Arrow can't read.
    """
    names, column = _columns(rows)
    if names is None:  # of no dicts at all
        names = [*types]
    check_there(names, types, optional)
    if twice := [name for name in types if names.count(name) > 1]:
        raise UserError(f"the rows have column {twice[0]!r} more than once")
    count = rows.num_rows if isinstance(rows, pa.RecordBatch) else len(rows)
    bad = Bad(np.arange(1, count + 1)) if bad is None else bad
    nothing = pl.Series([None] * count, dtype=pl.Null)
    every = []
    for name, kind in types.items():
        values = column(name) if name in names else nothing
        if isinstance(values, pl.Series):
            every.append(typed(values.alias(name), kind, bad))
        else:
            every.append(of_values(name, values, kind, bad))
    return pl.DataFrame(every), bad


def check_there(
    there: Sequence[str], columns: Collection[str], optional: Collection[str], where: str = ""
) -> None:
    """Raises UserError that names the required columns that are missing."""
    if missing := [name for name in columns if name not in there and name not in optional]:
        raise UserError(
            f"{where}the rows have no column {', '.join(map(repr, missing))}, which the model "
            f"needs; they have {', '.join(there) or 'none'}"
        )


def _columns(rows: Any) -> tuple[list[str] | None, Callable[[str], pl.Series | list]]:
    """The names of the columns, and what gives one: a series, or values of several types."""
    if isinstance(rows, pl.DataFrame):
        return rows.columns, rows.__getitem__
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return rows.schema.names, lambda name: pl.from_arrow(columnar.plain(rows.column(name)))
    if type(rows).__module__.partition(".")[0] == "pandas" and hasattr(rows, "columns"):
        names = [name for name in rows.columns if isinstance(name, str)]
        return names, lambda name: _of_pandas(rows[name])
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise UserError(f"rows are {type(rows).__name__}, expected {FORMS}")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise UserError(f"row {number} is {type(row).__name__}, expected a dict of its columns")
    names = dict.fromkeys(name for row in rows for name in row if isinstance(name, str))
    return [*names] if rows else None, lambda name: [row.get(name) for row in rows]


def _of_pandas(column: Any) -> pl.Series | list:
    try:
        return pl.from_arrow(pa.Array.from_pandas(column))
    except (pa.ArrowException, TypeError, ValueError):  # values of several types
        return column.tolist()


SPECS = {
    frozenset(field.name for field in dataclasses.fields(kind)): kind
    for kind in (FieldSpec, HistorySpec, InputSpec, Spec, SplitSpec, TaskSpec)
}
FORMULA = {"text", "time", "unit"}


def spec_json(spec: Spec) -> str:
    """The text of a schema file; of its path the name alone."""
    spec = dataclasses.replace(spec, path=pathlib.PurePath(spec.path).name)
    return json.dumps(spec, indent=1, default=_plain)


def read_spec(text: str) -> Spec:
    """What `spec_json` wrote."""
    return json.loads(text, object_hook=_spec)


def _plain(value: Any) -> dict:
    """One of the dataclasses, or an expression."""
    if not isinstance(value, Expression):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if value.column:
        return {"column": value.column}
    return {name: getattr(value, name) for name in sorted(FORMULA)}


def _spec(value: dict) -> Any:
    if value.keys() == {"column"}:
        return of_column(value["column"])
    if value.keys() == FORMULA:
        return parse(value["text"], "expression", value["time"], value["unit"])
    options = {name: _tuples(inner) for name, inner in value.items()}
    return SPECS.get(frozenset(value), dict)(**options)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value

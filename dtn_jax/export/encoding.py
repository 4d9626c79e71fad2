"""How a model's raw rows become what its program takes: `table`, then `clean`, then `arrays`.

It is read from the folder's `encoders/`: encoders.json, spec.json and vocabulary/. Rows get the
types that training had (raw_rows.py), and go through its cleaner and its encoder.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import polars as pl

from dtn_jax.data import clean
from dtn_jax.data import encode as encoders
from dtn_jax.data.cast import DATE
from dtn_jax.data.encode import Fitted
from dtn_jax.data.formula import of_column
from dtn_jax.data.raw.types import Types, of_name
from dtn_jax.data.rows import Rows
from dtn_jax.data.schemas.spec import LISTED, Spec, SplitSpec
from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Bad, Encoded, scattered
from dtn_jax.export.raw_rows import table
from dtn_jax.schema import Schema

FITTED, SPEC, VOCABULARY = "encoders.json", "spec.json", "vocabulary"
STANDS = "\1"  # begins the names of columns that stand for fields which only training knows
NO_SPLIT = SplitSpec(by="random")  # which no column says


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

    def lists(self) -> set[str]:
        """The raw columns that hold lists."""
        return {*self.columns_of(*(n for n, f in self.fitted.items() if f.spec.kind in LISTED))}

    @functools.cached_property
    def rules(self) -> dict[str, str]:
        """{field whose lists were made from the log: how, in words}; rows bring such lists."""
        return {field.name: field.rule for field in self.spec.fields if field.rule}

    @functools.cached_property
    def times(self) -> dict[str, str]:
        """The unit of each raw column that a field reads as a time."""
        read = [f.spec.value for f in self.fitted.values() if f.spec.value and f.spec.value.unit]
        return {e.time: e.unit for e in read if e.time in e.columns and not e.column}

    def encode(self, rows: Any) -> Encoded:
        """The arrays of raw rows; see `raw_rows.table` for their forms, and what is raised."""
        types = {name: self.types[name] for name in self.columns}
        return self.encode_frame(*table(rows, types, self.optional))

    def encode_frame(self, frame: pl.DataFrame, bad: Bad) -> Encoded:
        """The arrays of a table that has all columns, in their types."""
        return self.arrays(self.clean(frame, bad), bad)

    def clean(self, frame: pl.DataFrame, bad: Bad, names: Collection[str] | None = None) -> Rows:
        """The good rows of a table that has all columns, in their types, and of it what all fields
        read, or those of `names`. Rows that training would have rejected are bad from here on."""
        spec = self.cleaned
        if names is not None:
            fields = tuple(field for field in spec.fields if field.name in names)
            spec = dataclasses.replace(spec, fields=fields)
        stand = [_constant(name, value, len(bad.good)) for name, value in self.fixed.items()]
        return clean.good_rows(spec, pl.DataFrame([*frame.get_columns(), *stand]), bad)

    def arrays(self, rows: Rows, bad: Bad) -> Encoded:
        """The arrays of rows, the bad ones among them, of which `clean` gave the others."""
        return self._joined(self._slots(rows), bad)

    def encode_shared(self, once: pl.DataFrame, frame: pl.DataFrame, rows: int) -> Encoded | None:
        """The arrays of a table whose `rows` rows have all values of the one of `once` in common.

        A field that reads nothing else is encoded once. None where a row is bad: `encode_frame` of
        all rows with all columns says which, and why.
        """
        first, bad = Bad(np.ones(1, np.int64)), Bad(np.arange(1, rows + 1))
        specs = {name: field.spec for name, field in self.fitted.items()}
        alone = {n for n in specs if (read := self.columns_of(n)) and {*read} <= {*once.columns}}
        alone = {n for n in alone if not specs[n].cross and (specs[n].beside or n) in alone}
        rest = specs.keys() - alone
        rest |= {name for n in rest for name in (*specs[n].cross, specs[n].beside) if name}
        read = [name for name in self.columns_of(*rest) if name in once.columns]
        beside = [once[name].new_from_index(0, rows) for name in read]
        shared = self._slots(self.clean(once, first, alone), alone)
        found = self._slots(self.clean(frame.with_columns(beside), bad, rest), rest)
        if not (first.good.all() and bad.good.all()):
            return None
        found |= {name: shared[name] for name in alone}
        return self._joined({name: found[name] for name in specs}, bad)

    def _slots(
        self, rows: Rows, names: Collection[str] | None = None
    ) -> dict[str, encoders.Encoded]:
        """The slots of all fields, or of these."""
        fitted = {n: field for n, field in self.fitted.items() if names is None or n in names}
        specs = {name: field.spec for name, field in fitted.items()}
        with np.errstate(over="ignore", invalid="ignore"):  # its score is not finite then
            return encoders.encode(fitted, encoders.with_crosses(specs, rows))

    def _joined(self, fields: Mapping[str, encoders.Encoded], bad: Bad) -> Encoded:
        """The slots of the good rows side by side, in their places among all; a field that has one
        row has it in all."""
        count, joined = int(bad.good.sum()), []
        for what in ("ids", "weights", "numbers"):
            parts = [part for f in fields.values() if (part := getattr(f, what)) is not None]
            parts = [np.broadcast_to(part, (count, part.shape[1])) for part in parts]
            rows = np.concatenate(parts, axis=1) if parts else np.empty((count, 0), np.float32)
            joined.append(scattered(rows, bad.good))
        return Encoded(*joined, bad)


def read(
    folder: pathlib.Path,
    spec: Spec,
    schema: Schema,
    fixed: Mapping[str, Any],
    optional: Collection[str] = (),
) -> Encoding:
    """The encoding of a model, or of a prepared set.

    Args:
      folder: has encoders.json and vocabulary/.
      spec: the schema file, its times in their unit.
      schema: of the data set.
      fixed: {field: the value that stands for it}.
      optional: the fields that a row may lack.

    Raises:
      ValueError: they do not go together.
    """
    specs, stands = {}, {}
    for field in spec.fields:
        if field.history is not None:  # a row to score brings its own
            value = of_column(field.name)
            field = dataclasses.replace(field, history=None, gap=False, value=value)
        if field.name in fixed:
            if field.value is None:
                raise UserError(f"field {field.name!r} is a cross and has no value of its own")
            stand, value = f"{STANDS}{field.name}", fixed[field.name]
            weights = f"{stand}{STANDS}" if field.weights else ""
            stands[stand] = value
            if weights:
                stands[weights] = None if value is None else [1.0] * len(value)
            field = dataclasses.replace(field, value=of_column(stand), weights=weights)
        specs[field.name] = field
    cleaned = Spec(name=spec.name, fields=(*specs.values(),), tasks=(), split=NO_SPLIT)
    fitted = encoders.fitted(specs, json.loads((folder / FITTED).read_text()), folder / VOCABULARY)
    if tuple(field.field() for field in fitted.values()) != schema.fields:
        raise ValueError("its fields are not those of the schema")
    types = {column.name: of_name(column.type) for column in schema.columns}
    for field in spec.fields:
        if field.history is not None:  # of the lists that a row brings
            source = field.value if field.beside else specs[field.target].value
            kind = types.get(source.column) if source is not None else None
            types[field.name] = pl.List(kind or (pl.Int64 if field.gap else pl.String))
    made = Encoding(schema, spec, fitted, stands, types, (), (), cleaned)
    columns = made.columns_of(*schema.field_names)
    if lacking := sorted({*columns} - types.keys()):
        raise ValueError(f"the schema has no type of column {lacking[0]!r}")
    needed = made.columns_of(*(name for name in schema.field_names if name not in optional))
    offered = tuple(name for name in columns if name not in needed)
    return dataclasses.replace(made, columns=columns, optional=offered)


def time_of(unit: str) -> str:
    """A time in this unit, in words."""
    return DATE if unit == "date" else f"a number of the time unit {unit!r}"


def _constant(name: str, value: Any, rows: int) -> pl.Series:
    """A column of one value."""
    value = list(value) if isinstance(value, tuple) else value
    return pl.Series(name, [value]).new_from_index(0, rows)

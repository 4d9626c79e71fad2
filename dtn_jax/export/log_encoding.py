"""Raw rows of your own logs to ids and numbers, by the schema file with which they were trained."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import polars as pl

from dtn_jax.data import clean, rows
from dtn_jax.data import encode as encoders
from dtn_jax.data.cast import DATE
from dtn_jax.data.encode import Encoded, Fitted
from dtn_jax.data.formula import of_column
from dtn_jax.data.raw.types import Types
from dtn_jax.data.schemas.spec import LISTED, FieldSpec, Spec
from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Bad
from dtn_jax.schema import Field

STANDS = "\1"  # begins the names of columns that stand for fields which only training knows


@dataclasses.dataclass(frozen=True)
class LogEncoding:
    """The fitted fields of a log.

    Attributes:
      fitted: of each field, in the schema's order.
      fixed: {name of a column that stands for a field: its one value}.
      rules: {field whose lists were made from the log: how, in words}; rows bring such lists.
      sources: those fields, as the schema file has them.
    """

    fitted: Mapping[str, Fitted]
    fixed: Mapping[str, Any]
    rules: Mapping[str, str]
    sources: Mapping[str, FieldSpec] = dataclasses.field(default_factory=dict)

    @property
    def specs(self) -> list[FieldSpec]:
        return [field.spec for field in self.fitted.values()]

    def columns_of(self, name: str) -> tuple[str, ...]:
        """The raw columns of a field."""
        named = clean.raw_columns([self.fitted[name].spec])
        return tuple(name for name in named if name not in self.fixed)

    def lists(self) -> set[str]:
        """The raw columns that hold lists."""
        listed = [spec.name for spec in self.specs if spec.kind in LISTED]
        return {column for name in listed for column in self.columns_of(name)}

    @functools.cached_property
    def times(self) -> dict[str, str]:
        """The unit of each raw column that a field reads as a time."""
        read = [spec.value for spec in self.specs if spec.value is not None and spec.value.unit]
        return {e.time: e.unit for e in read if e.time in e.columns and not e.column}

    def made_types(self, types: Types) -> Types:
        """The types of the lists that a row brings where training made them from the log.

        Args:
          types: of the raw columns that training read.
        """
        found = {}
        for name in self.rules:
            spec = self.sources[name]
            source = spec.value if spec.beside else self.fitted[spec.target].spec.value
            column = source.column if source is not None else ""
            gap = pl.Int64 if spec.gap else pl.String
            found[name] = pl.List(types.get(column, gap))
        return found

    def fields(self) -> tuple[Field, ...]:
        return tuple(field.field() for field in self.fitted.values())

    def alone(self, columns: Collection[str]) -> set[str]:
        """The fields that read these columns and nothing else; no crosses.

        A companion goes with its history."""
        plain = [name for name, field in self.fitted.items() if not field.spec.cross]
        found = {n for n in plain if (own := self.columns_of(n)) and set(own) <= set(columns)}
        return {n for n in found if (self.fitted[n].spec.beside or n) in found}

    def without(self, names: Collection[str]) -> set[str]:
        """The fields but for these, with those that crosses among them are made of, and the
        histories beside companions."""
        rest = self.fitted.keys() - names
        specs = [self.fitted[name].spec for name in rest]
        return rest.union(*(s.cross for s in specs), (s.beside for s in specs if s.beside))

    def encode(
        self, frame: pl.DataFrame, bad: Bad, names: Collection[str] | None = None
    ) -> dict[str, Encoded]:
        """The slots of each field in the good rows; of the fields of `names` alone, if given."""
        fitted = {n: f for n, f in self.fitted.items() if names is None or n in names}
        constants = [constant(name, v, len(bad.good)) for name, v in self.fixed.items()]
        frame = pl.DataFrame([*frame.get_columns(), *constants])
        specs = [field.spec for field in fitted.values()]
        values = clean.fields(specs, frame, bad)
        good = rows.of_frame(values.filter(pl.Series(bad.good)), clean.coded(specs))
        by_name = {spec.name: spec for spec in specs}
        return encoders.encode(fitted, encoders.with_crosses(by_name, good))


def time_of(unit: str) -> str:
    """A time in this unit, in words."""
    return DATE if unit == "date" else f"a number of the time unit {unit!r}"


def read(
    spec: Spec, facts: Mapping[str, dict], vocabularies: pathlib.Path, fixed: Mapping[str, Any]
) -> LogEncoding:
    """The encoding of a log.

    Args:
      spec: the schema file, its times in their unit.
      facts: what was fitted, as `Fitted.to_json` gives it.
      vocabularies: the folder of the tables' files.
      fixed: {field: the value that stands for it}.
    """
    specs, stands = {}, {}
    for field in spec.fields:
        if field.history is not None:  # a row to score brings its own
            own = of_column(field.name)
            field = dataclasses.replace(field, history=None, gap=False, value=own)
        if field.name in fixed:
            if field.value is None:
                raise UserError(f"field {field.name!r} is a cross and has no value of its own")
            stands[f"{STANDS}{field.name}"] = value = fixed[field.name]
            weights = f"{STANDS}{field.name}{STANDS}" if field.weights else ""
            if weights:
                stands[weights] = None if value is None else [1.0] * len(value)
            column = of_column(f"{STANDS}{field.name}")
            field = dataclasses.replace(field, value=column, weights=weights)
        specs[field.name] = field
    rules = {field.name: field.rule for field in spec.fields if field.rule}
    sources = {field.name: field for field in spec.fields if field.rule}
    return LogEncoding(encoders.fitted(specs, facts, vocabularies), stands, rules, sources)


def constant(name: str, value: Any, rows: int) -> pl.Series:
    """A column of one value."""
    value = list(value) if isinstance(value, tuple) else value
    return pl.Series(name, [value]).new_from_index(0, rows)


def required(encoding: Any, names: Collection[str]) -> dict[str, None]:
    """The raw columns of these fields, each once, in order."""
    return {column: None for name in names for column in encoding.columns_of(name)}


def joined(columns: Mapping[str, Encoded], rows: int, what: str) -> np.ndarray:
    """`ids`, `weights` or `numbers` of all fields side by side, `[B, ...]`."""
    found = [v for c in columns.values() if (v := getattr(c, what)) is not None]
    return np.concatenate(found, axis=1) if found else np.empty((rows, 0), np.float32)


def repeated(column: Encoded, rows: int) -> Encoded:
    """The slots of one row, in so many rows."""
    arrays = (column.ids, column.weights, column.numbers)
    return Encoded(*(None if a is None else np.repeat(a, rows, axis=0) for a in arrays))

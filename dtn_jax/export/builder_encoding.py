"""Raw rows of a data set that a builder prepares: a column a field, and one for a bag's weights.

What training refuses as a wrong type is a bad row here. Text that says a number is one, as in CSV.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from dtn_jax.data.clean import WRONG_TYPE, number_lists
from dtn_jax.data.encode import Encoded as Slots
from dtn_jax.datasets.preparation import encoders
from dtn_jax.datasets.preparation.bags import flat, lengths
from dtn_jax.datasets.preparation.encoders import Encoder
from dtn_jax.datasets.preparation.ragged import pad
from dtn_jax.export.encoded import Bad
from dtn_jax.export.keyed_values import KeyedValues, keyed
from dtn_jax.export.log_encoding import constant
from dtn_jax.schema import Field


@dataclasses.dataclass(frozen=True)
class BuilderEncoding:
    """Fitted encoders, by field in the schema's order, and the fields that have one value."""

    fitted: Mapping[str, Encoder]
    fixed: Mapping[str, Any]

    def columns_of(self, name: str) -> tuple[str, ...]:
        """The raw columns of a field."""
        weights = getattr(self.fitted[name], "weights", "")
        return () if name in self.fixed else tuple(filter(None, (name, weights)))

    def lists(self) -> set[str]:
        """The raw columns that hold lists."""
        listed = [name for name, found in self.fitted.items() if isinstance(found, encoders.Bag)]
        return {column for name in listed for column in self.columns_of(name)}

    def fields(self) -> tuple[Field, ...]:
        return tuple(encoders.field(name, encoder) for name, encoder in self.fitted.items())

    def alone(self, columns: Collection[str]) -> set[str]:
        """The fields that read these columns and nothing else."""
        return {n for n in self.fitted if (own := self.columns_of(n)) and set(own) <= set(columns)}

    def without(self, names: Collection[str]) -> set[str]:
        """The fields but for these."""
        return self.fitted.keys() - names

    def encode(
        self, frame: pl.DataFrame, bad: Bad, names: Collection[str] | None = None
    ) -> dict[str, Slots]:
        """The slots of each field in the good rows; of the fields of `names` alone, if given."""
        fitted = {n: e for n, e in self.fitted.items() if names is None or n in names}
        columns: dict[str, pl.Series] = {}
        weights: dict[str, pl.Series] = {}
        for name, encoder in fitted.items():
            column, beside = self._raw(name, encoder, frame, len(bad.good))
            columns[name] = checked(encoder, column, bad)
            if beside is not None:
                weights[name] = _weights(columns[name], beside, bad)
        if not bad.good.all():
            columns = {name: column.filter(bad.good) for name, column in columns.items()}
            weights = {name: column.filter(bad.good) for name, column in weights.items()}
        return {
            name: self._slots(name, encoder, columns[name], weights.get(name))
            for name, encoder in fitted.items()
        }

    @functools.cached_property
    def _keyed(self) -> dict[str, KeyedValues]:
        found = {}
        for name, encoder in self.fitted.items():
            vocabulary = encoder.vocabulary if isinstance(encoder, encoders.Bag) else encoder
            if isinstance(vocabulary, encoders.Vocabulary):
                found[name] = keyed(vocabulary)
        return found

    def _slots(
        self, name: str, encoder: Encoder, column: pl.Series, weights: pl.Series | None
    ) -> Slots:
        if isinstance(encoder, encoders.Bag):
            rows = self._keyed[name].rows(flat(column))
            beside = None if weights is None else encoder.encode_weights(weights)
            return Slots(pad(rows, lengths(column), encoder.slots, -1), beside)
        if name in self._keyed:
            return Slots(self._keyed[name].rows(column)[:, None])
        found = Slots(encoder.encode(column)[:, None])
        if isinstance(encoder, encoders.WITH_NUMBERS):
            found.numbers = encoder.values(column).reshape(len(column), encoder.numbers)
        return found

    def _raw(
        self, name: str, encoder: Encoder, frame: pl.DataFrame, rows: int
    ) -> tuple[pl.Series, pl.Series | None]:
        """A field's column, and that of a bag's weights: of a fixed one they are all 1."""
        weights = encoder.weights if isinstance(encoder, encoders.Bag) else ""
        if name not in self.fixed:
            return frame[name], frame[weights] if weights else None
        value = self.fixed[name]
        ones = constant(weights, [1.0] * len(value or ()), rows) if weights else None
        return constant(name, value, rows), ones


def checked(encoder: Encoder, column: pl.Series, bad: Bad) -> pl.Series:
    """A column of the type that the encoder takes; rows with anything else are bad."""
    if isinstance(encoder, encoders.Bag):
        return _lists_of(column, pl.String, bad)
    if column.dtype.is_nested():
        bad(column.is_null(), WRONG_TYPE, column)
        return pl.Series(column.name, [None] * len(column), dtype=pl.Null)
    if isinstance(encoder, encoders.NUMERIC):
        return _numbers(column, bad)
    if isinstance(encoder, encoders.Identity):
        found = _numbers(column, bad).fill_nan(None)
        whole = found.cast(pl.Int64, strict=False)
        bad(((found == whole) | found.is_null()).fill_null(False), WRONG_TYPE, column)
        return whole
    return column


def _lists_of(column: pl.Series, inner: Any, bad: Bad) -> pl.Series:
    if isinstance(column.dtype, pl.List):
        return column
    bad(column.is_null(), WRONG_TYPE, column)
    return pl.Series(column.name, [None] * len(column), dtype=pl.List(inner))


def _numbers(column: pl.Series, bad: Bad) -> pl.Series:
    """As float64; numbers that are not finite stay what they are."""
    if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        return column.cast(pl.Float64)
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        text = column.cast(pl.String).str.strip_chars()
        found = text.cast(pl.Float64, strict=False)
        bad(found.is_not_null() | column.is_null(), WRONG_TYPE, column)
        return found
    bad(column.is_null(), WRONG_TYPE, column)
    return pl.Series(column.name, [None] * len(column), dtype=pl.Float64)


def _weights(bag: pl.Series, column: pl.Series, bad: Bad) -> pl.Series:
    lists = _lists_of(column, pl.Float64, bad)
    same = bag.list.len().fill_null(0) == lists.list.len().fill_null(0)
    bad(same, f"weights of another length than {bag.name!r}", column)
    return number_lists(lists, bad)

"""How a model's raw rows become what its program takes: read from the folder's `encoders/`."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Collection
from typing import Any

import numpy as np

from dtn_jax.data.cast import typed
from dtn_jax.data.encode import Encoded as Slots
from dtn_jax.data.raw.types import Types, of_name
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.errors import UserError
from dtn_jax.export import log_encoding, spec_json
from dtn_jax.export.encoded import Bad, Encoded, scattered
from dtn_jax.export.log_encoding import LogEncoding, joined, repeated, required
from dtn_jax.export.model_folder import AGAIN, ENCODERS, LARGEST_JSON, Facts, read_json
from dtn_jax.export.raw_rows import table
from dtn_jax.schema import Schema

FITTED, SPEC, VOCABULARY = "encoders.json", "spec.json", "vocabulary"


@dataclasses.dataclass(frozen=True)
class Encoding:
    """Raw rows to arrays.

    Attributes:
      schema: of the data set.
      by: the fields' encoders.
      columns: the raw columns that are read.
      optional: those of them that rows may lack.
      spec: the schema file.
    """

    schema: Schema
    by: LogEncoding
    columns: tuple[str, ...]
    optional: tuple[str, ...]
    spec: Spec

    @functools.cached_property
    def types(self) -> Types:
        """Of the raw columns, those of labels too, as training had them."""
        found = {column.name: of_name(column.type) for column in self.schema.columns}
        return found | self.by.made_types(found)

    def encode(self, rows: Any) -> Encoded:
        """The arrays of raw rows; see `raw_rows.table` for their forms, and what is raised."""
        frame, bad = table(rows, {name: self.types[name] for name in self.columns}, self.optional)
        return self.encode_frame(frame, bad)

    def encode_frame(self, frame: Any, bad: Bad) -> Encoded:
        """The arrays of a table that has all columns."""
        return self._arrays(self._slots(self.typed(frame, bad), bad), bad)

    def typed(self, frame: Any, bad: Bad) -> Any:
        """The table with the types that training had."""
        return frame.with_columns(
            typed(frame[name], kind, bad) for name, kind in self.types.items() if name in frame
        )

    def encode_shared(self, once: Any, frame: Any, rows: int) -> Encoded | None:
        """The arrays of a table whose `rows` rows have all values of the one of `once` in common.

        A field that reads nothing else is encoded once. None where a row is bad: `encode_frame` of
        all rows with all columns says which, and why.
        """
        first, bad = Bad(np.ones(1, np.int64)), Bad(np.arange(1, rows + 1))
        once, frame = self.typed(once, first), self.typed(frame, bad)
        own = self.by.alone(once.columns)
        others = self.by.without(own)
        read = [name for name in required(self.by, others) if name in once.columns]
        beside = [once[name].new_from_index(0, rows) for name in read]
        shared = self._slots(once, first, own)
        found = self._slots(frame.with_columns(beside), bad, others)
        if not (first.good.all() and bad.good.all()):
            return None
        found |= {name: repeated(shared[name], rows) for name in own}
        return self._arrays({name: found[name] for name in self.schema.field_names}, bad)

    def _slots(
        self, frame: Any, bad: Bad, names: Collection[str] | None = None
    ) -> dict[str, Slots]:
        """The slots in the good rows, of all fields or of these."""
        with np.errstate(over="ignore", invalid="ignore"):  # its score is not finite then
            return self.by.encode(frame, bad, names)

    def _arrays(self, found: dict[str, Slots], bad: Bad) -> Encoded:
        count, good = int(bad.good.sum()), bad.good
        ids, weights, numeric = (joined(found, count, n) for n in ("ids", "weights", "numbers"))
        self._check(ids)
        return Encoded(
            scattered(ids, good),
            scattered(weights, good),
            scattered(numeric, good),
            bad,
        )

    def _check(self, ids: np.ndarray) -> None:
        """Raises UserError where an id is no row of its table: the encoders are damaged then."""
        limits = np.array([field.rows for field in self.schema.slot_fields()])
        if ids.size and (ids.max(axis=0) >= limits).any():
            slot = int((ids.max(axis=0) >= limits).argmax())
            name = self.schema.slot_fields()[slot].name
            raise UserError(f"the encoder of field {name!r} gives rows beyond its table; {AGAIN}")


def read(folder: pathlib.Path, schema: Schema, facts: Facts) -> Encoding:
    """The encoding of a model.

    Raises:
      UserError: a file is missing or damaged, or does not go with the schema.
    """
    place = folder / ENCODERS
    try:
        spec = spec_json.from_json(_text(place / SPEC))
        fitted = read_json(place / FITTED)
        by = log_encoding.read(spec, fitted, place / VOCABULARY, facts.fixed)
        if by.fields() != schema.fields:
            raise ValueError("its fields are not those of the schema")
        columns = required(by, schema.field_names)
        types = {column.name: of_name(column.type) for column in schema.columns}
        if lacking := sorted(columns.keys() - types.keys() - by.rules.keys()):
            raise ValueError(f"the schema has no type of column {lacking[0]!r}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{place} is damaged ({error}); {AGAIN}") from None
    needed = required(by, [n for n in schema.field_names if n not in facts.optional])
    optional = tuple(name for name in columns if name not in needed)
    return Encoding(schema, by, tuple(columns), optional, spec)


def _text(path: pathlib.Path) -> str:
    if path.stat().st_size > LARGEST_JSON:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes")
    return path.read_text()

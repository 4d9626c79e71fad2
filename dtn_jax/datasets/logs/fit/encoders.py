"""Turns the fields of rows into ids and numbers, by what was fitted on train."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.fit import vocabulary_file
from dtn_jax.datasets.logs.fit.vocabulary_file import VocabularyFile
from dtn_jax.datasets.logs.rows.field_values import FieldValues
from dtn_jax.datasets.logs.schema.spec import FieldSpec
from dtn_jax.datasets.preparation.bags import flat, lengths
from dtn_jax.datasets.preparation.encoders import QuantileBuckets
from dtn_jax.datasets.preparation.ragged import pad
from dtn_jax.schema import Field
from dtn_jax.shapes import Bool, Float32, Int32, Int64, UInt64

Keyed = tuple[UInt64[np.ndarray, " B"], Bool[np.ndarray, " B"]]  # keys, and which are there
MISSING, KNOWN = 0, 1  # the ids of a field whose value is a number or a vector


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A field and what was fitted for it.

    Attributes:
      spec: the field, as the schema file has it.
      rows: of its table, the unknown one included.
      slots: ids of an example.
      vocabulary: of a vocabulary encoder.
      buckets: of numeric buckets.
      mean, deviation: of a standardised number, `[]`, or vector, `[K]`.
      edges: of the bins of a standardised number, if it has such.
    """

    spec: FieldSpec
    rows: int
    slots: int = 1
    vocabulary: VocabularyFile | None = None
    buckets: QuantileBuckets | None = None
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    edges: tuple[float, ...] = ()

    @property
    def numbers(self) -> int:
        """How many numbers an example has beside its ids: K of a vector."""
        if self.spec.kind == "vector":
            return self.spec.length
        return int(self.spec.encoder == "standardise")

    def field(self) -> Field:
        """The field of the data set's schema."""
        spec = self.spec
        facts: dict[str, Any] = {"rows": self.rows, "table": spec.table, "slots": self.slots}
        if spec.kind == "sequence":
            facts |= {"kind": spec.kind, "pooling": spec.pooling, "target": spec.target}
            facts["beside"] = spec.beside
        elif spec.kind == "bag" or self.slots > 1:  # two hash functions give a value two rows
            facts |= {"kind": "bag", "pooling": spec.pooling, "weighted": bool(spec.weights)}
        else:
            facts["kind"] = spec.kind
        if spec.kind == "numeric":
            facts["standardised"] = spec.encoder == "standardise"
            facts |= {"embedding": spec.embedding, "edges": self.edges}
        if spec.kind == "vector":
            facts["length"] = spec.length
        return Field(spec.name, **facts)

    def to_json(self) -> dict:
        found: dict[str, Any] = {"rows": self.rows, "slots": self.slots}
        if self.buckets is not None:
            found |= {"dominating": self.buckets.dominating, "edges": self.buckets.edges}
        if self.mean is not None:
            found |= {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}
        if self.edges:
            found["bins"] = self.edges
        return found


@dataclasses.dataclass
class Encoded:
    """A field's slots of B rows.

    Attributes:
      ids: int32 `[B, S]`; -1 pads, 0 is the unknown id.
      weights: float32 `[B, S]` of a weighted bag.
      numbers: float32 `[B, N]` of a standardised number (N = 1) or a vector (N = K).
      cut: int64 `[B]`, of a bag, how many values found no slot.
      each: slots of a known value, one a hash function; a missing one takes a single slot.
    """

    ids: Int32[np.ndarray, "B S"]
    weights: Float32[np.ndarray, "B S"] | None = None
    numbers: Float32[np.ndarray, "B N"] | None = None
    cut: Int64[np.ndarray, " B"] | None = None
    each: int = 1


def fitted(specs: Mapping[str, FieldSpec], facts: Mapping[str, dict], folder: pathlib.Path) -> dict:
    """{field: Fitted}, from what `to_json` gave; vocabularies lie in `folder`, one a table."""
    opened: dict[str, VocabularyFile] = {}

    def of(spec: FieldSpec, found: dict) -> Fitted:
        made = {"rows": found["rows"], "slots": found["slots"]}
        if spec.encoder == "vocabulary":
            if spec.table not in opened:
                path = vocabulary_file.path_of(folder, spec.table)
                opened[spec.table] = vocabulary_file.load(path)
            made["vocabulary"] = opened[spec.table]
        if "edges" in found:
            fits = {name: tuple(found[name]) for name in ("dominating", "edges")}
            made["buckets"] = QuantileBuckets(spec.buckets, **fits)
        if "mean" in found:
            made |= {name: np.asarray(found[name]) for name in ("mean", "deviation")}
        return Fitted(spec, **made, edges=tuple(found.get("bins", ())))

    return {name: of(spec, facts[name]) for name, spec in specs.items()}


def field_keys(specs: Mapping[str, FieldSpec], rows: FieldValues) -> dict[str, Keyed]:
    """The keys of each categorical field's values; crosses have theirs from two fields."""
    found: dict[str, Keyed] = {}
    for name, spec in specs.items():
        if spec.kind == "categorical" and not spec.cross:
            found[name] = known_keys(spec, rows.values[name])
    for name, spec in specs.items():
        if spec.cross:
            (a, a_there), (b, b_there) = (found[of] for of in spec.cross)
            found[name] = keys.crossed(a, b), a_there & b_there
    return found


def known_keys(spec: FieldSpec, values: pl.Series) -> Keyed:
    """The keys of values; those listed as unknown count as missing.

    Of a history from the log's own rows the values are keys already.
    """
    if spec.history is not None and not spec.gap:
        return (made := values.to_numpy()), made != keys.MISSING
    return keys.known(values, spec.unknown)


def bag_values(spec: FieldSpec, bag: pl.Series) -> pl.Series:
    """The values that a bag keeps, one row's after another's."""
    return flat(_kept(spec, bag, spec.max_values))


def _kept(spec: FieldSpec, bag: pl.Series, most: int) -> pl.Series:
    """The lists without what is beyond `most`: the first or the last values stay, in order."""
    return bag.list.tail(most) if spec.keep == "last" else bag.list.head(most)


def encode(fields: Mapping[str, Fitted], rows: FieldValues) -> dict[str, Encoded]:
    """The slots of every field."""
    keyed = field_keys({name: f.spec for name, f in fields.items()}, rows)
    return {
        name: _WAYS[field.spec.kind](field, rows, keyed.get(name)) for name, field in fields.items()
    }


def _categorical(field: Fitted, rows: FieldValues, keyed: Keyed) -> Encoded:
    return Encoded(_rows_of(field, *keyed), each=field.spec.functions)


def _rows_of(field: Fitted, made: np.ndarray, there: np.ndarray) -> Int32[np.ndarray, "B S"]:
    """The table rows of keys: one each, or one for each hash function; 0 where none is there."""
    spec = field.spec
    if field.vocabulary is not None:
        found = field.vocabulary.look_up(made)[:, None]
    elif spec.encoder == "identity":
        rows = keys.numbers_of(made)
        found = np.where((rows >= 1) & (rows <= spec.size), rows, 0).astype(np.int32)[:, None]
    else:
        found = np.stack(
            [
                1 + keys.hashed_rows(made, spec.size, function).astype(np.int32)
                for function in range(spec.functions)
            ],
            axis=1,
        )
    if there.all():
        return found
    found = np.where(there[:, None], found, np.int32(0))
    found[~there, 1:] = -1  # the unknown id once
    return found


def _bag(field: Fitted, rows: FieldValues, keyed: None) -> Encoded:
    spec, bag = field.spec, rows.values[field.spec.name]
    each, every = spec.functions, lengths(bag)
    most = field.slots // each
    bag, counts = _kept(spec, bag, most), np.minimum(every, most)
    values = flat(bag)
    found = _rows_of(field, *known_keys(spec, values))
    ids = [pad(found[:, n], counts, most, -1) for n in range(each)]
    ids = np.stack(ids, axis=2).reshape(len(counts), field.slots)
    weights = None
    if spec.weights:
        beside = _kept(spec, rows.weights[spec.name], most)
        numbers = flat(beside).cast(pl.Float32).to_numpy()
        weights = np.repeat(pad(numbers, counts, most, 0), each, axis=1)
    return Encoded(ids, weights, cut=every - counts, each=each)


def _numeric(field: Fitted, rows: FieldValues, keyed: None) -> Encoded:
    column = rows.values[field.spec.name]
    if field.buckets is not None:
        return Encoded(field.buckets.encode(column)[:, None])
    values = column.to_numpy()
    there = np.isfinite(values)
    scaled = np.where(there, (values - field.mean) / field.deviation, 1.0)  # 1 scales row 0
    ids = np.where(there, KNOWN, MISSING).astype(np.int32)[:, None]
    return Encoded(ids, numbers=scaled.astype(np.float32)[:, None])


def _vector(field: Fitted, rows: FieldValues, keyed: None) -> Encoded:
    column = rows.values[field.spec.name]
    there = column.is_not_null().to_numpy()
    numbers = np.zeros((len(column), field.spec.length), np.float32)
    if there.any():
        numbers[there] = scaled_vectors(field, vectors(column, field.spec.length))
    return Encoded(np.where(there, KNOWN, MISSING).astype(np.int32)[:, None], numbers=numbers)


def vectors(column: pl.Series, length: int) -> np.ndarray:
    """The vectors that are there, float64 `[known, K]`."""
    return flat(column).cast(pl.Float64).to_numpy().reshape(-1, length)


def scaled_vectors(field: Fitted, known: np.ndarray) -> np.ndarray:
    if field.mean is None:
        return known
    return (known - field.mean) / field.deviation


_WAYS = {
    "categorical": _categorical,
    "bag": _bag,
    "sequence": _bag,
    "numeric": _numeric,
    "vector": _vector,
}

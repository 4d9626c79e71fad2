"""THE encoder: the fields of cleaned rows to ids, weights and numbers, by what was fitted on train.

`prepare`, scoring of files and of rows in memory, and the server call it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import keys, vocabulary
from dtn_jax.data.quantiles import QuantileBuckets
from dtn_jax.data.rows import VALUE, WEIGHTS, Rows, Values, kept, lengths, of_keys, places
from dtn_jax.data.schemas.spec import FieldSpec
from dtn_jax.data.vocabulary import Vocabulary
from dtn_jax.schema import Field
from dtn_jax.shapes import Float32, Float64, Int, Int32, Int64, Shaped

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
    vocabulary: Vocabulary | None = None
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
        return Field(spec.name, role=spec.role, tokens=spec.tokens, **facts)

    def to_json(self) -> dict:
        facts: dict[str, Any] = {"rows": self.rows, "slots": self.slots}
        if self.buckets is not None:
            facts |= {"dominating": self.buckets.dominating, "edges": self.buckets.edges}
        if self.mean is not None:
            facts |= {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}
        if self.edges:
            facts["bins"] = self.edges
        return facts


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


def fitted(
    specs: Mapping[str, FieldSpec], facts: Mapping[str, dict], folder: pathlib.Path
) -> dict[str, Fitted]:
    """{field: Fitted}, from what `to_json` gave; vocabularies lie in `folder`, one a table."""
    opened: dict[str, Vocabulary] = {}

    def of(spec: FieldSpec, known: dict) -> Fitted:
        parts = {"rows": known["rows"], "slots": known["slots"]}
        if spec.encoder == "vocabulary":
            if spec.table not in opened:
                opened[spec.table] = vocabulary.load(vocabulary.path_of(folder, spec.table))
            parts["vocabulary"] = opened[spec.table]
        if spec.encoder == "buckets":
            fits = {name: tuple(known[name]) for name in ("dominating", "edges")}
            parts["buckets"] = QuantileBuckets(spec.buckets, **fits)
        if spec.encoder == "standardise":
            parts |= {name: np.asarray(known[name]) for name in ("mean", "deviation")}
        return Fitted(spec, **parts, edges=tuple(known.get("bins", ())))

    return {name: of(spec, facts[name]) for name, spec in specs.items()}


def load(specs: Mapping[str, FieldSpec], folder: pathlib.Path) -> dict[str, Fitted]:
    """What was fitted for the set in a folder."""
    facts = json.loads((folder / "encoders.json").read_text())
    return fitted(specs, facts, folder / vocabulary.FOLDER)


def with_crosses(specs: Mapping[str, FieldSpec], rows: Rows) -> Rows:
    """The rows with a column of keys for each cross of two fields."""
    for name, spec in specs.items():
        if spec.cross:
            a, b = (
                Values.of(rows.column(VALUE + of)).row_keys(specs[of].unknown) for of in spec.cross
            )
            there = (a != keys.MISSING) & (b != keys.MISSING)
            pairs = np.where(there, keys.crossed(a, b), keys.MISSING)
            rows = rows.replaced(VALUE + name, of_keys(pairs))
    return rows


def encode(fields: Mapping[str, Fitted], rows: Rows) -> dict[str, Encoded]:
    """The slots of every field; crosses have their columns (`with_crosses`)."""
    return {name: _WAYS[field.spec.kind](field, rows) for name, field in fields.items()}


def _table_rows(field: Fitted, values: Values) -> Int32[np.ndarray, "N E"]:
    """The table rows of values: one each, or one for each hash function; 0 where none is there."""
    spec = field.spec
    wanted = values.known(spec.unknown)
    if field.vocabulary is not None:
        ids = field.vocabulary.look_up(wanted)[:, None]
    elif spec.encoder == "identity":
        rows = keys.numbers_of(wanted)
        ids = np.where((rows >= 1) & (rows <= spec.size), rows, 0).astype(np.int32)[:, None]
    else:
        hashed = [keys.hashed_rows(wanted, spec.size, n) for n in range(spec.functions)]
        ids = 1 + np.stack(hashed, axis=1).astype(np.int32)
    unknown = np.array([0] + [-1] * (spec.functions - 1), np.int32)  # the unknown id once
    ids = np.where((wanted != keys.MISSING)[:, None], ids, unknown)
    return values.spread(ids, unknown)


def _categorical(field: Fitted, rows: Rows) -> Encoded:
    values = Values.of(rows.column(VALUE + field.spec.name))
    return Encoded(_table_rows(field, values), each=field.spec.functions)


def _bag(field: Fitted, rows: Rows) -> Encoded:
    spec, each = field.spec, field.spec.functions
    most = field.slots // each
    column = rows.column(VALUE + spec.name)
    every, last = lengths(column), spec.keep == "last"
    values = Values.of(kept(column, most, last))
    counts = values.lengths
    table_rows = _table_rows(field, values)
    ids = np.stack([pad(table_rows[:, n], counts, most, -1) for n in range(each)], axis=2)
    weights = None
    if spec.weights:
        beside = kept(rows.column(WEIGHTS + spec.name), most, last).flatten()
        numbers = beside.to_numpy(zero_copy_only=False).astype(np.float32)
        weights = np.repeat(pad(numbers, counts, most, 0), each, axis=1)
    ids = ids.reshape(len(counts), field.slots)
    return Encoded(ids, weights, cut=every - counts, each=each)


def _numeric(field: Fitted, rows: Rows) -> Encoded:
    values = rows.numbers(VALUE + field.spec.name)
    if field.buckets is not None:
        return Encoded(field.buckets.encode(values)[:, None])
    there = np.isfinite(values)
    scaled = np.where(there, (values - field.mean) / field.deviation, 1.0)  # 1 scales row 0
    ids = np.where(there, KNOWN, MISSING).astype(np.int32)[:, None]
    return Encoded(ids, numbers=scaled.astype(np.float32)[:, None])


def _vector(field: Fitted, rows: Rows) -> Encoded:
    column, length = rows.column(VALUE + field.spec.name), field.spec.length
    there = column.is_valid().to_numpy(zero_copy_only=False)
    numbers = np.zeros((len(column), length), np.float32)
    known = vectors(column, length)
    if field.mean is not None:
        known = (known - field.mean) / field.deviation
    numbers[there] = known
    return Encoded(np.where(there, KNOWN, MISSING).astype(np.int32)[:, None], numbers=numbers)


def vectors(column: pa.Array, length: int) -> Float64[np.ndarray, "known K"]:
    """The vectors that are there."""
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, length)


_WAYS = {
    "categorical": _categorical,
    "bag": _bag,
    "sequence": _bag,
    "numeric": _numeric,
    "vector": _vector,
}


def group_numbers(column: pa.Array) -> Int64[np.ndarray, " B"]:
    """The groups of rows as whole numbers: see `keys.group_numbers`."""
    values = Values.of(column)
    numbers = keys.group_numbers(values.keys, pl.from_arrow(values.different))
    return values.spread(numbers, 0)


def pad(
    values: Shaped[np.ndarray, " N"], lengths: Int[np.ndarray, " n"], slots: int, fill: int
) -> Shaped[np.ndarray, "n S"]:
    """The first S = `slots` values of each row, `fill` where there are fewer."""
    padded = np.full((len(lengths), slots), fill, values.dtype)
    kept = np.minimum(lengths, slots)
    if kept.sum() < len(values):
        values = values[places(lengths.cumsum() - lengths, kept)]
    padded[np.arange(slots) < kept[:, None]] = values
    return padded

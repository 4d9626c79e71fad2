"""Encoders turn column values into table rows; fitted on train, saved with the data, and reused.

Row 0 of every table is the unknown id: missing values, values listed as unknown, and values not
seen in train. An encoder is fitted from the counts of a column's values, so one streaming pass over
train fits them all, in memory bounded by the number of distinct values.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation import bags
from dtn_jax.datasets.preparation.bags import Bag
from dtn_jax.datasets.preparation.vocabulary import Counter, Vocabulary
from dtn_jax.errors import UserError, choose
from dtn_jax.schema import Field

DOMINATING = 0.05  # a numeric value with this share of train has a bucket of its own
MAX_DISTINCT = 1_000_000  # distinct numeric values kept while fitting; beyond, they are thinned


@dataclasses.dataclass(frozen=True)
class QuantileBuckets:
    """Quantile buckets of a numeric column, with a bucket for each dominating value.

    A value with a share of at least DOMINATING (often 0) has its own row. The rest is cut at its
    quantiles or, if it has at most `buckets` distinct values, between any two of them. Values
    beyond the fitted range fall into the outer buckets.
    """

    kind: ClassVar[str] = "quantiles"
    buckets: int = 32
    dominating: tuple[float, ...] | None = None
    edges: tuple[float, ...] = ()

    @property
    def rows(self) -> int:
        return 1 + len(self.dominating) + len(self.edges) + 1

    def fit(self, counts: pl.DataFrame) -> QuantileBuckets:
        values, weights = _numbers(counts)
        own = weights >= DOMINATING * weights.sum() if len(weights) else np.zeros(0, bool)
        rest, mass = values[~own], weights[~own].cumsum()
        edges = np.empty(0)
        if len(rest) > 1:
            targets = mass[-1] * np.arange(1, self.buckets) / self.buckets
            at = np.minimum(np.searchsorted(mass, targets), len(rest) - 2)
            if len(rest) <= self.buckets:  # enough for all: rare values need not share
                at = np.arange(len(rest) - 1)
            edges = np.unique((rest[at] + rest[at + 1]) / 2)  # between two seen values
        return dataclasses.replace(
            self, dominating=tuple(values[own].tolist()), edges=tuple(edges.tolist())
        )

    def encode(self, column: pl.Series) -> np.ndarray:
        """Returns the row of each value, int32 `[B]`."""
        values = column.cast(pl.Float64).to_numpy()
        rows = 1 + len(self.dominating) + np.searchsorted(self.edges, values, side="right")
        for i, value in enumerate(self.dominating):
            rows = np.where(values == value, 1 + i, rows)
        return np.where(np.isfinite(values), rows, 0).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Standardise:
    """(value − mean) / standard deviation; the value scales row 1, a missing one takes row 0."""

    kind: ClassVar[str] = "standardise"
    mean: float | None = None
    deviation: float = 1.0
    rows: ClassVar[int] = 2

    def fit(self, counts: pl.DataFrame) -> Standardise:
        values, weights = _numbers(counts)
        if not len(values):
            return dataclasses.replace(self, mean=0.0, deviation=1.0)
        mean = np.average(values, weights=weights)
        deviation = np.sqrt(np.average((values - mean) ** 2, weights=weights))
        if len(values) == 1:  # the mean's rounding would pass for a spread
            mean, deviation = values[0], 1.0
        return dataclasses.replace(self, mean=float(mean), deviation=float(deviation))

    def encode(self, column: pl.Series) -> np.ndarray:
        """Returns 1 for known values and 0 for missing ones, int32 `[B]`."""
        return np.isfinite(column.cast(pl.Float64).to_numpy()).astype(np.int32)

    def values(self, column: pl.Series) -> np.ndarray:
        """Returns the standardised values, float32 `[B]`; 1 where missing, to scale row 0."""
        values = column.cast(pl.Float64).to_numpy()
        scaled = (values - self.mean) / self.deviation
        return np.where(np.isfinite(values), scaled, 1.0).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Identity:
    """The column already holds rows 1 ... `size`; anything else is unknown."""

    kind: ClassVar[str] = "identity"
    size: int = 1

    @property
    def rows(self) -> int:
        return 1 + self.size

    def fit(self, counts: pl.DataFrame) -> Identity:
        return self

    def encode(self, column: pl.Series) -> np.ndarray:
        """Returns the row of each value, int32 `[B]`."""
        ids = column.fill_null(0).to_numpy()
        return np.where((ids >= 1) & (ids <= self.size), ids, 0).astype(np.int32)


Encoder = Vocabulary | Bag | QuantileBuckets | Standardise | Identity
ENCODERS = {e.kind: e for e in (Vocabulary, Bag, QuantileBuckets, Standardise, Identity)}
NUMERIC = (QuantileBuckets, Standardise)


def needs_fitting(encoder: Encoder) -> bool:
    return not isinstance(encoder, Identity)


def fit(encoders: Mapping[str, Encoder], frames: Iterable[pl.DataFrame]) -> dict[str, Encoder]:
    """Fits every encoder, by column name, in one pass over the train rows in `frames`."""
    wanted = {name: encoder for name, encoder in encoders.items() if needs_fitting(encoder)}
    if not wanted:
        return dict(encoders)
    numbers: dict[str, pl.DataFrame] = {}
    counters = {n: Counter() for n, e in wanted.items() if not isinstance(e, NUMERIC)}
    longest = {n: 0 for n, e in wanted.items() if isinstance(e, Bag)}
    empty = True
    for frame in frames:
        empty = False
        for name, encoder in wanted.items():
            if isinstance(encoder, NUMERIC):
                numbers[name] = _add_numbers(numbers.get(name), frame[name])
            elif isinstance(encoder, Bag):
                counters[name].add(encoder.kept(frame[name]))
                longest[name] = max(longest[name], bags.lengths(frame[name]).max(initial=0))
            else:
                counters[name].add(frame[name])
    if empty:
        raise UserError("the train split is empty: nothing to fit the encoders on")
    known = numbers | {name: counter.counts() for name, counter in counters.items()}
    sizes = {name: {"longest": int(most)} for name, most in longest.items()}
    fitted = {n: e.fit(known[n], **sizes.get(n, {})) for n, e in wanted.items()}
    return {name: fitted.get(name, encoder) for name, encoder in encoders.items()}


def _add_numbers(counts: pl.DataFrame | None, column: pl.Series) -> pl.DataFrame:
    """Counts a column's finite numbers, with those counted before."""
    chunk = column.rename("value").value_counts(name="count")
    chunk = chunk.cast({"value": pl.Float64, "count": pl.Int64})
    chunk = chunk.filter(pl.col("value").is_finite())
    if counts is not None:
        chunk = pl.concat([counts, chunk]).group_by("value").agg(pl.col("count").sum())
    return _thin(chunk) if len(chunk) > MAX_DISTINCT else chunk


@dataclasses.dataclass
class Encoded:
    """A field's slots of B rows.

    Attributes:
      ids: int32 `[B, S]`; -1 pads, 0 is the unknown id.
      weights: float32 `[B, S]` of a weighted bag, else None.
      cut: number of values that did not fit into the slots.
    """

    ids: np.ndarray
    weights: np.ndarray | None = None
    cut: int = 0


def encode(name: str, encoder: Encoder, frame: pl.DataFrame) -> Encoded:
    """The slots of one field; `encoder` is fitted."""
    ids = encoder.encode(frame[name])
    if not isinstance(encoder, Bag):
        return Encoded(ids[:, None])
    weights = encoder.encode_weights(frame[encoder.weights]) if encoder.weights else None
    return Encoded(ids, weights, encoder.cut(frame[name]))


def field(name: str, encoder: Encoder) -> Field:
    """The schema's field of a fitted encoder."""
    if isinstance(encoder, Bag):
        return Field(
            name,
            kind="bag",
            rows=encoder.rows,
            slots=encoder.slots,
            pooling=encoder.pooling,
            weighted=bool(encoder.weights),
        )
    numeric = isinstance(encoder, NUMERIC)
    return Field(
        name,
        kind="numeric" if numeric else "categorical",
        rows=encoder.rows,
        standardised=isinstance(encoder, Standardise),
    )


def to_json(encoders: Mapping[str, Encoder]) -> str:
    def options(encoder: Encoder) -> dict:  # not asdict, which copies millions of values
        return {f.name: getattr(encoder, f.name) for f in dataclasses.fields(encoder)}

    return json.dumps({n: {"kind": e.kind, **options(e)} for n, e in encoders.items()}, indent=1)


def from_json(text: str) -> dict[str, Encoder]:
    """Reads what `to_json` wrote; raises UserError on an unknown encoder."""
    encoders = {}
    for name, options in json.loads(text).items():
        kind = choose(f"encoder of field {name!r}", options.pop("kind"), ENCODERS)
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        encoders[name] = ENCODERS[kind](**options)
    return encoders


def _numbers(counts: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Sorted finite values and their counts."""
    counts = counts.sort("value")
    return counts["value"].to_numpy(), counts["count"].to_numpy()


def _thin(counts: pl.DataFrame) -> pl.DataFrame:
    """Merges neighbouring numbers into a tenth as many, each at the most frequent of its ten.

    So a dominating value stays what it is.
    """
    counts = counts.sort("value").with_columns(bin=pl.int_range(pl.len()) // 10)
    most = pl.col("value").sort_by("count", "value", descending=[True, False]).first()
    return counts.group_by("bin").agg(most, pl.col("count").sum()).select("value", "count")

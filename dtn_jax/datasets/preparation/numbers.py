"""Encoders of numbers: quantile buckets, and standardised values, with bins or without.

Row 0 is the unknown id, here of missing and non-finite values.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import polars as pl

from dtn_jax.shapes import Float64, Int64

DOMINATING = 0.05  # a numeric value with this share of train has a bucket of its own
BINS = 48  # the default of the authors' package, rtdl_num_embeddings
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
        """Rows of the table, with that of the unknown id."""
        return 1 + len(self.dominating) + len(self.edges) + 1

    def fit(self, counts: pl.DataFrame) -> QuantileBuckets:
        """The fitted encoder, from train's columns `value` and `count`."""
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
    numbers: ClassVar[int] = 1

    def fit(self, counts: pl.DataFrame) -> Standardise:
        """The fitted encoder, from train's columns `value` and `count`."""
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
class Binned(Standardise):
    """Standardised values, with bins of train's quantiles for a piecewise-linear embedding.

    Attributes:
      bins: T, at most.
      edges: fitted, of the bins, in units of standardised values.
    """

    kind: ClassVar[str] = "standardise in bins"
    bins: int = BINS
    edges: tuple[float, ...] = ()

    def fit(self, counts: pl.DataFrame) -> Binned:
        """As that of `Standardise`, with the edges of the bins."""
        fitted = super().fit(counts)
        found = quantiles(*_numbers(counts), self.bins)
        edges = standardised_edges(found, fitted.mean, fitted.deviation)
        return dataclasses.replace(fitted, edges=edges)


@dataclasses.dataclass(frozen=True)
class BinnedLogarithms(Binned):
    """`Binned`, of sign(x) log(1 + |x|): for skewed numbers, such as amounts of money."""

    kind: ClassVar[str] = "standardise logarithms in bins"

    def fit(self, counts: pl.DataFrame) -> BinnedLogarithms:
        """As that of `Binned`, of the logarithms."""
        logarithms = pl.Series("value", signed_log(counts["value"].to_numpy()))
        return super().fit(counts.with_columns(logarithms))

    def values(self, column: pl.Series) -> np.ndarray:
        return super().values(pl.Series(signed_log(column.cast(pl.Float64).to_numpy())))


def signed_log(values: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
    """sign(x) log(1 + |x|): of either sign, 0 at 0, and the same as log(1 + x) from there on."""
    return np.sign(values) * np.log1p(np.abs(values))


def quantiles(
    values: Float64[np.ndarray, " K"], counts: Int64[np.ndarray, " K"], bins: int
) -> Float64[np.ndarray, " _"]:
    """The t/T quantiles of numbers, t = 0 ... T, each once: all are among the numbers.

    Gorishniy, Rubachev and Babenko (2022), section 3.2.1.

    Args:
      values: ascending.
      counts: of each.
      bins: T.
    """
    if not len(values):
        return values
    mass = counts.cumsum()
    at = np.searchsorted(mass, mass[-1] * np.arange(bins + 1) / bins)
    return np.unique(values[np.minimum(at, len(values) - 1)])


def standardised_edges(
    values: Float64[np.ndarray, " _"], mean: float, deviation: float
) -> tuple[float, ...]:
    """Edges of bins in units of standardised values, apart in float32 too; at least two."""
    scaled = np.unique(((values - mean) / deviation).astype(np.float32)).astype(np.float64)
    if len(scaled) < 2:  # no value, or one alone
        first = scaled[0] if len(scaled) else 0.0
        scaled = np.array([first, first + 1])
    return tuple(scaled.tolist())


def add(counts: pl.DataFrame | None, column: pl.Series) -> pl.DataFrame:
    """Counts a column's finite numbers, with those counted before."""
    chunk = column.rename("value").value_counts(name="count")
    chunk = chunk.cast({"value": pl.Float64, "count": pl.Int64})
    chunk = chunk.filter(pl.col("value").is_finite())
    if counts is not None:
        chunk = pl.concat([counts, chunk]).group_by("value").agg(pl.col("count").sum())
    return _thin(chunk) if len(chunk) > MAX_DISTINCT else chunk


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

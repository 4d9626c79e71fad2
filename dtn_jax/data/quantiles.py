"""Quantiles of numbers: buckets, and the bins of standardised values."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtn_jax.shapes import Float64, Int32, Int64

DOMINATING = 0.05  # a numeric value with this share of train has a bucket of its own
BINS = 48  # the default of the authors' package, rtdl_num_embeddings


@dataclasses.dataclass(frozen=True)
class QuantileBuckets:
    """Quantile buckets of a numeric column, with a bucket for each dominating value.

    A value with a share of at least DOMINATING (often 0) has its own row. The rest is cut at its
    quantiles or, if it has at most `buckets` distinct values, between any two of them. Values
    beyond the fitted range fall into the outer buckets, missing and non-finite ones into row 0.
    """

    buckets: int = 32
    dominating: tuple[float, ...] | None = None
    edges: tuple[float, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the table, with that of the unknown id."""
        return 1 + len(self.dominating) + len(self.edges) + 1

    def fit(
        self, values: Float64[np.ndarray, " K"], counts: Int64[np.ndarray, " K"]
    ) -> QuantileBuckets:
        """The fitted buckets, from train's finite values, ascending, and how often each occurs."""
        alone = counts >= DOMINATING * counts.sum() if len(counts) else np.zeros(0, bool)
        rest, mass = values[~alone], counts[~alone].cumsum()
        edges = np.empty(0)
        if len(rest) > 1:
            targets = mass[-1] * np.arange(1, self.buckets) / self.buckets
            at = np.minimum(np.searchsorted(mass, targets), len(rest) - 2)
            if len(rest) <= self.buckets:  # enough for all: rare values need not share
                at = np.arange(len(rest) - 1)
            edges = np.unique((rest[at] + rest[at + 1]) / 2)  # between two seen values
        return dataclasses.replace(
            self, dominating=tuple(values[alone].tolist()), edges=tuple(edges.tolist())
        )

    def encode(self, numbers: np.ndarray) -> Int32[np.ndarray, " B"]:
        """Returns the row of each of `[B]` numbers, of any type."""
        values = numbers.astype(np.float64)
        rows = 1 + len(self.dominating) + np.searchsorted(self.edges, values, side="right")
        for i, value in enumerate(self.dominating):
            rows = np.where(values == value, 1 + i, rows)
        return np.where(np.isfinite(values), rows, 0).astype(np.int32)


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

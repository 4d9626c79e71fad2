"""What every metric does first: its arrays checked, rows of weight 0 dropped; and long sums.

Metrics of many millions of rows are taken chunk by chunk wherever float64 is needed, so that no
float64 copy of a whole array is made for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dtn_jax.shapes import Float, Shaped

Column = Float[np.ndarray, " B"]
Labels = Shaped[np.ndarray, " B"]
Weights = Column | None  # None: all rows count the same
CHUNK = 1 << 16  # rows at a time: half a megabyte of float64, which stays in a core's cache


def chunks(rows: int) -> Iterator[slice]:
    """Slices of at most CHUNK rows that cover `rows` rows."""
    return (slice(start, min(start + CHUNK, rows)) for start in range(0, rows, CHUNK))


def cumulated(values: Shaped[np.ndarray, " N"], dtype: type = np.float64) -> np.ndarray:
    """The sums of the first i values, `[N + 1]`."""
    sums = np.zeros(len(values) + 1, dtype)
    np.cumsum(values, dtype=dtype, out=sums[1:])
    return sums


def checked(
    scores: Column,
    labels: Labels,
    weights: Weights,
    binary: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The three arrays without rows of weight 0: labels bool if binary, else float64.

    What has these types already is not copied.

    Raises:
      ValueError: shapes that differ, scores or weights that are not finite, labels that are
        neither 0 nor 1 (or not finite, if not binary), negative weights.
    """
    if scores.shape != labels.shape or (weights is not None and weights.shape != scores.shape):
        got = [a.shape for a in (scores, labels, weights) if a is not None]
        raise ValueError(f"scores, labels and weights differ in shape: {got}")
    check_finite("scores", scores)
    if binary and labels.dtype != bool:
        wrong = np.count_nonzero((labels != 0) & (labels != 1))
        if wrong:
            raise ValueError(f"{wrong} of {labels.size} labels are neither 0 nor 1")
        labels = labels == 1
    elif not binary:
        labels = labels.astype(np.float64, copy=False)
        check_finite("labels", labels)
    if weights is None:
        return scores, labels, None
    check_finite("weights", weights)
    if (weights < 0).any():
        raise ValueError(f"{np.count_nonzero(weights < 0)} of {weights.size} weights are negative")
    keep = weights > 0
    if keep.all():
        return scores, labels, weights.astype(np.float64, copy=False)
    return scores[keep], labels[keep], weights[keep].astype(np.float64)


def check_finite(what: str, values: np.ndarray) -> None:
    """Raises a ValueError that counts the values which are NaN or infinite."""
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise ValueError(f"{bad} of {values.size} {what} are not finite (NaN or infinite)")


def mean(values: Shaped[np.ndarray, " B"], weights: Weights) -> float | None:
    """The (weighted) mean, summed in float64; None without values."""
    if not values.size:
        return None
    if weights is None:
        return float(values.sum(dtype=np.float64) / values.size)
    total = sum(values[at].astype(np.float64) @ weights[at] for at in chunks(values.size))
    return float(total / weights.sum())

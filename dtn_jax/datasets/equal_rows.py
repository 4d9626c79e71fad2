"""Rows that are equal in all inputs and labels: those of a split that train has, too.

A model that has seen a row in train knows its label. So a log in which every row stands twice,
split at random, gives a test AUC near 1 on labels that were drawn at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.datasets.preparation.progress import percent
from dtn_jax.shapes import Num, UInt64

MOST = 1 << 22  # rows of a set that are compared: of a larger one those with the smallest hashes
MUCH = 0.01  # a share of a split's rows that is told


def row_hashes(*arrays: Num[np.ndarray, "B _"], seed: int = 0) -> UInt64[np.ndarray, " B"]:
    """A number for each row of arrays of int32, float32 or bool: equal for equal rows, and for
    unequal ones hardly ever."""
    draw = np.random.default_rng(seed)
    total = np.zeros(len(arrays[0]), np.uint64)
    for array in arrays:
        whole = array.view(np.int32) if array.dtype == np.float32 else array
        for column in whole.T:
            factor, shift = draw.integers(1, 2**63, 2, dtype=np.uint64)
            mixed = (column.astype(np.int64).astype(np.uint64) + shift) * (factor | np.uint64(1))
            total += mixed ^ (mixed >> np.uint64(29))
    return total


def compared(hashes: UInt64[np.ndarray, " B"], rows: int) -> UInt64[np.ndarray, " C"]:
    """Those that are kept, of a set of so many rows: all, or about MOST of the whole set. Equal
    rows are kept together."""
    return hashes if rows <= MOST else hashes[hashes < np.uint64((MOST << 64) // rows)]


def told(hashes: Mapping[str, Sequence[UInt64[np.ndarray, " _"]]], rows: Mapping[str, int]) -> str:
    """A line where MUCH of a split's rows are equal to rows of train; else ''.

    Args:
      hashes: {split: parts of what `compared` keeps of its rows}, train first.
      rows: {split: how many it has}.
    """
    (_, train), *others = ((split, np.concatenate(parts)) for split, parts in hashes.items())
    found = []
    for split, own in others:
        share = float(np.isin(own, train).mean()) if len(own) else 0.0
        if share >= MUCH:
            about = "about " * (len(own) < rows[split])
            found.append(f"{about}{round(share * rows[split]):,} of {split} ({percent(share, 1)})")
    return "rows that train has too, all inputs and labels equal: " * bool(found) + ", ".join(found)

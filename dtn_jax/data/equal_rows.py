"""Rows that are equal in all inputs and labels: those of a split that train has, too.

A model that has seen a row in train knows its label. So a log in which every row stands twice,
split at random, gives a test AUC near 1 on labels that were drawn at random.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dtn_jax.data.progress import percent
from dtn_jax.shapes import Shaped, UInt64

MOST = 1 << 22  # rows of a set that are compared: of a larger one those with the smallest hashes
MUCH = 0.01  # a share of a split's rows that is told


def row_hashes(*arrays: Shaped[np.ndarray, "B _"], seed: int = 0) -> UInt64[np.ndarray, " B"]:
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


def of_block(block: Mapping[str, np.ndarray], rows: int) -> UInt64[np.ndarray, " C"]:
    """The hashes of a block's rows that are compared, of a set of so many rows: all, or of about
    MOST of the whole set those that are smallest. So equal rows are kept together."""
    names = ("ids", "numeric", "labels", "label_mask")
    hashes = row_hashes(*(block[name] for name in names if name in block))
    return hashes if rows <= MOST else hashes[hashes < np.uint64((MOST << 64) // rows)]


def shares(hashes: Mapping[str, UInt64[np.ndarray, " _"]]) -> dict[str, float]:
    """{split: the share of its rows that train has, too}, of {split: hashes}, train first."""
    train, *others = hashes
    again = {split: np.isin(hashes[split], hashes[train]) for split in others}
    return {split: float(seen.mean()) if len(seen) else 0.0 for split, seen in again.items()}


def line(shares: Mapping[str, float], rows: Mapping[str, int], about: bool = False) -> str:
    """A line where train has MUCH of a split's rows; else ''.

    Args:
      shares: as `shares` gives them.
      rows: {split: how many it has}.
      about: only some rows were compared.
    """
    parts = [
        f"{'about ' * about}{round(share * rows[split]):,} of {split} ({percent(share, 1)})"
        for split, share in shares.items()
        if share >= MUCH
    ]
    what = "rows that train has too, all inputs and labels equal"
    return f"{what}: {', '.join(parts)}" if parts else ""

"""What metrics within groups share: rows in the order of their groups and scores, and means."""

from __future__ import annotations

import numpy as np

from dtn_jax.shapes import Float, Int, Shaped

CODE_BITS = 32  # of a key are the score's place; those above, the group's number


def group_keys(
    scores: Float[np.ndarray, " B"], group: Int[np.ndarray, " B"]
) -> Int[np.ndarray, " B"]:
    """int64 `[B]`: the group's number (0, 1, ...) above, the score's place below.

    Groups are numbered in rising order. Equal scores have one place, -0.0 that of 0.0.
    """
    order = np.argsort(group)
    ordered = group[order]
    codes = np.zeros(len(order), np.int32)
    np.cumsum(ordered[1:] != ordered[:-1], dtype=np.int32, out=codes[1:])
    del ordered
    keys = np.empty(len(order), np.int64)
    keys[order] = codes
    del order, codes
    keys <<= CODE_BITS
    keys += _ordinals(scores)
    return keys


def _ordinals(scores: Float[np.ndarray, " B"]) -> Shaped[np.ndarray, " B"]:
    """Numbers in [0, 2^32) that are in the order of the scores, equal where these are equal."""
    if scores.dtype != np.float32:
        return np.unique(scores, return_inverse=True)[1]
    bits = (scores + np.float32(0)).view(np.int32)  # + 0: -0.0 ties with 0.0
    bits ^= (bits >> 31) & 0x7FFFFFFF  # of negative numbers, larger bits are lower numbers
    return bits.view(np.uint32) ^ np.uint32(1 << 31)


def add(
    total: Shaped[np.ndarray, " G"],
    codes: Int[np.ndarray, " N"],
    values: Shaped[np.ndarray, " N"] | None,
) -> None:
    """Adds values (or ones) to the totals of their groups; `codes` must rise."""
    first = codes[0]
    sums = np.bincount(codes - first, values)
    total[first : first + len(sums)] += sums


def mean_over_groups(
    share: Float[np.ndarray, " G"], values: Float[np.ndarray, " G"]
) -> float | None:
    """The mean of the groups' values by their shares, without those that are NaN (not defined);
    None where none is left."""
    defined = ~np.isnan(values)
    if not defined.any():
        return None
    share = np.where(defined, share, 0)
    return float(share @ np.nan_to_num(values) / share.sum())

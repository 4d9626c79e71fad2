"""Rows of any number of values each, as flat arrays."""

from __future__ import annotations

import numpy as np

from dtn_jax.shapes import Int, Shaped


def places(starts: Int[np.ndarray, " n"], lengths: Int[np.ndarray, " n"]) -> Int[np.ndarray, " N"]:
    """starts[0], starts[0] + 1, ..., `lengths[0]` of them, then those of the next row."""
    before = lengths.cumsum() - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def pad(
    values: Shaped[np.ndarray, " N"], lengths: Int[np.ndarray, " n"], slots: int, fill: int
) -> Shaped[np.ndarray, "n S"]:
    """The first S = `slots` values of each row, `fill` where there are fewer."""
    padded = np.full((len(lengths), slots), fill, values.dtype)
    if not len(values):
        return padded
    if slots == 1:
        some = lengths > 0
        padded[some, 0] = values[(lengths.cumsum() - lengths)[some]]
        return padded
    kept = np.minimum(lengths, slots)
    if kept.sum() < len(values):
        values = values[places(lengths.cumsum() - lengths, kept)]
    padded[np.arange(slots) < kept[:, None]] = values
    return padded

"""Validation rows: a fixed, seeded share of those that train."""

from __future__ import annotations

import numpy as np
import polars as pl


def hold_out(frame: pl.DataFrame, share: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits off a fixed, seeded share of the rows: (the rest, the held-out rows)."""
    held = np.zeros(len(frame), bool)
    rng = np.random.default_rng(seed)
    held[rng.permutation(len(frame))[: round(share * len(frame))]] = True
    return frame.filter(~held), frame.filter(held)

"""Encoders of one column."""

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation import encoders as enc


def fit(encoder, *columns, dtype=None):
    """The encoder fitted on these chunks of one column."""
    frames = [pl.DataFrame({"x": pl.Series(c, dtype=dtype, strict=False)}) for c in columns]
    return enc.fit({"x": encoder}, frames)["x"]


def encode(encoder, values, dtype=None):
    rows = encoder.encode(pl.Series(values, dtype=dtype, strict=False))
    assert rows.dtype == np.int32
    assert rows.shape == (len(values),)
    assert ((rows >= 0) & (rows < encoder.rows)).all()
    return rows.tolist()

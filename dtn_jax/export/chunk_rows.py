"""All rows of a chunk of a raw file, those too that hold what their columns cannot."""

from __future__ import annotations

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.raw.unit import Chunk


def every_row(chunk: Chunk) -> tuple[pl.DataFrame, np.ndarray]:
    """All rows in order, null where a value could not be read; and their numbers."""
    if not chunk.broken:
        return chunk.frame, chunk.numbers
    frame, numbers, misfits = chunk.frame, chunk.numbers, chunk.misfits
    if misfits is not None:
        frame = pl.DataFrame([_below(column, misfits[column.name]) for column in frame])
        numbers = np.concatenate([numbers, chunk.misfit_numbers])
    read = len(numbers)
    seen = set(chunk.misfit_numbers)
    unread = [reject.row for reject in chunk.broken if reject.row not in seen]
    numbers = np.concatenate([numbers, unread]).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    places = pl.Series(order, dtype=pl.Int64)
    places = places.set(places >= read, None)
    return frame.select(pl.all().gather(places)), numbers[order]


def _below(column: pl.Series, more: pl.Series) -> pl.Series:
    """A column and more of its values, in a type that holds both; else null for `more`."""
    try:
        both = [column.to_frame(), more.to_frame()]
        return pl.concat(both, how="vertical_relaxed").to_series()
    except pl.exceptions.PolarsError:
        return column.extend(pl.Series([None] * len(more), dtype=column.dtype))

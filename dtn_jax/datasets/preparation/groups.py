"""The column that says which rows belong together (a user's, a session's), as int64 numbers.

Whole numbers stay as they are. A text becomes the first eight bytes of its BLAKE2b hash, so that
nothing must be fitted, and groups not seen in train stay apart: with 10^8 texts, two of them share
a number in one of 3,700 data sets.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation.checks import check_columns, check_values
from dtn_jax.errors import UserError
from dtn_jax.shapes import Int


def check_group(frame: pl.DataFrame, group: str, where: str, first_row: int = 0) -> None:
    """Raises UserError if the column or a value is missing, or is not an int64 or a text.

    Args:
      frame: a chunk of a split.
      group: the column.
      where: data set and split, for the message.
      first_row: rows of the split before this chunk, for the message.
    """
    check_columns(frame, [group], where)
    column = frame[group]
    expected = "a whole number (64 bits, signed) or a text, never missing"
    if column.dtype.is_integer():
        good = column.cast(pl.Int64, strict=False).is_not_null()
    elif column.dtype in (pl.String, pl.Categorical, pl.Enum):
        good = column.is_not_null()
    else:
        raise UserError(
            f"{where}: group {group!r} has the type {column.dtype}; expected {expected}"
        )
    check_values(column, good, "group", expected, where, first_row)


def group_numbers(column: pl.Series) -> Int[np.ndarray, " B"]:
    """The int64 number of each row's group; equal values have equal numbers in all chunks."""
    if column.dtype.is_integer():
        return column.cast(pl.Int64).to_numpy()
    texts = column.cast(pl.String)
    known = texts.unique().to_list()
    hashes = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in known]
    numbers = pl.Series(np.frombuffer(b"".join(hashes), "<i8").astype(np.int64))
    known = pl.Series(known, dtype=pl.String)
    return texts.replace_strict(known, numbers).cast(pl.Int64).to_numpy()

"""A fitted vocabulary that is looked up by the 64-bit keys of values, whatever its size.

`Vocabulary` joins texts, which reads the whole vocabulary at each call: fit for large pieces of a
log, not for a request of a few rows. Here a call's time depends on its rows alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from dtn_jax.data import keys
from dtn_jax.data import vocabulary as by_keys
from dtn_jax.datasets.preparation.vocabulary import Vocabulary
from dtn_jax.shapes import Int32

WHOLE_FLOAT = r"^-?(?:0|[1-9][0-9]*)\.0$"  # how polars writes a float that is whole


@dataclasses.dataclass(frozen=True)
class KeyedValues:
    """The rows of values, by key.

    Attributes:
      vocabulary: whose rows they are.
      by_key: None where two of its values have one key; the vocabulary is asked then.
      nan: whether NaN, as text, is one of its values: training saw such floats.
    """

    vocabulary: Vocabulary
    by_key: by_keys.Vocabulary | None
    nan: bool

    def rows(self, column: pl.Series) -> Int32[np.ndarray, " B"]:
        """The row of each value; 0 where it is missing or was not seen in train."""
        if self.by_key is None or (self.nan and column.dtype.is_float()):
            return self.vocabulary.encode(column)
        made, there = keys.keys(column)
        found = self.by_key.look_up(made)
        return found if there.all() else np.where(there, found, np.int32(0))


def keyed(vocabulary: Vocabulary) -> KeyedValues:
    """The same vocabulary by keys.

    A number is the same value as its text, as for `Vocabulary`; and 5.0 is the number 5, which it
    becomes in a table of pandas where another row has none.
    """
    values = pl.Series(vocabulary.values, dtype=pl.String)
    rows = np.arange(1, 1 + len(values))
    made, _ = keys.keys(values)
    # A float that is whole has the key of the number too, and so has a number of so many digits
    # that its text has a key of its own.
    short = values.str.strip_suffix(".0")
    floats = values.str.contains(WHOLE_FLOAT) & ~short.is_in(values.implode())
    others = [(short, floats)]
    for dtype in (pl.UInt64, pl.Int64):
        numbers, long = values.cast(dtype, strict=False), values.str.len_bytes() > 18
        others.append((numbers, (numbers.cast(pl.String) == values).fill_null(False) & long))
    for column, which in others:
        more, _ = keys.keys(column.filter(which))
        made, rows = np.append(made, more), np.append(rows, 1 + np.flatnonzero(which.to_numpy()))
    order = np.argsort(made, kind="stable")
    made, rows = made[order], rows[order]
    new = np.append(True, made[1:] != made[:-1])[: len(made)]
    clash = (~new[1:] & (rows[1:] != rows[:-1])).any()
    by_key = None if clash else by_keys.Vocabulary(made[new], rows[new].astype(np.int32))
    return KeyedValues(vocabulary, by_key, "NaN" in vocabulary.values)

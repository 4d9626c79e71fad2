"""Where a model's tables are while it scores: on the device, or on disk.

On disk, a batch's distinct rows stand in for the table: they are read from the mapped file, and
their number is padded to a power of two, so that few programs are compiled.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from dtn_jax.export.compiled import EMBEDDING, SCALE
from dtn_jax.shapes import Int32

PLACES = ("memory", "disk")


def padded(count: int, least: int = 1) -> int:
    """The next power of two."""
    return max(least, 1 << (count - 1).bit_length()) if count else least


class Weights:
    """The weights of a program, and the rows of a batch among them."""

    def __init__(self, weights: Mapping[str, np.ndarray], rows: int, tables: str):
        self.rows, self.tables = rows, tables
        self.stored = {n: weights[n] for n in (EMBEDDING, EMBEDDING + SCALE) if n in weights}
        kept = {n: a for n, a in weights.items() if tables == "memory" or n not in self.stored}
        self.placed = jax.device_put(kept)

    def of(self, rows: Int32[np.ndarray, "B views L"]) -> tuple[dict, np.ndarray]:
        """All weights, and the rows by their place in `tables/embedding`.

        Args:
          rows: of the whole table; `self.rows` and beyond is padding.
        """
        if self.tables == "memory" or EMBEDDING not in self.stored:
            return self.placed, rows
        distinct, places = np.unique(rows, return_inverse=True)
        places = places.reshape(rows.shape).astype(np.int32)
        there = int(np.searchsorted(distinct, self.rows))
        size = padded(there, 1024)
        places[places >= there] = size
        stand = {}
        for name, array in self.stored.items():
            part = np.zeros((size, *array.shape[1:]), array.dtype)
            part[:there] = array[distinct[:there]]
            stand[name] = part
        return self.placed | stand, places

"""weights.safetensors, read without copying it, and where its tables are while a model scores.

The arrays are views of the mapped file. With tables on disk, a batch's distinct rows stand in for
the table: they are read from the file, and their number is padded to a power of two, so that few
programs are compiled.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping

import jax
import numpy as np
from jax import numpy as jnp
from safetensors import safe_open

from dtn_jax.export.compiled import EMBEDDING, SCALE
from dtn_jax.shapes import Int32

PLACES = ("memory", "disk")
DTYPES = {"BF16": "bfloat16", "BOOL": "bool", "U8": "uint8", "U32": "uint32"}  # others: I8, F32, …
KINDS = {"F": "float", "I": "int"}


def read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """{name: array}, in memory only as far as they are looked at."""
    weights = {}
    with safe_open(path, "numpy") as file:  # which checks sizes and offsets
        raw = np.memmap(path, np.uint8, "r")
        stop = 8 + int.from_bytes(raw[:8], "little")
        for name in file.offset_keys():  # in the order of the file, without gaps
            part = file.get_slice(name)
            kind, shape = part.get_dtype(), part.get_shape()
            dtype = jnp.dtype(DTYPES.get(kind) or KINDS[kind[0]] + kind[1:])
            start, stop = stop, stop + math.prod(shape) * dtype.itemsize
            weights[name] = np.asarray(raw[start:stop]).view(dtype).reshape(shape)
    return weights


def padded(count: int, least: int = 1) -> int:
    """The next power of two."""
    return max(least, 1 << (count - 1).bit_length()) if count else least


class Weights:
    """The weights of a program, and the rows of a batch among them.

    Args:
      weights: of the program.
      rows: V, of the tables.
      tables: `memory` or `disk`.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], rows: int, tables: str):
        self.rows = int(rows)
        names = (EMBEDDING, f"{EMBEDDING}{SCALE}") if tables == "disk" else ()
        self.stored = {name: weights[name] for name in names if name in weights}
        self.placed = jax.device_put({n: a for n, a in weights.items() if n not in self.stored})

    def of(self, rows: Int32[np.ndarray, "B views L"]) -> tuple[dict, np.ndarray]:
        """All weights, and the rows by their place in `tables/embedding`.

        Args:
          rows: of the whole table; `self.rows` and beyond is padding.
        """
        if not self.stored:
            return self.placed, rows
        distinct, places = np.unique(rows, return_inverse=True)
        known = int(np.searchsorted(distinct, self.rows))
        size = padded(known, 1024)
        places = np.where(places < known, places, size).astype(np.int32).reshape(rows.shape)
        tables = {}
        for name, array in self.stored.items():
            tables[name] = np.zeros((size, *array.shape[1:]), array.dtype)
            tables[name][:known] = array[distinct[:known]]
        return self.placed | tables, places

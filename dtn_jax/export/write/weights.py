"""weights.safetensors, written piece by piece: no table needs to fit into memory.

The format (huggingface.co/docs/safetensors): 8 bytes, the length N of the header; N bytes of JSON,
{name: {"dtype", "shape", "data_offsets"}}, padded with spaces to a multiple of 8; then the numbers
of one array after another, little-endian, row-major, without gaps.
"""

from __future__ import annotations

import json
import math
import pathlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
import ml_dtypes
import numpy as np

from dtn_jax.export.compiled import SCALE
from dtn_jax.export.write.program import Shapes
from dtn_jax.shapes import Float, Int8, Shaped

DTYPES = {"float32": "F32", "bfloat16": "BF16", "int8": "I8", "float64": "F64"}
MOST = 127  # of int8, symmetric


def write_weights(
    path: pathlib.Path,
    shapes: Shapes,
    dense: Mapping[str, jax.Array | np.ndarray],
    tables: Mapping[str, Sequence[Iterable[np.ndarray]]],
) -> None:
    """Writes the weights of a program.

    Args:
      path: of the file.
      shapes: of what is written: those that the program reads.
      dense: {name: array} of all parameters and statistics.
      tables: {name of a table: for each member its rows, piece by piece}; as they are stored, so
        uint16 are the bits of bfloat16.

    Raises:
      ValueError: an array has more or fewer numbers than its shape says.
    """
    header, at, end = {}, {}, 0
    for name in sorted(shapes, key=lambda name: (-shapes[name].dtype.itemsize, name)):
        leaf, at[name] = shapes[name], end
        end += math.prod(leaf.shape) * leaf.dtype.itemsize
        dtype = DTYPES[leaf.dtype.name]
        header[name] = {"dtype": dtype, "shape": leaf.shape, "data_offsets": [at[name], end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)

        def write(name: str, rows: Shaped[np.ndarray, ...]) -> None:
            rows = np.ascontiguousarray(rows, shapes[name].dtype)
            file.seek(8 + len(text) + at[name])
            file.write(rows.reshape(-1).view(np.uint8).data)
            at[name] += rows.nbytes

        for name in shapes.keys() & dense.keys():
            write(name, np.asarray(dense[name]))
        for name in shapes.keys() & tables.keys():
            for rows in side_by_side(tables[name]):  # [M, N, D]
                if shapes[name].dtype == np.int8:
                    rows, scales = quantised(rows)
                    write(f"{name}{SCALE}", scales.T)
                write(name, rows.transpose(1, 0, 2).reshape(rows.shape[1], -1))
    if wrong := [name for name in shapes if at[name] != header[name]["data_offsets"][1]]:
        raise ValueError(f"{wrong[0]} has other rows than its shape {shapes[wrong[0]]}")


def side_by_side(members: Sequence[Iterable[np.ndarray]]) -> Iterator[Float[np.ndarray, "M N D"]]:
    """The rows of several tables, of equal numbers of them at a time, in float32."""
    sources = [(piece for piece in pieces if len(piece)) for pieces in members]
    held = [next(source, None) for source in sources]
    while all(piece is not None for piece in held):
        count = min(len(piece) for piece in held)
        yield np.stack([as_float32(piece[:count]) for piece in held])
        held = [
            piece[count:] if len(piece) > count else next(source, None)
            for piece, source in zip(held, sources)
        ]


def as_float32(rows: Shaped[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Rows as they are stored (see tables/stored_rows.py) as the numbers that they mean."""
    if rows.dtype == np.uint16:
        rows = rows.view(ml_dtypes.bfloat16)
    return rows.astype(np.float32, copy=False)


def quantised(
    rows: Float[np.ndarray, "M N D"],
) -> tuple[Int8[np.ndarray, "M N D"], Float[np.ndarray, "M N"]]:
    """Whole numbers q in [-127, 127] and a scale s a row, the largest magnitude / 127.

    q s is the nearest such number to each; so it is off by at most s / 2.
    """
    scales = (np.abs(rows).max(axis=2, initial=0) / MOST).astype(np.float32)
    steps = np.rint(rows / np.where(scales == 0, 1, scales)[:, :, None])
    return np.clip(steps, -MOST, MOST).astype(np.int8), scales

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import jax
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from dtn_jax.errors import UserError
from dtn_jax.export.compiled import SCALE
from dtn_jax.export.write.program import Shapes
from dtn_jax.shapes import Float, Int8, Shaped

DTYPES = {"float32": "F32", "bfloat16": "BF16", "int8": "I8", "float64": "F64"}
MOST = 127  # of int8, symmetric


class WeightsFile:
    """A file of arrays whose shapes are known; each is given in pieces, from its first row on."""

    def __init__(self, path: pathlib.Path, shapes: Shapes):
        header, self.at, end = {}, {}, 0
        aligned = sorted(shapes, key=lambda name: (-shapes[name].dtype.itemsize, name))
        for name in aligned:
            leaf = shapes[name]
            first, end = end, end + math.prod(leaf.shape) * leaf.dtype.itemsize
            dtype = DTYPES[leaf.dtype.name]
            header[name] = {"dtype": dtype, "shape": leaf.shape, "data_offsets": [first, end]}
            self.at[name] = first
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self.shapes, self.start = shapes, 8 + len(text)
        self.ends = {name: found["data_offsets"][1] for name, found in header.items()}
        self.file = path.open("wb")
        self.file.write(struct.pack("<Q", len(text)) + text)

    def write(self, name: str, piece: Shaped[np.ndarray, ...]) -> None:
        """Writes the next rows of an array."""
        if piece.dtype != self.shapes[name].dtype:
            raise ValueError(f"{name} is {piece.dtype}, expected {self.shapes[name].dtype}")
        self.file.seek(self.start + self.at[name])
        self.file.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
        self.at[name] += piece.nbytes

    def close(self) -> None:
        """Raises ValueError where an array has more or fewer numbers than its shape says."""
        self.file.close()
        wrong = [name for name, end in self.ends.items() if self.at[name] != end]
        if wrong:
            raise ValueError(f"{wrong[0]} has other rows than its shape {self.shapes[wrong[0]]}")


def write_weights(
    path: pathlib.Path,
    shapes: Shapes,
    dense: Mapping[str, jax.Array | np.ndarray],
    tables: Mapping[str, Sequence[Iterable[np.ndarray]]],
    tell: Callable[[int], None] = lambda _: None,
) -> None:
    """Writes the weights of a program.

    Args:
      path: of the file.
      shapes: of what is written: those that the program reads.
      dense: {name: array} of all parameters and statistics.
      tables: {name of a table: for each member its rows, piece by piece}; as they are stored, so
        uint16 are the bits of bfloat16.
      tell: is told the bytes of each piece that is written.
    """
    file = WeightsFile(path, shapes)
    with file.file:
        for name in shapes.keys() & dense.keys():
            file.write(name, np.asarray(dense[name]))
        for name, members in tables.items():
            if name not in shapes:
                continue
            for rows in side_by_side(members):  # [M, N, D]
                if shapes[name].dtype == np.int8:
                    rows, scales = quantised(rows)
                    file.write(f"{name}{SCALE}", scales.T)
                rows = rows.astype(shapes[name].dtype, copy=False)
                file.write(name, rows.transpose(1, 0, 2).reshape(rows.shape[1], -1))
                tell(rows.nbytes)
    file.close()


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
    if any(piece is not None for piece in held):
        raise ValueError("the members of an ensemble have other numbers of rows")


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


def stored_shapes(path: pathlib.Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """{name: (shape, dtype)} of a file of weights.

    Raises:
      UserError: it is damaged.
    """
    dtypes = {stored: name for name, stored in DTYPES.items()}
    try:
        with safe_open(path, "numpy") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {n: (tuple(s.get_shape()), dtypes[s.get_dtype()]) for n, s in found.items()}
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error})") from None

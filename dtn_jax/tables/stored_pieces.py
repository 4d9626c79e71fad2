"""The rows of a checkpoint's array, read piece by piece: as they lie, in another order, by id.

A few pieces are held at a time, whatever the array's size.
"""

from __future__ import annotations

import collections
import itertools
import math
import pathlib
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dtn_jax.shapes import Shaped
from dtn_jax.tables.stored_rows import StoredRows

PIECE = 8 << 20  # bytes; so much is stored, read and written together
AHEAD = 7  # pieces that are read while one is written; with its copies, less than 256 MB are held
IN_MEMORY = 8 * PIECE  # of rows that are put in the order of ids; more are on the disk
TOGETHER = 16  # strided rows that are put in order together, so that a page is written once


class Piece(NamedTuple):
    """Lines of an array that is seen as blocks of lines, `[blocks, lines of a block, ...]`.

    Attributes:
      lines: of all blocks.
      at: the first one within its block.
    """

    lines: Shaped[np.ndarray, "blocks N ..."]
    at: int


def blocks_of(saved: StoredRows, own: StoredRows, lines: int) -> int:
    """As how many blocks the pieces of an array of so many lines, a whole number of devices' or one
    device's, must be seen."""
    return 1 if saved.stride == own.stride else lines // (own.lines // own.stride)


def in_order(store, saved: StoredRows, own: StoredRows, first: int, last: int) -> Iterator[Piece]:
    """The lines [first, last) of the order `own`, as far as rows were saved."""
    if saved.stride != own.stride:
        yield from _strided(store, saved, own, first, last)
        return
    line = StoredRows(own.per_line, own.width, own.per_line, own.lanes)  # without a stride
    most = max(1, PIECE // (own.lanes * store.dtype.numpy_dtype.itemsize)) * own.per_line
    held, at = np.empty((0, own.width), store.dtype.numpy_dtype), 0  # rows of an unfinished line
    for rows in _moved(store, saved, own, first * own.per_line, last * own.per_line):
        rows = np.concatenate([held, rows]) if len(held) else rows
        whole = len(rows) // own.per_line * own.per_line
        for start in range(0, whole, most):
            lines = line.to_lines(rows[start : min(start + most, whole)])
            yield Piece(lines[None], at)
            at += len(lines)
        held = rows[whole:].copy()
    if len(held):
        yield Piece(line.to_lines(np.pad(held, ((0, own.per_line - len(held)), (0, 0))))[None], at)


def by_id(
    store, saved: StoredRows, used: int, scratch: pathlib.Path
) -> Iterator[Shaped[np.ndarray, "N D"]]:
    """The first `used` rows in their own order.

    Strided rows are first put in order, in memory or, where they are many, in a temporary file in
    the folder `scratch`.
    """
    if saved.stride == 1:
        yield from rows_of(store, saved, 0, used)
        return
    stride, dtype = saved.stride, store.dtype.numpy_dtype
    block, wanted = saved.rows // stride, -(-used // stride)  # rows of each block
    shape, blocks = (wanted, stride, saved.width), saved.residues.tolist()  # its own inverse
    with tempfile.TemporaryFile(dir=scratch) as file:
        small = math.prod(shape) * dtype.itemsize <= IN_MEMORY
        ordered = np.empty(shape, dtype) if small else np.memmap(file, dtype, "w+", shape=shape)
        each = max(1, PIECE // (saved.width * dtype.itemsize))
        for group in range(0, stride, TOGETHER):
            for start in range(0, wanted, each):
                stop = min(start + each, wanted)
                for residue in range(group, min(group + TOGETHER, stride)):
                    first, at = blocks[residue] * block + start, start
                    for rows in rows_of(store, saved, first, first + stop - start):
                        ordered[at : at + len(rows), residue] = rows
                        at += len(rows)
        rows = ordered.reshape(-1, saved.width)
        for start in range(0, used, each):
            yield np.asarray(rows[start : min(start + each, used)])


def rows_of(store, saved: StoredRows, first: int, last: int) -> Iterator[Shaped[np.ndarray, "N D"]]:
    """Those of the rows at the places [first, last) that were saved."""
    last = min(last, saved.rows)
    line = StoredRows(saved.per_line, saved.width, saved.per_line, saved.lanes)
    if first < last:
        start, stop = first // saved.per_line, -(-last // saved.per_line)
        for at, lines in _lines(store, start, stop):
            before = at * saved.per_line
            rows = line.to_rows(lines.reshape(len(lines), -1))
            yield rows[max(first - before, 0) : last - before]


def _moved(
    store, saved: StoredRows, own: StoredRows, first: int, last: int
) -> Iterator[Shaped[np.ndarray, "N D"]]:
    """The rows at the places [first, last) of the order `own`, which has the same stride."""
    if own.stride == 1 or saved.rows == own.rows:
        yield from rows_of(store, saved, first, last)
        return
    given, wanted = saved.rows // saved.stride, own.rows // own.stride  # of a block
    together = max(1, PIECE // (given * own.width * store.dtype.numpy_dtype.itemsize))
    for start in range(first // wanted, last // wanted, together):
        stop = min(start + together, last // wanted)
        pieces = list(rows_of(store, saved, start * given, stop * given))
        blocks = np.concatenate(pieces).reshape(stop - start, given, own.width)[:, :wanted]
        blocks = np.pad(blocks, ((0, 0), (0, wanted - blocks.shape[1]), (0, 0)))
        yield blocks.reshape(-1, own.width)


def _strided(store, saved: StoredRows, own: StoredRows, first: int, last: int) -> Iterator[Piece]:
    """Of rows that were saved one after another."""
    block = own.lines // own.stride
    mine = own.residues[first // block : last // block]
    line = StoredRows(own.per_line, own.width, own.per_line, own.lanes)
    whole, at = own.stride * own.per_line, 0  # rows that make a line of each block
    held = np.empty((0, own.width), store.dtype.numpy_dtype)

    def piece(rows: np.ndarray) -> Piece:
        by_block = rows.reshape(-1, own.stride, own.width)[:, mine].swapaxes(0, 1)
        lines = line.to_lines(by_block.reshape(-1, own.width))
        return Piece(lines.reshape(len(by_block), -1, own.lanes), at)

    for rows in rows_of(store, saved, 0, min(saved.rows, own.rows)):
        rows = np.concatenate([held, rows])
        count = len(rows) // whole * whole
        if count:
            yield piece(rows[:count])
            at += count // whole
        held = rows[count:].copy()
    if len(held):
        yield piece(np.pad(held, ((0, whole - len(held)), (0, 0))))


def _lines(store, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first, lines) of [start, stop); what is stored together is read once."""
    together = store.chunk_layout.read_chunk.shape[0]
    size = together * math.prod(store.shape[1:]) * store.dtype.numpy_dtype.itemsize
    step = max(1, PIECE // size) * together
    edges = [start, *range((start // step + 1) * step, stop, step), stop]
    reading = collections.deque()
    for a, b in itertools.pairwise(edges):
        reading.append((a, store[a:b].read()))
        if len(reading) > AHEAD or size > PIECE:
            at, lines = reading.popleft()
            yield at, lines.result()
    for at, lines in reading:
        yield at, lines.result()

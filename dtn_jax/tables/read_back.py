"""Tables and their slots, read from a checkpoint into the order of rows that this run has.

They are read in pieces, and each piece is put in order and written into the device's part in place.
So beside the arrays that are made only a few pieces are held, whether the order changes or not.
Rows of padding come and go with it: each order has its own number of them.
"""

from __future__ import annotations

import collections
import functools
import itertools
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorstore as ts
from jax.sharding import Sharding
from jaxtyping import Shaped

from dtn_jax.tables.stored_rows import StoredRows

PIECE = 8 << 20  # bytes; so much is stored, read and written together
AHEAD = 7  # pieces that are read while one is written; with its copies, less than 256 MB are held


def without_rows(tree: Any, instead: Any) -> Any:
    """A state, or a part of it, with something else instead of the arrays of rows."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    return structure.unflatten(instead if _table(path, a) else a for path, a in leaves)


def with_rows(
    rest: Any,
    like: Any,
    folder: pathlib.Path,
    order: Mapping[str, tuple[int, int]],
    arrays: Mapping[str, StoredRows],
    used: Mapping[str, int],
) -> Any:
    """`rest`, that is `like` without rows, with the arrays of rows of a checkpoint.

    Args:
      rest: what is there already.
      like: shapes, dtypes and shardings.
      folder, order, arrays, used: see `read_back`, of each packed array. One that is in none of
        them is read as it lies.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)

    def read(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        table, name = _table(path, leaf), jax.tree_util.keystr(path, simple=True, separator=".")
        lie = arrays.get(table) or StoredRows(leaf.shape[0], math.prod(leaf.shape[1:]))
        given = order.get(table, (1, lie.lanes)), lie, used.get(table, lie.rows)
        return read_back(folder, name, *given, leaf)

    return structure.unflatten(
        read(path, leaf) if _table(path, leaf) else own
        for (path, leaf), own in zip(leaves, structure.flatten_up_to(rest))
    )


def _table(path: tuple, array: jax.Array | jax.ShapeDtypeStruct) -> str:
    """The packed array of whose rows a leaf of a state has numbers; '' for what has none."""
    part, name, *_ = (*jax.tree_util.keystr(path, simple=True, separator="/").split("/"), "")
    return name if part in ("tables", "slots") and array.ndim else ""


def read_back(
    folder: pathlib.Path,
    name: str,
    order: tuple[int, int],
    own: StoredRows,
    used: int,
    like: jax.ShapeDtypeStruct,
) -> jax.Array:
    """An array of a checkpoint, of lines or of numbers by row, in the order `own`.

    A checkpoint whose arrays are stored in larger parts than pieces (earlier versions did that, in
    up to 2 GB) costs the host such a part, and its copy, besides.

    Args:
      folder: holds the arrays.
      name: of the array.
      order: in which it was saved: the rows of a line, and its numbers.
      own: the order in which it is wanted.
      used: the number of rows that are no padding; they are the first ones.
      like: shape (`own.shape` or `own.by_row`), dtype and sharding of the result.

    Raises:
      ValueError: there is no such array, or its rows are others.
    """
    store = _open(folder, name)
    saved, own = _orders(store, name, order, own, used, like)
    parts = []
    for (first, last), devices in _parts(like.sharding, like.shape).items():
        part = (last - first, *like.shape[1:])
        arrays = [jnp.zeros(part, like.dtype, device=device) for device in devices]
        at = 0
        for lines in _pieces(store, saved, own, first, last):
            lines = lines.reshape(-1, *part[1:])
            for i, device in enumerate(devices):
                arrays[i] = _put(arrays[i], jax.device_put(lines, device), np.int32(at))
            jax.block_until_ready(arrays)  # pieces must not queue up
            at += len(lines)
        parts += arrays
    return jax.make_array_from_single_device_arrays(like.shape, like.sharding, parts)


def rows(
    folder: pathlib.Path, name: str, order: tuple[int, int], own: StoredRows, used: int
) -> Iterator[Shaped[np.ndarray, "N D"]]:
    """The first `used` rows of a checkpoint's array of lines, piece by piece, in their order.

    They are read while they are taken. For the arguments see `read_back`.

    Raises:
      ValueError: there is no such array, or its rows are others.
    """
    store, (per_line, lanes) = _open(folder, name), order
    saved = StoredRows(store.shape[0] * per_line, own.width, per_line, lanes)
    if tuple(store.shape) != saved.shape or saved.rows < used:
        raise ValueError(
            f"{name} is {list(store.shape)}, expected lines of {lanes} numbers, for {used:,} rows"
        )
    return _rows(store, saved, 0, used)


def _open(folder: pathlib.Path, name: str):
    file = {"driver": "file", "path": f"{folder}/"}
    where = {"driver": "ocdbt", "base": file, "path": f"{name}/"}
    return ts.open({"driver": "zarr", "kvstore": where}, open=True, read=True).result()


def _orders(
    store, name: str, order: tuple[int, int], own: StoredRows, used: int, like: jax.ShapeDtypeStruct
) -> tuple[StoredRows, StoredRows]:
    """How an array lies, and how it is wanted."""
    per_line, lanes = order
    saved = StoredRows(store.shape[0] * per_line, own.width, per_line, lanes)
    expected = saved.shape
    if like.shape != own.shape:  # a number for each row
        saved, own = (StoredRows(lie.rows, 1, lie.per_line) for lie in (saved, own))
        expected = saved.by_row
    dtype = store.dtype.numpy_dtype
    if tuple(store.shape) != expected or dtype != like.dtype:
        raise ValueError(
            f"{name} is {dtype} {list(store.shape)}, expected {like.dtype} {list(expected)}"
        )
    same = (saved.per_line, saved.lanes) == (own.per_line, own.lanes)
    if saved.rows != own.rows if same else used > min(saved.rows, own.rows):
        some = f"{own.rows:,}" if same else f"{used:,} and padding"
        raise ValueError(f"{name} has {saved.rows:,} rows, expected {some}")
    if same:  # there is nothing to put in order: a line is a row
        saved = own = StoredRows(own.lines, own.lanes)
    return saved, own


def _parts(sharding: Sharding, shape: tuple[int, ...]) -> dict[tuple[int, int], list[jax.Device]]:
    """{(first line, line after the last): the devices of this process that hold those}"""
    parts: dict[tuple[int, int], list[jax.Device]] = {}
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        first, last, _ = index[0].indices(shape[0])
        parts.setdefault((first, last), []).append(device)
    return parts


def _pieces(
    store, saved: StoredRows, own: StoredRows, first: int, last: int
) -> Iterator[np.ndarray]:
    """The lines [first, last) of the order `own`, piece by piece, as far as rows were saved."""
    most = max(1, PIECE // (own.lanes * store.dtype.numpy_dtype.itemsize)) * own.per_line
    held = np.empty((0, own.width), store.dtype.numpy_dtype)  # the rows of an unfinished line
    for rows in _rows(store, saved, first * own.per_line, last * own.per_line):
        rows = np.concatenate([held, rows]) if len(held) else rows
        whole = len(rows) // own.per_line * own.per_line
        for start in range(0, whole, most):
            yield own.to_lines(rows[start : min(start + most, whole)])
        held = rows[whole:].copy()
    if len(held):
        yield own.to_lines(np.pad(held, ((0, own.per_line - len(held)), (0, 0))))


def _rows(store, saved: StoredRows, first: int, last: int) -> Iterator[np.ndarray]:
    """Those of the rows [first, last) that were saved, piece by piece."""
    last = min(last, saved.rows)
    if first < last:
        start, stop = first // saved.per_line, -(-last // saved.per_line)
        for at, lines in _lines(store, start, stop):
            before = at * saved.per_line
            rows = saved.to_rows(lines.reshape(len(lines), -1))
            yield rows[max(first - before, 0) : last - before]


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


@functools.partial(jax.jit, donate_argnums=0)
def _put(array: jax.Array, lines: jax.Array, at: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(array, lines, at, axis=0)

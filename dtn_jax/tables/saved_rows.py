"""Tables and their slots on disk: rows in their own order, written and read piece by piece.

So a checkpoint does not depend on how rows lie in memory, which platform, width and number of
devices decide. Beside the arrays of a state only a few pieces are held. Padding is saved too; where
a run has more rows than were saved, the others are zeros.

Each array is a folder of its own, a Zarr array `[V, D]` whose chunks are files, so that several
processes write it together: each has the rows of all devices of every n-th piece.
"""

from __future__ import annotations

import collections
import dataclasses
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
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from dtn_jax.shapes import Shaped
from dtn_jax.tables.stored_rows import StoredRows

PIECE = 8 << 20  # bytes; so much is stored, read and written together
AHEAD = 3  # pieces that are read or written while one is put in order
CODECS = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "zstd", "configuration": {"level": 1}},
]


def parts_of(tree: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """({path: array of rows}, {path: any other leaf}) of a state, or of a part of it."""
    leaves = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    rows = {n: a for n, a in leaves.items() if n.startswith(("tables.", "slots.")) and a.ndim}
    return rows, {name: leaf for name, leaf in leaves.items() if name not in rows}


def joined(like: Any, leaves: Mapping[str, Any]) -> Any:
    """A tree such as `like`, of leaves by their paths."""
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves[_name(path)], like)


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def lie_of(name: str, array: Any, arrays: Mapping[str, StoredRows]) -> StoredRows:
    """How the rows of an array lie: those of a packed array, or the numbers kept for each."""
    packed = arrays.get(name.split(".")[1])
    if packed is None:
        return StoredRows(array.shape[0], math.prod(array.shape[1:]))
    if tuple(array.shape) == packed.shape:
        return packed
    return StoredRows(packed.rows, 1, packed.per_line, stride=packed.stride)


def write(folder: pathlib.Path, name: str, array: jax.Array, lie: StoredRows) -> None:
    """Writes an array whose rows lie so; each process writes some pieces of it."""
    blocks = lie.lines // lie.stride  # lines of a block
    each = max(1, PIECE // (lie.stride * lie.lanes * array.dtype.itemsize))
    chunk = min(each, blocks) * lie.stride * lie.per_line
    metadata = {
        "shape": [lie.rows, lie.width],
        "data_type": str(array.dtype),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chunk, lie.width]}},
        "codecs": CODECS,
    }
    store = _open(folder, name, metadata)
    writing: collections.deque = collections.deque()
    for number, at in enumerate(range(0, blocks, each)):
        take = _taker(lie, min(each, blocks - at), array.sharding)
        rows = take(array, at).addressable_data(0)
        if number % jax.process_count() == jax.process_index():
            first = at * lie.stride * lie.per_line
            writing.append(store[first : first + len(rows)].write(np.asarray(rows)))
        if len(writing) > AHEAD:
            writing.popleft().result()
    for one in writing:
        one.result()


@functools.cache
def _taker(lie: StoredRows, lines: int, sharding: Sharding):
    """`(array, at) -> rows`: those of so many lines of each block, in their own order, everywhere.

    Devices have whole blocks, so each takes lines of its own.
    """
    part = dataclasses.replace(lie, rows=lie.stride * lines * lie.per_line)

    def take(array: jax.Array, at: jax.Array) -> jax.Array:
        seen = array.reshape(lie.stride, -1, lie.lanes)
        taken = jax.lax.dynamic_slice_in_dim(seen, at, lines, axis=1)
        return part.to_rows(taken.reshape(-1, lie.lanes))

    everywhere = sharding
    if isinstance(sharding, NamedSharding):
        everywhere = NamedSharding(sharding.mesh, PartitionSpec())
    return jax.jit(take, out_shardings=everywhere)


def read(
    folder: pathlib.Path, name: str, lie: StoredRows, used: int, like: jax.ShapeDtypeStruct
) -> jax.Array:
    """An array whose rows are to lie so.

    Args:
      folder, name: as in `write`.
      lie: of the rows.
      used: the number of rows that are no padding.
      like: shape, dtype and sharding of the result.

    Raises:
      ValueError: there is no such array, or its rows are others.
    """
    store = _open(folder, name)
    saved, dtype = store.shape[0], store.dtype.numpy_dtype
    if (store.shape[1], dtype) != (lie.width, like.dtype) or saved < used or lie.rows < used:
        raise ValueError(
            f"{name} is {dtype} {list(store.shape)}, expected {like.dtype} [{used:,} rows and "
            f"padding, {lie.width}]"
        )
    line = StoredRows(lie.per_line, lie.width, lie.per_line, lie.lanes)
    whole, block = lie.stride * lie.per_line, lie.lines // lie.stride  # rows; lines of a block
    parts = _parts(like.sharding, like.shape)
    arrays = {
        part: [jnp.zeros((part[1] - part[0], *like.shape[1:]), like.dtype, device=d) for d in to]
        for part, to in parts.items()
    }
    for at, rows in _pieces(store, min(saved, lie.rows), whole):
        rows = np.pad(rows, ((0, -len(rows) % whole), (0, 0)))
        for (first, last), devices in parts.items():
            if lie.stride == 1:  # the lines of a device stand together
                start, stop = max(first, at // whole), min(last, (at + len(rows)) // whole)
                mine = rows[start * whole - at : max(start, stop) * whole - at]
                blocks, place = 1, start - first
            else:  # it has whole blocks
                residues = lie.residues[first // block : last // block]
                mine = rows.reshape(-1, lie.stride, lie.width)[:, residues].swapaxes(0, 1)
                blocks, place = len(residues), at // whole
            lines = line.to_lines(mine.reshape(-1, lie.width))
            lines = lines.reshape(blocks, -1, *like.shape[1:])
            for i, device in enumerate(devices if lines.size else ()):
                placed = jax.device_put(lines, device)
                copies = arrays[first, last]
                copies[i] = _put(copies[i], placed, blocks, np.int32(place))
        jax.block_until_ready(arrays)  # pieces must not queue up
    every = [array for part in arrays.values() for array in part]
    return jax.make_array_from_single_device_arrays(like.shape, like.sharding, every)


def rows(folder: pathlib.Path, name: str, used: int) -> Iterator[Shaped[np.ndarray, "N D"]]:
    """The first `used` rows of an array, piece by piece, read while they are taken."""
    return (piece for _, piece in _pieces(_open(folder, name), used, 1))


def _open(folder: pathlib.Path, name: str, metadata: Mapping[str, Any] | None = None):
    """An array; a new one, unless another process has made it, where there are `metadata`."""
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/{name}/"}}
    if metadata:
        return ts.open(spec | {"metadata": metadata}, open=True, create=True).result()
    return ts.open(spec, open=True, read=True).result()


def _pieces(store, used: int, whole: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first, rows) of the first `used` rows, in pieces of a multiple of `whole`.

    What is stored together is read once.
    """
    chunk = store.chunk_layout.read_chunk.shape[0]
    together = math.lcm(chunk, whole) if chunk % whole else chunk
    size = together * store.shape[1] * store.dtype.numpy_dtype.itemsize
    edges = [*range(0, used, max(1, PIECE // size) * together), used]
    reading: collections.deque = collections.deque()
    for first, stop in itertools.pairwise(edges):
        reading.append((first, store[first:stop].read()))
        if len(reading) > AHEAD:
            at, rows = reading.popleft()
            yield at, rows.result()
    for at, rows in reading:
        yield at, rows.result()


def _parts(sharding: Sharding, shape: tuple[int, ...]) -> dict[tuple[int, int], list[jax.Device]]:
    """{(first line, line after the last): the devices of this process that hold those}"""
    parts: dict[tuple[int, int], list[jax.Device]] = {}
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        first, last, _ = index[0].indices(shape[0])
        parts.setdefault((first, last), []).append(device)
    return parts


@functools.partial(jax.jit, donate_argnums=0, static_argnums=2)
def _put(array: jax.Array, lines: jax.Array, blocks: int, at: jax.Array) -> jax.Array:
    """Puts lines into an array that is seen as so many blocks."""
    seen = array.reshape(blocks, -1, *array.shape[1:])
    return jax.lax.dynamic_update_slice_in_dim(seen, lines, at, axis=1).reshape(array.shape)

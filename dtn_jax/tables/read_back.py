"""Tables and their slots, read from a checkpoint into the order of rows that this run has.

They are read in pieces, and each piece is put in order and written into the device's part in place.
So beside the arrays that are made only a few pieces are held, whether the order changes or not.
Rows of padding come and go with it: each order has its own number of them.
"""

from __future__ import annotations

import functools
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorstore as ts
from jax.sharding import Sharding

from dtn_jax.shapes import Shaped
from dtn_jax.tables import stored_pieces
from dtn_jax.tables.row_order import Order
from dtn_jax.tables.stored_rows import StoredRows


def without_rows(tree: Any, instead: Any) -> Any:
    """A state, or a part of it, with something else instead of the arrays of rows."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    return structure.unflatten(instead if _table(path, a) else a for path, a in leaves)


def with_rows(
    rest: Any,
    like: Any,
    folder: pathlib.Path,
    order: Mapping[str, Order],
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
        given = order.get(table, Order(1, lie.lanes)), lie, used.get(table, lie.rows)
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
    order: Order,
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
      order: in which it was saved.
      own: the order in which it is wanted.
      used: the number of rows that are no padding.
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
        blocks = stored_pieces.blocks_of(saved, own, last - first)
        for piece in stored_pieces.in_order(store, saved, own, first, last):
            lines = piece.lines.reshape(*piece.lines.shape[:2], *part[1:])
            for i, device in enumerate(devices):
                placed = jax.device_put(lines, device)
                arrays[i] = _put(arrays[i], placed, blocks, np.int32(piece.at))
            jax.block_until_ready(arrays)  # pieces must not queue up
        parts += arrays
    return jax.make_array_from_single_device_arrays(like.shape, like.sharding, parts)


def rows(
    folder: pathlib.Path,
    name: str,
    order: Order,
    own: StoredRows,
    used: int,
    scratch: pathlib.Path,
) -> Iterator[Shaped[np.ndarray, "N D"]]:
    """The first `used` rows of a checkpoint's array of lines, piece by piece, in their order.

    They are read while they are taken. For the arguments see `read_back`; `scratch` is a folder
    with room for as many bytes as these rows have.

    Raises:
      ValueError: there is no such array, or its rows are others.
    """
    store = _open(folder, name)
    saved = _saved(store, own.width, order)
    if tuple(store.shape) != saved.shape or saved.rows < used:
        raise ValueError(
            f"{name} is {list(store.shape)}, expected lines of {order.lanes} numbers, for {used:,} "
            "rows"
        )
    return stored_pieces.by_id(store, saved, used, scratch)


def _open(folder: pathlib.Path, name: str):
    file = {"driver": "file", "path": f"{folder}/"}
    where = {"driver": "ocdbt", "base": file, "path": f"{name}/"}
    return ts.open({"driver": "zarr", "kvstore": where}, open=True, read=True).result()


def _orders(
    store, name: str, order: Order, own: StoredRows, used: int, like: jax.ShapeDtypeStruct
) -> tuple[StoredRows, StoredRows]:
    """How an array lies, and how it is wanted."""
    saved = _saved(store, own.width, order)
    expected = saved.shape
    if like.shape != own.shape:  # a number for each row
        saved, own = (
            StoredRows(lie.rows, 1, lie.per_line, stride=lie.stride) for lie in (saved, own)
        )
        expected = saved.by_row
    dtype = store.dtype.numpy_dtype
    if tuple(store.shape) != expected or dtype != like.dtype:
        raise ValueError(
            f"{name} is {dtype} {list(store.shape)}, expected {like.dtype} {list(expected)}"
        )
    if used > min(saved.rows, own.rows):
        raise ValueError(f"{name} has {saved.rows:,} rows, expected {used:,} and padding")
    same = (saved.rows, _order(saved)) == (own.rows, _order(own))
    if same:  # there is nothing to put in order: a line is a row
        saved = own = StoredRows(own.lines, own.lanes)
    return saved, own


def _saved(store, width: int, order: Order) -> StoredRows:
    """How an array of lines lies in its store."""
    return StoredRows(store.shape[0] * order.per_line, width, *order)


def _order(lie: StoredRows) -> Order:
    return Order(lie.per_line, lie.lanes, lie.stride)


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

"""Which part of a batch is being traced, for sums and random draws that are of the whole batch.

Under `jax.jit` a batch is one array whatever the devices, and everything here is the identity.
Strategy `pmap` traces a step for one device's rows, and gradient accumulation traces a part of the
rows at a time; random draws for a row must then be the ones that it would get in the whole batch.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax

from dtn_jax.shapes import Array, Int

_axis: contextvars.ContextVar[str | None] = contextvars.ContextVar("batch_axis", default=None)
_part: contextvars.ContextVar[tuple | None] = contextvars.ContextVar("batch_part", default=None)


@contextlib.contextmanager
def split_over(name: str) -> Iterator[None]:
    """While this is open, what is traced sees its device's part of a batch split over `name`."""
    token = _axis.set(name)
    try:
        yield
    finally:
        _axis.reset(token)


@contextlib.contextmanager
def part(index: Int[Array, ""], parts: int) -> Iterator[None]:
    """While this is open, what is traced sees part `index` of the device's rows, as `split`."""
    token = _part.set((index, parts))
    try:
        yield
    finally:
        _part.reset(token)


def split(rows: Array, parts: int) -> Array:
    """`[B, ...]` to `[parts, B / parts, ...]`: every `parts`-th row, so that a batch that lies on
    several devices is split where it lies."""
    by_part = rows.reshape(rows.shape[0] // parts, parts, *rows.shape[1:])
    return by_part.swapaxes(0, 1)


def join(parts: Array) -> Array:
    """The inverse of `split`."""
    rows = parts.swapaxes(0, 1)
    return rows.reshape(rows.shape[0] * rows.shape[1], *rows.shape[2:])


def total(own):
    """The sum over all devices of a pytree whose leaves sum over this device's rows."""
    name = _axis.get()
    return own if name is None else jax.lax.psum(own, name)


def draw(make: Callable[[tuple[int, ...]], Array], shape: tuple[int, ...]) -> Array:
    """`make(shape)` for the rows `[B, ...]` that are traced, of a draw for the whole batch."""
    name, part_ = _axis.get(), _part.get()
    index, parts = part_ or (0, 1)
    rows = shape[0] * parts  # of this device
    devices = 1 if name is None else jax.lax.axis_size(name)
    drawn = make((rows * devices, *shape[1:]))
    if name is not None:
        drawn = jax.lax.dynamic_slice_in_dim(drawn, jax.lax.axis_index(name) * rows, rows)
    return drawn if part_ is None else split(drawn, parts)[index]


def gathered(own: Array) -> Array:
    """All devices' rows of an array, one after another."""
    name = _axis.get()
    return own if name is None else jax.lax.all_gather(own, name, tiled=True)


def own(rows: Array) -> Array:
    """The inverse of `gathered`: this device's rows."""
    name = _axis.get()
    if name is None:
        return rows
    count = rows.shape[0] // jax.lax.axis_size(name)
    return jax.lax.dynamic_slice_in_dim(rows, jax.lax.axis_index(name) * count, count)

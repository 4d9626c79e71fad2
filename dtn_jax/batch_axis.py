"""The device axis that a batch is split over, for code that is traced for one device's part.

Under `jax.jit` a batch is one array whatever the devices, and everything here is the identity.
Strategy `pmap` traces a step for one device's rows; sums over the batch must then be summed over
the devices, and random draws for a row must be the ones that the row would get in the whole batch.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax
from jaxtyping import Array

_axis: contextvars.ContextVar[str | None] = contextvars.ContextVar("batch_axis", default=None)


@contextlib.contextmanager
def split_over(name: str) -> Iterator[None]:
    """While this is open, what is traced sees its device's part of a batch split over `name`."""
    token = _axis.set(name)
    try:
        yield
    finally:
        _axis.reset(token)


def total(part):
    """The sum over all devices of a pytree whose leaves sum over this device's rows."""
    name = _axis.get()
    return part if name is None else jax.lax.psum(part, name)


def draw(make: Callable[[tuple[int, ...]], Array], shape: tuple[int, ...]) -> Array:
    """`make(shape)` for this device's rows `[B, ...]` of a draw for the whole batch."""
    name = _axis.get()
    if name is None:
        return make(shape)
    rows = shape[0]
    whole = make((rows * jax.lax.axis_size(name), *shape[1:]))
    return jax.lax.dynamic_slice_in_dim(whole, jax.lax.axis_index(name) * rows, rows)


def gathered(part: Array) -> Array:
    """All devices' rows of an array, one after another."""
    name = _axis.get()
    return part if name is None else jax.lax.all_gather(part, name, tiled=True)

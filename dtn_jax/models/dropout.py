"""Dropout (Srivastava et al. 2014), drawn for the whole batch however it is split."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.data.epochs import batch_axis
from dtn_jax.shapes import Array, Float

_rates: contextvars.ContextVar[Mapping | None] = contextvars.ContextVar("rates", default=None)


@contextlib.contextmanager
def rates(by_option: Mapping[str, Float[Array, ""]]) -> Iterator[None]:
    """While this is open, rates are these traced scalars, {option: rate}, not the modules' own:
    runs with different rates can then share a program."""
    token = _rates.set(by_option)
    try:
        yield
    finally:
        _rates.reset(token)


class Dropout(nn.Module):
    """Keeps each number with probability 1 - rate, scaled by 1 / (1 - rate); in training alone.

    Attributes:
      rate: 0 leaves it out of the program.
      option: the option of `config.model` that holds the rate.
    """

    rate: float
    option: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        """x, with numbers dropped if `train`, which draws from the rng `dropout`."""
        if not train or self.rate == 0:
            return x
        key = self.make_rng("dropout")
        rate = (_rates.get() or {}).get(self.option, self.rate)
        keep = 1 - jnp.asarray(rate, jnp.float32)
        flat = x.reshape(len(x), -1)  # a short last axis is slow on CPUs, in both passes
        kept = batch_axis.draw(lambda shape: jax.random.bernoulli(key, keep, shape), flat.shape)
        return jnp.where(kept, flat / keep.astype(x.dtype), 0).reshape(x.shape)

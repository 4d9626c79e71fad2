"""A split that is kept on the device, where the batches of an epoch are gathered.

It stands beside streamed.py: who wants the other one need not read this.
"""

from __future__ import annotations

import functools

import jax
import numpy as np

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.data.epochs.day_order import Days
from dtn_jax.data.epochs.epoch_order import batch_rows
from dtn_jax.data.epochs.reader import SplitReader, take
from dtn_jax.data.prepared import Prepared
from dtn_jax.interface import Batch


class ResidentData:
    """A split that lies on the device; chunks are gathered there.

    Args:
      data: the set.
      split: which of its splits.
      sharding: where it lies.
      orders: the number of seeds whose orders are read in turns.
      days: of its rows, where an epoch goes through them; else it is shuffled.
      grouped: whether batches have the rows' groups.
    """

    shared = True  # several runs may take their chunks from one

    def __init__(
        self,
        data: Prepared,
        split: str,
        sharding: jax.sharding.Sharding,
        orders: int = 1,
        days: Days | None = None,
        grouped: bool = False,
    ):
        self.days, self.layout, self.rows = days, data.layout, data.rows[split]
        self.batch = jax.device_put(SplitReader(data, split, grouped).everything(), sharding)
        self.order = functools.lru_cache(maxsize=orders)(self._order)

    def _order(self, seed: int, epoch: int, batch_size: int) -> np.ndarray:
        if self.days is None:
            batches = batch_rows(self.layout, self.rows, seed, epoch, batch_size)
        else:
            batches = self.days.batch_rows(seed, epoch, batch_size)
        return np.stack(list(batches)).astype(np.int32)

    def chunk(self, seed: int, epoch: int, start: int, steps: int, batch_size: int) -> Batch:
        """Steps `start` ... `start + steps` of the epoch, padded to CHUNK_STEPS."""
        order = self.order(seed, epoch, batch_size)[start : start + steps]
        order = np.pad(order, ((0, CHUNK_STEPS - len(order)), (0, 0)), constant_values=-1)
        return _take_on_device(self.batch, order)

    def close(self) -> None:
        """Frees the device's memory."""
        self.batch = None


_take_on_device = jax.jit(lambda rows, place: take(rows, place))

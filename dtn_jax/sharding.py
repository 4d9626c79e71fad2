"""Where arrays lie: the mesh, and the shardings of state and batches.

Strategy `shard`: the batch is split over all devices, and so are the tables' rows; dense
parameters are replicated. XLA partitions the step (`AxisType.Auto`).
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from dtn_jax.embedding import ROW_MULTIPLE
from dtn_jax.schema import UserError, choose
from dtn_jax.state import State

STRATEGIES = ("shard",)


@dataclasses.dataclass(frozen=True)
class Placement:
    """A mesh of one axis, `data`."""

    mesh: Mesh

    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def batch(self) -> NamedSharding:
        """Of a batch's arrays `[B, ...]`."""
        return NamedSharding(self.mesh, PartitionSpec("data"))

    def chunk(self) -> NamedSharding:
        """Of a chunk's arrays `[steps, B, ...]`."""
        return NamedSharding(self.mesh, PartitionSpec(None, "data"))

    def state(self, state: State) -> State:
        """The sharding of each of the state's arrays: tables and their slots by rows."""
        everywhere = jax.tree.map(lambda _: self.replicated(), state)
        by_rows = jax.tree.map(
            lambda a: self.batch() if a.ndim else self.replicated(), (state.tables, state.slots)
        )
        return everywhere.replace(tables=by_rows[0], slots=by_rows[1])


def make_placement(config: ConfigDict) -> Placement:
    """The mesh that the config asks for.

    Raises:
      UserError: an unknown strategy, a number of devices that is not there or that tables cannot
        be split over, or batches that cannot.
    """
    choose("parallel.strategy", config.parallel.strategy, STRATEGIES)
    available = jax.devices()
    count = config.parallel.devices or len(available)
    possible = [n for n in range(1, len(available) + 1) if ROW_MULTIPLE % n == 0]
    if count not in possible:
        raise UserError(
            f"parallel.devices={config.parallel.devices}: expected one of "
            f"{', '.join(map(str, possible))} ({len(available)} devices are there, and tables, "
            f"padded to a multiple of {ROW_MULTIPLE} rows, are split evenly)"
        )
    for key in ("batch_size", "eval_batch_size"):
        size = config.data[key]
        if size % count:
            below = size // count * count
            nearest = [str(n) for n in (below, below + count) if n]
            raise UserError(
                f"data.{key}={size} is not divisible by {count} devices; the nearest: "
                f"{' and '.join(nearest)}; or set parallel.devices"
            )
    return Placement(Mesh(np.asarray(available[:count]), ("data",)))

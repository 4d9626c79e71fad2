"""Where arrays lie and how a chunk of steps is compiled: the mesh and the strategies.

`shard`: one program over a mesh with the axes `data` and `table`. The batch is split over both,
tables by rows over `table`, dense parameters are everywhere; XLA partitions the dense part, and
`exchange` moves the rows. `pmap`: the step runs once per device on its part of the batch, with
everything but the batch on every device; for models whose tables fit, and as a check. Both give
one device's numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from dtn_jax.errors import UserError
from dtn_jax.options import option
from dtn_jax.parallel.per_device import compile_per_device
from dtn_jax.tables.plan import ROW_MULTIPLE, TablePlan, with_copies
from dtn_jax.tables.routed import AXES

STRATEGIES = ("shard", "pmap")
PLATFORMS = ("auto", "cpu", "gpu", "tpu")
ON_ONE_CPU = {"table_platform": "cpu", "devices": 1, "table_devices": 0}  # of options, for export


@dataclasses.dataclass(frozen=True)
class MeshOptions:
    """Section `parallel`: devices."""

    strategy: str = option(
        "shard",
        "shard: batch and tables split; pmap: the batch alone",
        choices=STRATEGIES,
        runtime=True,
    )
    devices: int = option(0, "how many, over all processes; 0 takes all", least=0, runtime=True)
    table_devices: int = option(
        0, "shard: devices that share a copy of the tables; 0 is all", least=0, runtime=True
    )
    message_rows: int = option(
        0,
        "shard: rows that fit a message between two devices (on TPUs rounded up to whole lines of "
        "128 numbers); more take further rounds. It changes no number; 0 chooses",
        least=0,
        runtime=True,
    )
    table_platform: str = option(
        "auto",
        "lay tables out and update them as suits this platform; auto: the run's own",
        choices=PLATFORMS,
        runtime=True,
    )


@dataclasses.dataclass(frozen=True)
class Placement:
    """A mesh with the axes `data` and `table`, and the strategy that uses it.

    Attributes:
      table_platform: as the option says.
      everywhere: the packed arrays that every device has whole, `TablePlan.everywhere`.
    """

    mesh: Mesh
    strategy: str = "shard"
    table_platform: str = "auto"
    everywhere: frozenset[str] = frozenset()

    @property
    def platform(self) -> str:
        """For what tables are laid out: cpu, gpu or tpu."""
        if self.table_platform != "auto":
            return self.table_platform
        name = self.mesh.devices.flat[0].platform
        return name if name in PLATFORMS else "gpu"  # some call it cuda or rocm

    @property
    def table_mesh(self) -> Mesh | None:
        """What `make_train_step` must know: the mesh, where tables are looked up across it."""
        return self.mesh if self.strategy == "shard" and self.mesh.size > 1 else None

    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def batch(self) -> NamedSharding:
        """Of a batch's arrays `[B, ...]`."""
        return NamedSharding(self.mesh, PartitionSpec(AXES))

    def chunk(self) -> NamedSharding:
        """Of a chunk's arrays `[steps, B, ...]`."""
        return NamedSharding(self.mesh, PartitionSpec(None, AXES))

    def state(self, state: Any) -> Any:
        """The sharding of each array of a `State`: tables and their slots by rows `[V, ...]`."""
        whole, split = self.replicated(), NamedSharding(self.mesh, PartitionSpec("table"))

        def by_rows(arrays: dict[str, Any]) -> dict[str, Any]:
            places = {name: whole if name in self.everywhere else split for name in arrays}
            return {
                name: jax.tree.map(lambda a, at=places[name]: at if a.ndim else whole, array)
                for name, array in arrays.items()
            }

        copied = jax.tree.map(lambda _: whole, state)
        return copied.replace(tables=by_rows(state.tables), slots=by_rows(state.slots))

    def state_places(self, state: Any) -> Any:
        """The shape, dtype and sharding of each array of a `State`, given it or its shapes."""
        return jax.tree.map(
            lambda a, at: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=at),
            state,
            self.state(state),
        )

    def put(self, rows, sharding: NamedSharding):
        """Places a batch or a chunk of numpy or JAX arrays.

        With several processes each gives its own part of the rows: `processes.own_part`.
        """
        if jax.process_count() == 1:
            return jax.device_put(rows, sharding)
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), rows)

    def compile(self, train_chunk: Callable, state: Any) -> Callable:
        """`train_chunk(state, chunk, count) -> (state, metrics)` as one program; the state given
        is consumed, and metrics are the same on every device."""
        if self.strategy == "pmap":
            return compile_per_device(train_chunk, self.mesh)
        shardings = (self.state(state), self.replicated())
        return jax.jit(train_chunk, donate_argnums=0, out_shardings=shardings)


def make_placement(config: ConfigDict) -> Placement:
    """The mesh that the config asks for.

    Raises:
      UserError: an unknown strategy, a number of devices that is not there or that tables cannot
        be split over, or batches that cannot.
    """
    parallel = config.parallel
    count = _device_count(parallel.devices)
    for key in ("batch_size", "eval_batch_size"):
        size = config.data[key]
        if size % count:
            below = size // count * count
            nearest = [str(n) for n in (below, below + count) if n]
            raise UserError(
                f"data.{key}={size} is not divisible by {count} devices; the nearest: "
                f"{' and '.join(nearest)}; or set parallel.devices"
            )
    each, parts = config.data.batch_size // count, config.train.accumulate
    if each % parts:
        raise UserError(
            f"train.accumulate={parts} does not divide the {each} rows of a batch that each of "
            f"{count} devices has"
        )
    sharers = 1 if parallel.strategy == "pmap" else parallel.table_devices or count
    if count % sharers:
        possible = [n for n in range(1, count + 1) if count % n == 0]
        raise UserError(
            f"parallel.table_devices={sharers} does not divide {count} devices; expected one of "
            f"{', '.join(map(str, possible))}, or 0 for all"
        )
    # Those of a process side by side, as its part of a batch lies.
    devices = sorted(jax.devices(), key=lambda device: device.process_index)[:count]
    devices = np.asarray(devices).reshape(count // sharers, sharers)
    return Placement(Mesh(devices, AXES), parallel.strategy, parallel.table_platform)


def share_tables(plan: TablePlan, at: Placement, batch_size: int) -> tuple[TablePlan, Placement]:
    """A plan and a placement that both know which packed arrays every device has whole."""
    if at.table_mesh is None:
        return plan, at
    plan = with_copies(plan, batch_size // at.mesh.size)
    return plan, dataclasses.replace(at, everywhere=plan.everywhere)


def _device_count(wanted: int) -> int:
    available = len(jax.devices())
    possible = [n for n in range(1, available + 1) if ROW_MULTIPLE % n == 0]
    if jax.process_count() > 1:  # all: a process without a device would have nothing to do
        possible = [n for n in possible if n == available]
    if (wanted or available) not in possible:
        raise UserError(
            f"parallel.devices={wanted}: expected one of {', '.join(map(str, possible)) or 'none'} "
            f"({available} devices of {jax.process_count()} process(es) are there, and tables, "
            f"padded to a multiple of {ROW_MULTIPLE} rows, are split evenly)"
        )
    return wanted or available

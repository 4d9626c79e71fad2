"""Strategy `pmap`: a chunk of steps, run once per device on its part of the batch.

The state is whole on every device. Outside of here it is an array over all devices of all
processes, as with the other strategy; pmap itself works on what this process's devices hold.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dtn_jax.data.epochs import batch_axis

AXIS = "batch"


def compile_per_device(train_chunk: Callable, mesh: Mesh) -> Callable:
    """`train_chunk(state, chunk, count) -> (state, metrics)` by `jax.pmap` over a mesh's devices.

    The state given is consumed; a chunk's arrays `[steps, B, ...]` are split over B.
    """
    local = Mesh(np.asarray(mesh.local_devices), (AXIS,))
    whole, parts = PartitionSpec(), PartitionSpec(None, AXIS)

    run = on_each_device(train_chunk, list(mesh.devices.reshape(-1)))

    def split(a):
        steps, rows = a.shape[:2]
        return a.reshape(steps, local.size, rows // local.size, *a.shape[2:])

    split_all = jax.jit(
        lambda chunk: jax.tree.map(split, chunk), out_shardings=NamedSharding(local, parts)
    )

    def here(a, spec):
        """This process's devices' part of an array, as an array of its own."""
        shards = [s.data for s in a.addressable_shards]
        rows = sum(s.shape[1] for s in shards) if spec == parts else None
        shape = (a.shape[0], rows, *a.shape[2:]) if spec == parts else a.shape
        return jax.make_array_from_single_device_arrays(shape, NamedSharding(local, spec), shards)

    def everywhere(a):
        """The array over all processes of which this process's devices hold copies."""
        shards = [s.data for s in a.addressable_shards]
        return jax.make_array_from_single_device_arrays(a.shape, NamedSharding(mesh, whole), shards)

    def pmapped(state, chunk, count):
        state = jax.tree.map(lambda a: here(a, whole), state)
        chunk = split_all(jax.tree.map(lambda a: here(a, parts), chunk))
        return jax.tree.map(everywhere, run(state, chunk, count))

    return pmapped


def on_each_device(train_chunk: Callable, devices: list[jax.Device]) -> Callable:
    """The chunk by `jax.pmap` alone: `chunk` has `[steps, devices, B / devices, ...]`, and the
    state given is consumed."""

    def on_one_device(state, chunk, count):
        with batch_axis.split_over(AXIS):
            return train_chunk(state, chunk, count)

    return jax.pmap(
        on_one_device,
        axis_name=AXIS,
        in_axes=(None, 1, None),
        out_axes=(None, None),
        donate_argnums=0,
        devices=devices,
    )

"""A table that every device has whole, beside one whose rows travel: which is faster, by its rows.

Look-up and lazy Adam's update of random ids, alone, by rows of the table for each id that a device
looks up: `tables.plan.with_copies` copies tables of at most one. Without eight devices, they are
simulated on the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dtn_jax.config import base_config
from dtn_jax.optimizers import table_updater
from dtn_jax.tables.exchange import Everywhere, Exchange
from dtn_jax.tables.plan import ROW_MULTIPLE
from dtn_jax.tables.routed import AXES, BY_EXAMPLE, BY_ROW, Routed
from dtn_jax.tables.row_optimizers import Scalars
from dtn_jax.tables.stored_rows import lay_out

from . import programs
from .measured import Goal, Measured, Options, ratio, timed_in_turns

WIDTH, STEPS, ROUNDS = 16, 8, 7
IDS = (10_000, 50_000)  # that a device looks up
SHARES = (0.25, 0.5, 1, 2, 4)  # rows of the table for each of them


def measure(options: Options) -> Measured:
    rows = programs.on_many_devices("experiments.suites.copied", measurements, options.quick)
    goals = [
        Goal(
            f"{row['ids']:,} ids, {row['rows']:,} rows: copied over travelling", 1, row["x"], False
        )
        for row in rows
        if row["rows for each id"] <= 1
    ]
    title = f"ms of a look-up and update (E = {WIDTH}, lazy Adam) on {programs.SIMULATED} devices"
    return Measured(title, rows, goals)


def measurements(quick: bool) -> Iterator[dict[str, Any]]:
    """A row for each number of ids and size of the table."""
    devices = np.asarray(jax.devices()[: programs.SIMULATED])
    mesh = Mesh(devices.reshape(1, -1), AXES)
    for ids in (2_000,) if quick else IDS:
        for share in SHARES[:1] if quick else SHARES:
            rows = int(share * ids)
            timers = {how: timer(how, mesh, rows, ids) for how in ("copied", "travelling")}
            seconds = timed_in_turns(timers, 2 if quick else ROUNDS)
            medians = {how: 1e3 * float(np.median(found)) for how, found in seconds.items()}
            relative = ratio(seconds["copied"], seconds["travelling"])
            yield {"ids": ids, "rows": rows, "rows for each id": share, **medians, "x": relative}


def timer(how: str, mesh: Mesh, rows: int, ids: int) -> Callable[[], float]:
    """A function that makes STEPS steps and returns seconds a step; the first call is done."""
    platform = mesh.devices.flat[0].platform
    platform = platform if platform in ("cpu", "tpu") else "gpu"
    updater = table_updater(base_config().optim, platform)
    lie = lay_out(rows, WIDTH, platform, ROW_MULTIPLE)
    exchange: Exchange = Everywhere(lie, updater, mesh)
    at = PartitionSpec()
    if how == "travelling":
        exchange, at = Routed(lie, updater, mesh, platform), BY_ROW

    def begin():
        table = jnp.zeros(lie.shape)
        return table, updater.init(table, lie)

    state = jax.jit(begin, out_shardings=NamedSharding(mesh, at))()
    drawn = np.random.default_rng(0).integers(0, rows, (STEPS, ids * mesh.size))
    by_step = PartitionSpec(None, *BY_EXAMPLE)
    drawn = jax.device_put(jnp.asarray(drawn, jnp.int32), NamedSharding(mesh, by_step))

    @jax.jit
    def steps(state, drawn):
        def step(i, state):
            found, asked = exchange.look_up(state[0], exchange.route(drawn[i]))
            scalars = Scalars(jnp.float32(0.1), jnp.float32(0), i)
            return exchange.update(*state, asked, found + 1, scalars, None)

        return jax.lax.fori_loop(0, STEPS, step, state)

    held = {"state": state}

    def run() -> float:
        start = time.perf_counter()
        held["state"] = jax.block_until_ready(steps(held["state"], drawn))
        return (time.perf_counter() - start) / STEPS

    run()
    return run


if __name__ == "__main__":
    programs.print_lines(measurements)

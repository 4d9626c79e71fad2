"""Training on 1, 2, 4 and 8 devices: step time, memory of a device, bytes in collectives.

The strategies, `shard` with the tables over all devices and over two, beside XLA alone: the same
step, placed the same, whose rows XLA partitions itself. Of shared_bottom (E = 16, 23 fields, lazy
Adam) at a batch of 1024 over all devices. Memory and bytes are the compiled program's own figures,
times are of runs. Without eight devices, they are simulated on the CPU: then all is of that CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from dtn_jax.config import base_config
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.schema import Field, Schema, Task
from experiments.benchmarks import programs
from experiments.benchmarks.hlo.collectives import total_bytes
from experiments.benchmarks.measured import Goal, Measured, Options, ratio, timed_in_turns
from experiments.benchmarks.programs import Program
from experiments.benchmarks.tables import FIELDS, random_chunk

ROWS, BATCH, QUICK_BATCH = 1_000_000, 1024, 64
DEVICES = (1, 2, 4, 8)
ROUNDS = 11
SHARD, ALONE = "shard", "XLA alone"
NOTES = [
    "Simulated devices share this machine's cores: their times show what more devices cost, never "
    "what they gain.",
    "MB are 10^6 bytes of one device. Of collectives: the whole arrays that those of a step of one "
    "round make or reduce. Largest: the largest of them, as a share of a device's part of the "
    "table; XLA alone reduces several arrays in one.",
]


def measure(options: Options) -> Measured:
    name = "experiments.benchmarks.sharded"
    rows = programs.on_many_devices(name, measurements, options.quick)
    goals = []
    for row in rows:
        if row["strategy"] == SHARD and row["devices"] > 1:
            n = row["devices"]
            part = row["tables and slots, MB"] / row["of all, MB"] * n
            goals += [
                Goal(f"{n} devices, {SHARD}: part of tables and slots x {n}", 1.02, part, False),
                Goal(f"{n} devices, {SHARD}: largest collective", 1, row["largest"], False),
                Goal(f"{n} devices, {SHARD}: time of {ALONE}", 1, row[f"x {ALONE}"], False),
            ]
    size = f"{rows[0]['of all, MB']:.0f} MB of tables and slots"
    batch = QUICK_BATCH if options.quick else BATCH
    title = f"shared_bottom, a batch of {batch} over all devices, {size}"
    return Measured(title, rows, goals, NOTES)


def measurements(quick: bool) -> Iterator[dict[str, Any]]:
    """A row for each number of devices and way of partitioning."""
    for devices in (2,) if quick else DEVICES:
        ways = {SHARD: program(devices, quick=quick)}
        if devices > 2:
            ways[f"{SHARD}, tables over 2"] = program(devices, 2, quick=quick)
        ways["pmap"] = program(devices, strategy="pmap", quick=quick)
        if devices > 1:
            ways[ALONE] = program(devices, by_hand=False, quick=quick)
        timers = {name: chunk_timer(p) for name, p in ways.items()}
        seconds = timed_in_turns(timers, 2 if quick else ROUNDS)
        for name, p in ways.items():
            relative = ratio(seconds[name], seconds[ALONE]) if devices > 1 else None
            yield {
                "devices": devices,
                "strategy": name,
                "ms a step": 1e3 * float(np.median(seconds[name])),
                f"x {ALONE}": relative,
            } | of_compiled(p)


def program(
    devices: int,
    table_devices: int = 0,
    strategy: str = SHARD,
    by_hand: bool = True,
    quick: bool = False,
) -> Program:
    config = base_config()
    config.model.architecture, config.model.experts = "shared_bottom", "mlp"
    config.data.batch_size = config.data.eval_batch_size = QUICK_BATCH if quick else BATCH
    config.parallel.devices, config.parallel.table_devices = devices, table_devices
    config.parallel.strategy = strategy
    rows = (20_000 if quick else ROWS) // FIELDS
    fields = tuple(Field(f"f{i}", rows=rows) for i in range(FIELDS))
    schema = Schema("benchmark", fields, (Task("click"), Task("order")))
    return Program(config, schema, by_hand)


def chunk_timer(p: Program) -> Callable[[], float]:
    """A function that runs a chunk to its end and returns seconds a step; the first is done."""
    at = p.at
    function = at.compile(p.chunk_function(), jax.eval_shape(p.create))
    state = jax.jit(p.create, out_shardings=at.state(jax.eval_shape(p.create)))()
    chunk = at.put(random_chunk(p.schema, p.config.data.batch_size, "zipf"), at.chunk())
    held = {"state": state}

    def run() -> float:
        start = time.perf_counter()
        # Blocked at each chunk: simulated devices with many programs queued wait for each other.
        held["state"], _ = jax.block_until_ready(function(held["state"], chunk, CHUNK_STEPS))
        return (time.perf_counter() - start) / CHUNK_STEPS

    run()
    return run


def of_compiled(p: Program) -> dict[str, float]:
    """The columns that the compiled program fills."""
    compiled = programs.compile_from_shapes(p)
    memory = compiled.memory_analysis()
    carried = [c for c in programs.collectives(compiled) if c.devices > 1]
    by_kind = total_bytes(carried)
    state = jax.eval_shape(p.create)
    chunk = programs.chunk_shapes(p.schema, p.config.data.batch_size)
    everywhere = tree_bytes((state.params, state.opt_state, state.model_state))
    everywhere += tree_bytes(chunk) // p.at.mesh.size
    tables = memory.argument_size_in_bytes - everywhere
    part = tree_bytes(state.tables) / p.at.mesh.shape["table"]
    megabytes = {
        "arguments, MB": memory.argument_size_in_bytes,
        "temporaries, MB": memory.temp_size_in_bytes,
        "new outputs, MB": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        "tables and slots, MB": tables,
        "of all, MB": tree_bytes((state.tables, state.slots)),
        "all-to-all, MB": by_kind.pop("all-to-all", 0),
        "all-gather, MB": by_kind.pop("all-gather", 0),
        "all-reduce, MB": by_kind.pop("all-reduce", 0),
        "others, MB": sum(by_kind.values()),
    }
    largest = max((c.bytes for c in carried), default=0) / part
    return {name: size / 1e6 for name, size in megabytes.items()} | {"largest": largest}


def tree_bytes(shapes) -> int:
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(shapes))


if __name__ == "__main__":
    programs.print_lines(measurements)

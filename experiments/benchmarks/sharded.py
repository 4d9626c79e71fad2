"""Training on 1, 2, 4 and 8 devices: step time, memory of a device, bytes in collectives.

`shard` with the tables over all devices and over two, beside XLA alone: the same step, placed the
same, whose rows XLA partitions itself. Of shared_bottom (E = 16, 23 fields, lazy
Adam) at a batch of 1024 over all devices. Memory and bytes are the compiled program's own figures,
times are of runs. Without eight devices, they are simulated on the CPU: then all is of that CPU.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from dtn_jax.config import base_config
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.parallel.memory import bytes_of
from dtn_jax.plan import Program, chunk_shapes, collectives, make_program
from dtn_jax.schema import Field, Schema, Task
from experiments.benchmarks.measured import Goal, Measured, Options, apart, ratio, timed_in_turns
from experiments.benchmarks.step import FIELDS, random_chunk

ROWS, BATCH, QUICK_BATCH = 1_000_000, 1024, 64
DEVICES = (1, 2, 4, 8)
ROUNDS = 11
SHARD, ALONE = "shard", "XLA alone"
NOTES = [
    "Simulated devices share this machine's cores: their times show what more devices cost, never "
    "what they gain.",
    "MB are 10^6 bytes of one device. Of collectives: the whole arrays that those of a step of one "
    "round make or reduce. All, of the table: as a share of a device's part of the table.",
]


def measure(options: Options) -> Measured:
    enough = len(jax.devices()) >= max(DEVICES)
    quick = ["--quick"] * options.quick
    rows = list(measurements(options.quick)) if enough else apart("sharded", *quick)
    goals = []
    for row in rows:
        if row["strategy"] == SHARD and row["devices"] > 1:
            n = row["devices"]
            part = row["tables and slots, MB"] / row["of all, MB"] * n
            goals += [
                Goal(f"{n} devices, {SHARD}: part of tables and slots x {n}", 1.02, part, False),
                Goal(f"{n} devices, {SHARD}: collectives, of the table", 1, row["sent"], False),
                Goal(f"{n} devices, {SHARD}: time of {ALONE}", 1, row[f"x {ALONE}"], False),
            ]
    size = f"{rows[0]['of all, MB']:.0f} MB of tables and slots"
    batch = QUICK_BATCH if options.quick else BATCH
    title = f"shared_bottom, a batch of {batch} over all devices, {size}"
    return Measured(title, rows, goals, NOTES)


def measurements(quick: bool) -> Iterator[dict[str, Any]]:
    """A row for each number of devices and way of partitioning."""
    for devices in (2,) if quick else DEVICES:
        ways = {SHARD: program(quick, devices)}
        if devices > 2:
            ways[f"{SHARD}, tables over 2"] = program(quick, devices, table_devices=2)
        if devices > 1:
            ways[ALONE] = program(quick, devices, by_hand=False)
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


def program(quick: bool, devices: int, by_hand: bool = True, **parallel) -> Program:
    config = base_config()
    config.model.architecture, config.model.experts = "shared_bottom", "mlp"
    config.data.batch_size = config.data.eval_batch_size = QUICK_BATCH if quick else BATCH
    config.parallel.update(devices=devices, **parallel)
    rows = (20_000 if quick else ROWS) // FIELDS
    fields = tuple(Field(f"f{i}", rows=rows) for i in range(FIELDS))
    schema = Schema("benchmark", fields, (Task("click"), Task("order")))
    return make_program(config, schema, by_hand=by_hand)


def chunk_timer(p: Program) -> Callable[[], float]:
    """A function that runs a chunk to its end and returns seconds a step; the first is done."""
    function = p.at.compile(p.train_chunk(), p.state)
    state = jax.jit(p.create, out_shardings=p.at.state(p.state))()
    chunk = p.at.put(random_chunk(p.schema, p.config.data.batch_size, "zipf"), p.at.chunk())
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
    compiled = p.compile()
    memory, kinds = compiled.memory_analysis(), collectives(compiled.as_text())
    if p.at.mesh.size == 1:
        kinds.clear()
    chunk = bytes_of(chunk_shapes(p.schema, p.config.data.batch_size)) // p.at.mesh.size
    dense = bytes_of((p.state.params, p.state.opt_state, p.state.model_state))
    part = bytes_of(p.state.tables) / p.at.mesh.shape["table"]
    megabytes = {
        "arguments, MB": memory.argument_size_in_bytes,
        "temporaries, MB": memory.temp_size_in_bytes,
        "new outputs, MB": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        "tables and slots, MB": memory.argument_size_in_bytes - chunk - dense,
        "of all, MB": bytes_of((p.state.tables, p.state.slots)),
        **{f"{kind}, MB": kinds[kind] for kind in ("all-to-all", "all-gather", "all-reduce")},
    }
    return {name: size / 1e6 for name, size in megabytes.items()} | {"sent": kinds.total() / part}


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    print(json.dumps(list(measurements("--quick" in sys.argv[1:]))))

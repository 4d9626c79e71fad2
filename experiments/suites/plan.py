"""A plan for 6.3 billion training rows and 10^9 table rows on 64 to 1024 devices, and its check.

DTN with GDCN and MaskNet experts (23 fields, lazy Adam), 1024 examples a device. Memory and bytes
come from `experiments.suites.needs`; the first rows hold them against programs of the same experts
that were compiled for 2, 4 and 8 devices of this machine (simulated where there are fewer). A
step's time is arithmetic, row update and network one after another, each at a rate of RATES or of
this machine: nothing overlaps. The rows of H100s and TPUs are such sums: nothing was compiled for
them here, and nothing ran on them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.config import base_config
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import row_optimizers, update_by_search
from dtn_jax.tables.stored_rows import StoredRows

from . import needs as plan
from . import programs
from .hlo.collectives import total_bytes
from .measured import Cell, Goal, Measured, Options
from .programs import Program
from .rates import NETWORK_HERE, RATES, SHARES, Rates
from .tables import FIELDS

TRAINING_ROWS, TABLE_ROWS = 6_300_000_000, 1_000_000_000
DIMS, DEVICES, PER_DEVICE = (16, 64), (64, 256, 1024), 1024
CHECKED = (2, 4, 8)  # devices
ROUNDS = 5
HERE = "this machine"
COMPILED = "compiled"


def measure(options: Options) -> Measured:
    checked = programs.on_many_devices("experiments.suites.plan", check_measurements, options.quick)
    rates = {HERE: measured_rates(options.quick), **RATES}
    dims, counts = ((16,), (64,)) if options.quick else (DIMS, DEVICES)
    planned, found = [], {}
    for dim in dims:
        for devices in counts:
            for name, rate in rates.items():
                if devices <= rate.devices:
                    found[dim, devices] = predict_large(dim, devices, rate.platform)
                    planned.append(planned_row(name, rate, dim, devices, found[dim, devices]))
    title = f"{TRAINING_ROWS:.3g} training rows, {TABLE_ROWS:.3g} table rows: a device, a step"
    last = max(found)
    return Measured(title, checked + planned, goals(checked), notes(rates, last, found[last]))


def goals(checked: list[dict[str, Any]]) -> list[Goal]:
    def relative(part: str) -> np.ndarray:
        return np.asarray([row[f"{part}, MB"] / row[f"{part}, {COMPILED}"] for row in checked])

    held, carried, step = relative("held"), relative("carried"), relative("step")
    text = "predicted over compiled"
    return [
        Goal(f"held between steps, {text}: largest error", 0.01, abs(held - 1).max(), False),
        Goal(f"carried by collectives, {text}: largest error", 0.01, abs(carried - 1).max(), False),
        Goal(f"held within a step, {text}: smallest", 1, step.min()),
        Goal(f"held within a step, {text}: largest", 2, step.max(), False),
    ]


def check_measurements(quick: bool) -> Iterator[dict[str, Cell]]:
    """Predicted and compiled figures of small programs."""
    for devices in CHECKED[:1] if quick else CHECKED:
        cases = {
            "shared_bottom": {},
            "shared_bottom, pmap": {"parallel.strategy": "pmap"},
            "dtn, adagrad, batch norm": {
                "model.architecture": "dtn",
                "model.normalisation": "batch",
                "optim.tables": "adagrad",
            },
        }
        cases["shared_bottom, as on GPUs"] = {"parallel.table_platform": "gpu"}
        if devices > 2:
            cases["shared_bottom, tables over 2"] = {"parallel.table_devices": 2}
        for name, changes in list(cases.items())[: 1 if quick else None]:
            changes = {"model.architecture": "shared_bottom", **changes}
            p = program(16, 20_000 if quick else 200_000, devices, 1024 // devices, changes)
            yield check_row(name, p, devices)


def check_row(name: str, p: Program, devices: int) -> dict[str, Cell]:
    predicted = plan.predict(p.config, p.model, p.tables, devices)
    compiled = programs.compile_from_shapes(p)
    memory = compiled.memory_analysis()
    carried = sum(total_bytes(programs.collectives(compiled)).values())
    return row(name, p, devices, predicted) | {
        f"held, {COMPILED}": memory.argument_size_in_bytes / 1e6,
        f"step, {COMPILED}": memory.temp_size_in_bytes / 1e6,
        f"carried, {COMPILED}": carried / 1e6,
    }


def program(dim: int, rows: int, devices: int, per_device: int, changes: dict[str, Any]) -> Program:
    config = base_config()
    config.model.embedding_dim = dim
    config.data.batch_size = config.data.eval_batch_size = per_device * devices
    config.parallel.devices = devices
    config.update_from_flattened_dict(changes)
    fields = tuple(Field(f"f{i}", rows=rows // FIELDS) for i in range(FIELDS))
    return Program(config, Schema("plan", fields, (Task("click"), Task("order"))))


def predict_large(dim: int, devices: int, platform: str) -> tuple[Program, plan.Prediction]:
    p = program(dim, TABLE_ROWS, devices, PER_DEVICE, {"parallel.table_platform": platform})
    return p, plan.predict(p.config, p.model, p.tables, devices)


def row(name: str, p: Program, devices: int, predicted: plan.Prediction) -> dict[str, Cell]:
    """The columns, filled with what is predicted; the others are None."""
    memory = predicted.memory
    return {
        "what": name,
        "E": p.tables.dim,
        "devices": devices,
        "batch": p.config.data.batch_size,
        "tables and slots, MB": (memory.tables + memory.slots) / 1e6,
        "held, MB": memory.arguments / 1e6,
        f"held, {COMPILED}": None,
        "step, MB": memory.temporaries / 1e6,
        f"step, {COMPILED}": None,
        "carried, MB": predicted.carried / 1e6,
        f"carried, {COMPILED}": None,
        "sent, MB": predicted.sent / 1e6,
        "of its memory": None,
        "compute, ms": None,
        "update, ms": None,
        "network, ms": None,
        "hours an epoch": None,
    }


def planned_row(
    name: str, rates: Rates, dim: int, devices: int, found: tuple[Program, plan.Prediction]
) -> dict[str, Cell]:
    p, predicted = found
    memory = predicted.memory.arguments + predicted.memory.temporaries
    times = {
        "compute, ms": predicted.flops / rates.flops,
        "update, ms": predicted.update_traffic / rates.traffic,
        "network, ms": predicted.sent / rates.network,
    }
    steps = math.ceil(TRAINING_ROWS / p.config.data.batch_size)
    return (
        row(name, p, devices, predicted)
        | {key: 1e3 * seconds for key, seconds in times.items()}
        | {
            "of its memory": memory / rates.memory if rates.memory else None,
            "hours an epoch": steps * sum(times.values()) / 3600,
        }
    )


def measured_rates(quick: bool) -> Rates:
    """This machine's: a matrix product, and a row update of one device's batch (E = 16)."""
    size = 256 if quick else 2048
    a = jnp.ones((size, size))
    product = jax.jit(jnp.dot)
    seconds = median_seconds(lambda: product(a, a).block_until_ready())
    return Rates(
        flops=2 * size**3 / seconds,
        traffic=measured_traffic(20_000 if quick else TABLE_ROWS // 1000),
        network=NETWORK_HERE,
        memory=0,
        devices=max(DEVICES),
        platform="cpu",
        source="product and row update measured here; a network of 25 Gb/s assumed",
    )


def measured_traffic(rows: int) -> float:
    """Bytes/s of a lazy Adam update, counted as `plan` counts them."""
    optimizer = row_optimizers.adam(0.9, 0.999, 1e-8)
    p = program(16, rows, 1, PER_DEVICE, {"model.architecture": "shared_bottom"})
    ids = jnp.asarray(np.random.default_rng(0).integers(0, rows, PER_DEVICE * FIELDS), jnp.int32)
    gradient = jnp.ones((len(ids), 16))
    scalars = row_optimizers.Scalars(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32))

    lie = StoredRows(rows, 16)

    def step(table, slots):
        given = ids, gradient, gradient, scalars
        return update_by_search.update(optimizer, lie, table, slots, *given)

    update = jax.jit(step, donate_argnums=(0, 1))
    table = jnp.zeros((rows, 16))
    held = {"state": update(table, optimizer.init(table, lie))}

    def run():
        held["state"] = jax.block_until_ready(update(*held["state"]))

    return plan.predict(p.config, p.model, p.tables, 1).update_traffic / median_seconds(run)


def median_seconds(run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def notes(
    rates: dict[str, Rates], largest: tuple[int, int], found: tuple[Program, plan.Prediction]
) -> list[str]:
    dim, devices = largest
    p, predicted = found
    routed = PER_DEVICE * p.schema.slots * 4 * (dim + 1) / 1e6
    gathered = sum(c.bytes for c in predicted.collectives if c.kind == "all-gather") / 1e6
    described = [
        f"{name}: {r.flops / 1e12:.3g} TFLOP/s, {r.traffic / 1e9:.3g} GB/s to memory, "
        f"{r.network / 1e9:.3g} GB/s sent. {r.source}"
        + ("." if name == HERE else f"; assumed shares of these peaks: {SHARES}.")
        for name, r in rates.items()
    ]
    return [
        "MB are 10^6 bytes of one device. Held: between steps. Step: within one, an upper bound. "
        "Carried: the whole arrays that collectives make or reduce; sent: by one device in a ring.",
        "Rows of H100s and TPUs are sums with assumed rates: nothing ran there. Not modelled: "
        "sorting ids, overlap of arithmetic and network, latencies, kernels' workspace, reading "
        "data. Float32 throughout.",
        f"The exchange hands every gradient to every device: at E = {dim} on {devices} devices "
        f"{gathered:,.0f} MB a step reach each; {routed:,.1f} MB would if each went to its owner.",
        *described,
    ]


if __name__ == "__main__":
    programs.print_lines(check_measurements)

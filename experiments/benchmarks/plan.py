"""A plan for 6.3 billion training rows and 10^9 table rows on 64 to 1024 devices, and its check.

DTN with GDCN and MaskNet experts (23 fields, lazy Adam), 1024 examples a device. Memory and bytes
come from `benchmarks.needs`; the first rows hold them against programs of the same experts that
were compiled for 2, 4 and 8 devices of this machine (simulated where there are fewer). A
step's time is matrix products, memory traffic, network, sorts and latencies one after another
(`times`), each at a rate of `rates` or of this machine. The rows of H100s and TPUs are such sums:
nothing was compiled for them here, and nothing ran on them. With --rows, --table_rows,
--embedding_dim, --device or --hours, it says which slice such a training needs instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from experiments.benchmarks import needs, programs, times
from experiments.benchmarks.hlo.collectives import total_bytes
from experiments.benchmarks.large import EXAMPLES, predict_large, program
from experiments.benchmarks.measured import Cell, Goal, Measured, Options
from experiments.benchmarks.programs import Program
from experiments.benchmarks.rates import ASSUMED, LEFT_OUT, RATES, Rates
from experiments.benchmarks.rates_here import measured_rates

TRAINING_ROWS, TABLE_ROWS = 6_300_000_000, 1_000_000_000
DIMS, DEVICES = (16, 64), (64, 256, 1024)
CHECKED = (2, 4, 8)  # devices
HERE = "this machine"
COMPILED = "compiled"
PARTS = ("compute", "memory", "network", "sorting", "latency")  # of a step's time


def measure(options: Options) -> Measured:
    checked = programs.on_many_devices(
        "experiments.benchmarks.plan", check_measurements, options.quick
    )
    rates = {HERE: measured_rates(options.quick), **RATES}
    dims, counts = ((16,), (64,)) if options.quick else (DIMS, DEVICES)
    planned, gains = [], {}
    for dim in dims:
        for devices in counts:
            for name, rate in rates.items():
                if devices <= rate.devices:
                    p, predicted = predict_large(dim, TABLE_ROWS, devices, rate.platform)
                    planned.append(planned_row(name, rate, p, predicted, devices))
                    if name != HERE:
                        step = times.of_step(predicted, rate, devices, EXAMPLES).step
                        gain = times.routing(predicted, rate, devices) / step
                        gains.setdefault(dim, []).append(gain)
    title = f"{TRAINING_ROWS:.3g} training rows, {TABLE_ROWS:.3g} table rows: a device, a step"
    return Measured(title, checked + planned, goals(checked), notes(rates, gains))


def goals(checked: list[dict[str, Any]]) -> list[Goal]:
    def relative(part: str) -> np.ndarray:
        return np.asarray([row[f"{part}, MB"] / row[f"{part}, {COMPILED}"] for row in checked])

    held, carried, peak = relative("held"), relative("carried"), relative("peak")
    text = "predicted over compiled"
    return [
        Goal(f"held between steps, {text}: largest error", 0.01, abs(held - 1).max(), False),
        Goal(f"carried by collectives, {text}: largest error", 0.02, abs(carried - 1).max(), False),
        Goal(f"held within a step, too, {text}: smallest", 1, peak.min()),
        Goal(f"held within a step, too, {text}: largest", 1.3, peak.max(), False),
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
            rows = 20_000 if quick else 200_000
            p = program(16, rows, devices, changes, 1024 // devices)
            yield check_row(name, p, devices)


def check_row(name: str, p: Program, devices: int) -> dict[str, Cell]:
    predicted = needs.predict(p.config, p.model, p.tables, devices)
    compiled = programs.compile_from_shapes(p)
    memory = compiled.memory_analysis()
    carried = sum(total_bytes(programs.collectives(compiled)).values())
    return row(name, p, devices, predicted) | {
        f"held, {COMPILED}": memory.argument_size_in_bytes / 1e6,
        f"peak, {COMPILED}": (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6,
        f"carried, {COMPILED}": carried / 1e6,
    }


def row(name: str, p: Program, devices: int, predicted: needs.Prediction) -> dict[str, Cell]:
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
        "peak, MB": memory.peak / 1e6,
        f"peak, {COMPILED}": None,
        "carried, MB": predicted.carried / 1e6,
        f"carried, {COMPILED}": None,
        "further, MB": sum(c.bytes for c in predicted.further) / 1e6,
        "sent, MB": predicted.sent / 1e6,
        "of its memory": None,
        **{f"{part}, ms": None for part in PARTS},
        "hours an epoch": None,
    }


def planned_row(
    name: str, rates: Rates, p: Program, predicted: needs.Prediction, devices: int
) -> dict[str, Cell]:
    found = times.of_step(predicted, rates, devices, EXAMPLES)
    steps = math.ceil(TRAINING_ROWS / p.config.data.batch_size)
    return (
        row(name, p, devices, predicted)
        | {f"{part}, ms": 1e3 * getattr(found, part) for part in PARTS}
        | {
            "of its memory": predicted.memory.peak / rates.memory if rates.memory else None,
            "hours an epoch": steps * found.step / 3600,
        }
    )


def notes(rates: Mapping[str, Rates], gains: Mapping[int, list[float]]) -> list[str]:
    """`gains`, by E: the shares of a step that routing the next one's ids takes."""
    described = [
        f"{name}: {r.flops / 1e12:.3g} TFLOP/s, {r.traffic / 1e9:.3g} GB/s to memory, "
        f"{r.network / 1e9:.3g} GB/s sent. {r.source}."
        for name, r in rates.items()
    ]
    shares = ", ".join(f"{min(g):.1%} to {max(g):.1%} at E = {e}" for e, g in gains.items())
    return [
        "MB are 10^6 bytes of one device. Held: between steps. Peak: within one, too, an upper "
        "bound. Carried: the whole arrays that collectives make or reduce; sent: by one device in "
        "a ring; further: carried by each further round, which follows where rows find no room.",
        "Rows of H100s and TPUs are sums with assumed rates: nothing ran there. Float32.",
        f"Assumed: {'; '.join(ASSUMED)}. {LEFT_OUT.capitalize()}.",
        f"Routing the next batch's ids takes, of a step: {shares}. It waits for nothing else of "
        "the step; GPUs' compiler sends these ids beside other work.",
        *described,
    ]


if __name__ == "__main__":
    programs.print_lines(check_measurements)

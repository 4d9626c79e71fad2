"""Measures speed and memory, with references measured beside them; prints a table, writes JSON.

A suite is a file of experiments/benchmarks; its first lines say what it measures.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import json
import os
import pathlib
import platform
import re
import time
from collections.abc import Callable, Sequence

import jax

from dtn_jax.cli import command
from dtn_jax.errors import UserError, leave_unless_installed
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.versions import versions
from experiments.benchmarks.measured import Cell, Measured, Options

EXAMPLE = "python -m experiments.benchmark --suite=tables"
RESULTS = pathlib.Path(__file__).parent / "results" / "benchmark"
SUITES = ("step", "balancing", "tables", "pipeline", "logs", "score", "serving", "sharded")
SUITES += ("peers", "gpu")


OPTIONS = {
    "suite=NAMES": f"by comma: {', '.join(SUITES)}; or all",
    "quick": "use tiny sizes, to test that a suite runs",
    "out=DIR": "folder for the JSON (default experiments/results/benchmark)",
    "peers_venv=DIR": "virtual environment with the other frameworks, of `make peers`",
}
SHARED = ("data_dir", "manual_dir")
NEEDED = ("suite",)
CHOICES = {"suite": (*SUITES, "all")}


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    leave_unless_installed()
    if known.quick and not known.out:
        raise UserError("--quick measures nothing real: give --out=FOLDER, not the real results'")
    for name in every_suite() if known.suite == "all" else command.listed(known.suite):
        start = time.monotonic()
        measured = suite(name)(known)
        show(measured)
        path = write(pathlib.Path(known.out or RESULTS), name, measured, time.monotonic() - start)
        screen.say(f"{path}, {time.monotonic() - start:.0f} s\n")


def suite(name: str) -> Callable[[Options], Measured]:
    """What measures; a suite's module is imported where it runs."""
    return importlib.import_module(f".benchmarks.{name}", __package__).measure


def every_suite() -> list[str]:
    """The suites that this machine can run: `gpu` needs an accelerator, `peers` a CPU."""
    left = "gpu" if jax.default_backend() == "cpu" else "peers"
    screen.say(f"leaving out {left}: JAX runs on {jax.default_backend()}")
    return [name for name in SUITES if name != left]


def show(measured: Measured) -> None:
    columns = measured.shown or tuple(measured.rows[0])
    rows = [[cell_text(row[column]) for column in columns] for row in measured.rows]
    screen.show(Grid(columns, rows, measured.title).terminal())
    for goal in measured.goals:
        screen.say(goal.text(), style="green" if goal.met else "red")
    for note in measured.notes:
        screen.say(note)


def cell_text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def write(folder: pathlib.Path, name: str, measured: Measured, seconds: float) -> pathlib.Path:
    """Writes what a suite found, with the machine it ran on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = dataclasses.asdict(measured) | {
        "command": f"python -m experiments.benchmark --suite={name}",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "seconds": round(seconds),
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def machine() -> str:
    """The processor and the devices, in words."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", cpuinfo.read_text() if cpuinfo.exists() else "")
    described = f"{named[1] if named else platform.machine()}, {os.cpu_count()} cores"
    devices = jax.devices()
    if devices[0].platform != "cpu":
        described += f"; {len(devices)} x {devices[0].device_kind}"
    return described


if __name__ == "__main__":
    command.run(main)

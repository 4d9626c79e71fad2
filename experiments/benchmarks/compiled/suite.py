"""Programs compiled ahead of time for TPUs and H100s that are not there: memory, collectives,
copies.

The project's chunk of training steps, its scoring step, its initialisation, and its row update
alone, of 23 fields and two tasks at 1024 examples a device. `make compiled` installs the compilers
in a virtual environment of their own. Nothing runs, so no figure is a measured time.
"""

from __future__ import annotations

import concurrent.futures
import gzip
import json
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import rich.progress

from dtn_jax.errors import UserError
from dtn_jax.report import screen
from experiments.benchmarks.compiled.cells import Cell, read_cells
from experiments.benchmarks.compiled.figures import read_figures
from experiments.benchmarks.compiled.goals import goals
from experiments.benchmarks.compiled.listed import LIST, QUICK
from experiments.benchmarks.compiled.topologies import COMPILERS, environment
from experiments.benchmarks.kept import kept_folder
from experiments.benchmarks.measured import Measured, Options
from experiments.benchmarks.racers import ROOT

PROGRAM = "experiments.benchmarks.compiled.program"
VENV, VENV_VARIABLE = ".venv-compiled", "COMPILED_VENV"
PROCESSES = 2  # each takes a core and up to 2.5 GB
# What decides over a compiled program: the package, and these of the suites.
DECIDING = (
    "programs.py",
    "needs.py",
    "exchanged.py",
    "updated.py",
    "held.py",
    "merged.py",
    "step.py",
    *(f"compiled/{f}.py" for f in ("cells", "topologies", "program")),
)
SHOWN = (
    "cell",
    "peak MB",
    "copies a step",
    "copies a chunk",
    "passes a step",
    "padded MB a step",
    "carried over plan",
    "plan over peak",
    "longest sort over received",
)
NOTES = [
    "MB are 10^6 bytes of one device; the peak is what must fit its memory. Stored over logical: "
    "tables and slots as they lie, over their numbers alone.",
    "Copies and passes: operations that copy a whole table or slot of a device, or write all of "
    "it; a chunk: outside of the loop of steps. A table is short with at most two rows on a device "
    "for each id of a step, and may be passed over; the JSON has columns of its own for those. On "
    "chip: moved into a TPU's on-chip memory and back, where its compiler finds that faster.",
    "Repeated scatters may write a row twice. Collectives: whole arrays that they make or reduce, "
    "as they lie in memory, of a step of one round. A further round is made while, on any device, "
    "rows find no room in a message. Received: places from which a device updates rows. Plan: held "
    "and within a step, by experiments/benchmarks/needs.py.",
    "For a program that does not fit, memory is a lower bound. Compiled, not run: "
    "GPUs' compiler tells no costs, and tuned no kernel.",
]


def measure(options: Options) -> Measured:
    """Raises: UserError where the compilers' environment is not there, or a cell is wrong."""
    cells = read_cells(list(options.cells or (QUICK if options.quick else LIST)))
    python = find_python(options.compiled_venv)
    folder = kept_folder(pathlib.Path(options.out) / "compiled_cells", *deciding(python))
    rows, compilers = [], {}
    for cell, (record, text) in zip(cells, compile_all(python, cells, folder)):
        rows.append(read_figures(cell, record, text))
        compilers |= record.get("versions", {})
    broken = [row for row in rows if row["error"] and row["peak MB"] is None]
    if options.cells and broken:
        raise UserError("; ".join(f"{row['cell']}: {row['error']}" for row in broken))
    title = "compiled for accelerators that are not there (23 fields, 1024 examples a device)"
    by = ", ".join(f"{name} {version}" for name, version in sorted(compilers.items()))
    notes = [*NOTES, f"Compiled by {by}."]
    return Measured(title, rows, goals(cells, rows), notes, SHOWN)


def find_python(venv: str) -> str:
    """The compilers' Python.

    Raises:
      UserError: their environment is not there.
    """
    folder = pathlib.Path(venv or os.environ.get(VENV_VARIABLE) or ROOT / VENV)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        raise UserError(
            f"the suite compiled needs the compilers of TPUs and GPUs (the extra `compiled`, about "
            f"3 GB), and {folder} has no virtual environment: run `make compiled`, or give one "
            f"with --compiled_venv=FOLDER or {VENV_VARIABLE}=FOLDER"
        )
    there = packages(python)
    missing = [name for name in COMPILERS if name not in there]
    if missing:
        raise UserError(
            f"{folder} lacks {', '.join(missing)}, of the extra `compiled`: run `make compiled`"
        )
    return str(python.absolute())


def packages(python: pathlib.Path) -> dict[str, str]:
    """{name: version} of what a virtual environment has installed."""
    lib = "Lib" if os.name == "nt" else "lib/python*"
    paths = python.parents[1].glob(f"{lib}/site-packages/*.dist-info")
    found = [path.name.removesuffix(".dist-info").rpartition("-") for path in paths]
    return {name.replace("_", "-").lower(): version for name, _, version in found}


def deciding(python: str) -> tuple[list[pathlib.Path], list[str]]:
    """All that a compiled program depends on: the code, and the compilers' versions."""
    suites = pathlib.Path(__file__).parents[1]
    files = [*sorted((ROOT / "dtn_jax").rglob("*.py")), *(suites / name for name in DECIDING)]
    compilers = (
        f"{name} {version}"
        for name, version in packages(pathlib.Path(python)).items()
        if name.startswith(("jax", "libtpu", "nvidia"))
    )
    return files, sorted(compilers)


def compile_all(
    python: str, cells: Sequence[Cell], folder: pathlib.Path
) -> Iterator[tuple[dict[str, Any], str]]:
    """Each cell's record and HLO, in order. A cell that is in the folder is not compiled again."""
    with (
        rich.progress.Progress(console=screen.console()) as progress,
        concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool,
    ):
        task = progress.add_task("compiling", total=len(cells))

        def compile_one(cell: Cell) -> tuple[dict[str, Any], str]:
            record, text = compile_apart(python, cell, folder)
            progress.print(
                f"{cell.name}: {record['seconds']:.0f} s {record.get('error', '')[:200]}"
            )
            progress.advance(task)
            return record, text

        try:
            yield from pool.map(compile_one, cells)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def compile_apart(python: str, cell: Cell, folder: pathlib.Path) -> tuple[dict[str, Any], str]:
    """In a process of its own, since environment variables decide for which accelerator; and one
    that runs out of memory takes no other with it."""
    path = folder / f"{cell.file_name}.json"
    if not path.exists():
        done = subprocess.run(
            [python, "-m", PROGRAM, cell.name, str(folder.absolute())],
            cwd=ROOT,
            env=os.environ | environment(cell.topology),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            lines = done.stderr.strip().split("\n")
            errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
            said = (errors or lines)[-1] or f"exit code {done.returncode}"
            return {"cell": cell.name, "devices": None, "seconds": 0, "error": said}, ""
    record = json.loads(path.read_text())
    compiled = path.with_suffix(".hlo.gz")
    return record, "" if "error" in record else gzip.decompress(compiled.read_bytes()).decode()

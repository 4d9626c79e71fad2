"""Reading Ali-CCP's files: rows a second of a core, and memory as the skeleton grows.

Files are generated (see experiments/generate_ali_ccp.py): a skeleton of ROWS lines and one of
GROWTH times as many, with the same common features. Each stage runs in a process of its own, whose
peak of resident memory is taken. A rate is by the CPU time of all threads, once the common features
are read; `prepared` reads all, common features too, and train's lines twice.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from dtn_jax.datasets.ali_ccp import files as ali_ccp_files
from dtn_jax.datasets.ali_ccp.builder import AliCCP
from dtn_jax.datasets.ali_ccp.generator import PairSpec

from .measured import Goal, Measured, Options

ROWS, GROWTH = 500_000, 4
QUICK = 2_000
WANTED_RATE, WANTED_GROWTH = 1e5, 1.1
MAX_VALUES = 20  # of a bag
READ, FITTED, ENCODED, PREPARED = (
    "read and joined",
    "read, joined, encoders fitted",
    "read, joined, encoded",
    "prepared",
)
REPEATED = (READ, FITTED, ENCODED)  # with both skeletons


def measure(options: Options) -> Measured:
    base = QUICK if options.quick else ROWS
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in (base, base * GROWTH):
            manual = pathlib.Path(folder) / str(rows)
            ali_ccp_files.write(spec(rows, base), manual / "ali_ccp")
            for stage in (*REPEATED, PREPARED) if rows == base else REPEATED:
                figures = apart(stage, manual, pathlib.Path(folder) / "data")
                found.append({"stage": stage, "lines": rows, **figures})
    goals = []
    for stage in REPEATED:
        few, many = (f for f in found if f["stage"] == stage)
        if stage != FITTED:
            rate = many["rows/s a core"]
            goals.append(Goal(f"{stage}, rows/s a core", WANTED_RATE, rate))
        growth = many["peak MB"] / few["peak MB"]
        name = f"{stage}, memory with {GROWTH} times the skeleton"
        goals.append(Goal(name, WANTED_GROWTH, growth, at_least=False))
    return Measured("Ali-CCP's files, read by one process", found, goals)


def spec(rows: int, base: int) -> PairSpec:
    """Files whose common features do not depend on `rows`."""
    lines = base // 25
    return PairSpec(
        rows={"train": rows, "test": base // 50},
        lines={"train": lines, "test": lines // 40},
        ids=500_000,
        behaviours=0.2,
    )


def apart(stage: str, manual: pathlib.Path, data: pathlib.Path) -> dict[str, float]:
    """What `alone` finds, in a process of its own."""
    command = [sys.executable, "-m", "experiments.suites.ali_ccp", stage, str(manual), str(data)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def alone(stage: str, manual: pathlib.Path, data: pathlib.Path) -> dict[str, float]:
    """Rows a second of wall and of CPU time, and the most memory that this process has held."""
    builder = AliCCP(data_dir=str(data), manual_dir=manual, max_values=MAX_VALUES)
    if stage == PREPARED:
        figures = clocked(builder.download_and_prepare, lambda: sum(builder.rows.values()))
    else:
        builder.raw(None)
        builder.common("train")
        if stage == ENCODED:
            builder.fitted = builder.fit(builder.frames("train"))
        use = {READ: len, ENCODED: builder.encode}

        def read():
            if stage == FITTED:
                builder.fit(builder.frames("train"))
            else:
                for rows in builder.frames("train"):
                    use[stage](rows)

        figures = clocked(read, lambda: builder.damage["train"].lines)
    status = pathlib.Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return {**figures, "peak MB": int(peak.split()[1]) / 1000}


def clocked(work: Callable[[], object], rows: Callable[[], int]) -> dict[str, float]:
    """Rows a second of `work`; `rows` says afterwards how many there were."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"rows/s": rows() / wall, "rows/s a core": rows() / cpu}


if __name__ == "__main__":
    print(json.dumps(alone(sys.argv[1], *map(pathlib.Path, sys.argv[2:]))))

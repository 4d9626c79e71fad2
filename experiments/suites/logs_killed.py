"""A large log under a memory limit, and the same one killed ten times at random: equal bytes?

The files are those of suite `logs`. The memory is that of the command and all its processes,
without pages of files, which the system takes back when it needs them; it is looked at several
times a second. Where the machine has cgroups, run the suite in one to prove the limit.
"""

from __future__ import annotations

import hashlib
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from .logs import SCHEMA, write
from .measured import Goal, Measured, Options

ROWS, QUICK = 20_000_000, 20_000
KILLS, QUICK_KILLS = 10, 1
MEMORY_GB = 4.0
LOOK_SECONDS = 0.2
FIRST_SECONDS = 4.0  # a call needs some to begin


def measure(options: Options) -> Measured:
    rows, kills = (QUICK, QUICK_KILLS) if options.quick else (ROWS, KILLS)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write(folder / "parquet", "parquet", rows)
        (folder / "log.yaml").write_text(SCHEMA)
        whole = Call(folder, "whole")
        whole.wait()
        found = [whole.figures("never killed", 0)]
        draw, peak, seconds, done = random.Random(0), 0.0, 0.0, 0
        while True:
            call = Call(folder, "killed")
            # The kills are spread over the work of a call that is never killed.
            later = draw.uniform(0, 1.5 * whole.seconds / kills)
            ended = call.wait(FIRST_SECONDS + later if done < kills else None)
            peak, seconds = max(peak, call.peak), seconds + call.seconds
            if ended:
                break
            done += 1
        call.peak, call.seconds = peak, seconds
        found.append(call.figures("killed", done))
        same = contents(folder / "whole") == contents(folder / "killed")
    goals = [
        Goal("peak GB of all processes, without files", MEMORY_GB, found[0]["peak GB"], False),
        Goal("kills", kills, done),
        Goal("bytes equal after the kills", 1, int(same)),
    ]
    return Measured(f"A log of {rows:,} rows, --memory_gb={MEMORY_GB:g}", found, goals)


class Call:
    """A call of experiments.prepare.

    Attributes:
      peak: GB of its processes' memory, the most that was seen.
      seconds: it took.
    """

    def __init__(self, folder: pathlib.Path, data: str):
        command = [sys.executable, "-m", "experiments.prepare", f"--schema={folder / 'log.yaml'}"]
        command += [f"--input={folder / 'parquet'}", f"--data_dir={folder / data}"]
        command += [f"--memory_gb={MEMORY_GB}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.begun, self.peak, self.seconds = time.perf_counter(), 0.0, 0.0
        self.process = subprocess.Popen(command, **quiet)

    def wait(self, most: float | None = None) -> bool:
        """Waits for its end, or kills it after `most` seconds; returns whether it ended."""
        while self.process.poll() is None:
            self.peak = max(self.peak, sum(map(held, family(self.process.pid))) / 1e9)
            self.seconds = time.perf_counter() - self.begun
            if most is not None and self.seconds > most:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
                time.sleep(1)  # its processes notice
                return False
            time.sleep(LOOK_SECONDS)
        if self.process.returncode:
            raise RuntimeError(f"prepare ended with {self.process.returncode}")
        return True

    def figures(self, what: str, kills: int) -> dict[str, str | int | float]:
        return {"what": what, "kills": kills, "seconds": self.seconds, "peak GB": self.peak}


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:  # it has just ended
        return []
    return [pid, *(one for child in found for one in family(child))]


def held(pid: int) -> int:
    """Bytes of a process's memory, without pages of files."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return 1024 * int(found[0].split()[1]) if found else 0


def contents(folder: pathlib.Path) -> dict[str, str]:
    """{file: SHA-256} of all files below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[str(path.relative_to(folder))] = digest
    return found

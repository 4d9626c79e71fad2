"""Calls of commands that can be ended at any moment, and what each of them has found."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import Prepared

MOST_SECONDS = 300.0  # of a call; longer is a hang
SPEEDS = ("examples_per_second", "train_seconds", "seconds")


@dataclasses.dataclass(frozen=True)
class Work:
    """A command, and what must come out of it whatever happens on the way.

    Attributes:
      name: in the table.
      module: of the command.
      arguments: for a folder of its own.
      found: of that folder, {what: its content}.
    """

    name: str
    module: str
    arguments: Callable[[pathlib.Path], Sequence[str]]
    found: Callable[[pathlib.Path], Mapping[str, object]]


class Server:
    """See server.py; one call at a time."""

    def __init__(self, modules: Sequence[str], cache: pathlib.Path):
        words = [sys.executable, "-m", "experiments.benchmarks.faults.server", *modules]
        # The same programs are compiled once, so that kills meet the work and not the compiler.
        fast = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PLATFORMS": "cpu"}
        fast["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(words, env=os.environ | fast, **pipes)
        self.answers: queue.Queue = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.answers.get(timeout=MOST_SECONDS)

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.answers.put(json.loads(line))

    def start(self, module: str, arguments: Sequence[str], log: pathlib.Path) -> int:
        """Begins a call; returns its process."""
        call = {"module": module, "arguments": list(arguments), "log": str(log)}
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()
        return self.answers.get(timeout=MOST_SECONDS)["pid"]

    def wait(self, seconds: float = MOST_SECONDS) -> int | None:
        """The code with which the call ends; None where it has not ended by then."""
        try:
            return self.answers.get(timeout=seconds)["code"]
        except queue.Empty:
            return None

    def run(self, module: str, arguments: Sequence[str], log: pathlib.Path) -> int | None:
        """A whole call; None where it hung, and was killed."""
        pid = self.start(module, arguments, log)
        code = self.wait()
        if code is None:
            os.killpg(pid, signal.SIGKILL)
            self.wait()
        return code

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(MOST_SECONDS)
        self.process.stdout.close()


@contextlib.contextmanager
def servers(count: int, modules: Sequence[str], cache: pathlib.Path) -> Iterator[list[Server]]:
    """That many, each able to make a call at the same time as the others."""
    started = [Server(modules, cache) for _ in range(count)]
    try:
        yield started
    finally:
        for server in started:
            server.close()


def timed(server: Server, work: Work, folder: pathlib.Path) -> float:
    """Seconds of a call that nothing disturbs."""
    begun = time.monotonic()
    log = folder.with_name(f"{folder.name}.log")
    if server.run(work.module, work.arguments(folder), log):
        raise RuntimeError(f"{work.name} does not run undisturbed:\n{log.read_text()[-2000:]}")
    return time.monotonic() - begun


def of_run(folder: pathlib.Path) -> dict[str, object]:
    """What a run in a workdir has found, but its speed: results and predictions."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("results.json")):
        found[str(path.relative_to(folder))] = without_speeds(json.loads(path.read_text()))
    for path in sorted(folder.rglob("predictions.parquet")):
        found[str(path.relative_to(folder))] = digest(path)
    return found


def of_sweep(folder: pathlib.Path) -> dict[str, object]:
    """The value of each setting that was tried, whatever trial tried it last, and the winner."""
    found: dict[str, object] = {}
    for name, study in json.loads((folder / "sweep.json").read_text())["studies"].items():
        found[name] = study["value"], study["settings"]
        for trial in study["trials"]:
            if trial["state"] == "complete":
                found[f"{name}, {json.dumps(trial['settings'])}"] = trial["value"]
    return found


def of_table(folder: pathlib.Path) -> dict[str, object]:
    """What a table's cells hold, but times; whatever number a tuning's trial has."""
    found: dict[str, object] = {}
    for name, content in of_run(folder).items():
        found.setdefault(re.sub(r"trial_\d+", "trial", name), []).append(content)
    for path in sorted(folder.rglob("overall.csv")):
        with path.open(newline="") as file:
            found[path.name] = [without_speeds(row) for row in csv.DictReader(file)]
    return found


def of_files(folder: pathlib.Path) -> dict[str, object]:
    """The bytes of all files."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): digest(path) for path in paths}


def of_set(prepared: Prepared) -> dict[str, object]:
    """A prepared set's fingerprint, and the numbers of each split's rows.

    The bytes of its records may differ from process to process, though all rows are the same.
    """
    splits = {s: digest_of(SplitReader(prepared, s).everything()) for s in prepared.rows}
    return {"fingerprint": prepared.fingerprint, **splits}


def digest_of(tree: object) -> str:
    """Of all numbers and texts of a pytree."""
    made = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        made.update(leaf.encode() if isinstance(leaf, str) else np.asarray(leaf).tobytes())
    return made.hexdigest()


def without_speeds(value: object) -> object:
    if isinstance(value, dict):
        return {k: without_speeds(v) for k, v in value.items() if k not in SPEEDS}
    return value


def digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What a suite found, and how it takes times."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Cell = str | int | float | None
Options = argparse.Namespace  # the command's: quick, data_dir, manual_dir, peers_venv


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure that was hoped for, beside the one that came out."""

    name: str
    wanted: float
    got: float
    at_least: bool = True  # False: at most

    @property
    def met(self) -> bool:
        return self.got >= self.wanted if self.at_least else self.got <= self.wanted

    def text(self) -> str:
        sign = "≥" if self.at_least else "≤"
        outcome = "met" if self.met else "missed"
        return f"{self.name}: {self.got:.3g}, goal {sign} {self.wanted:.3g}: {outcome}"


@dataclasses.dataclass(frozen=True)
class Measured:
    """A table and the goals.

    Attributes:
      title: what the rows are, and the unit.
      rows: a mapping of column name to cell each; all rows have the same columns.
      goals: what was hoped for.
      notes: what a reader must know to read the figures rightly.
      shown: the columns of the table in a terminal, where it has not room for all.
    """

    title: str
    rows: list[Mapping[str, Cell]]
    goals: list[Goal] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    shown: tuple[str, ...] = ()


def timed_in_turns(
    functions: Mapping[object, Callable[[], float | None]], rounds: int
) -> dict[object, np.ndarray]:
    """Seconds of each function in each round, `[rounds]`; the functions take turns.

    So a slow moment of a shared machine meets them all, and a ratio of two functions is best
    taken round by round (`ratio`). A function that returns a number times itself.
    """
    seconds: dict[object, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            took = function()
            seconds[name].append(time.perf_counter() - start if took is None else took)
    return {name: np.asarray(s) for name, s in seconds.items()}


def ratio(a: np.ndarray, b: np.ndarray) -> float:
    """The median over rounds of a / b."""
    return float(np.median(a / b))


def apart(module: str, *words: str) -> dict[str, Any]:
    """What `python -m module WORDS` prints as JSON in its last line: a process of its own, whose
    peak of memory is its own."""
    command = [sys.executable, "-m", f"experiments.benchmarks.{module}", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak_mb() -> float:
    """The most memory that this process has held, 10^6 bytes. (That of `getrusage` counts what
    the process held that started it.)"""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1.024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1000


class Clock:
    """Wall time, and CPU time of all threads, of what is done in it."""

    def __enter__(self) -> Clock:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

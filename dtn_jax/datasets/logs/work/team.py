"""Who does the work: the processes of this machine, and other machines that share the folder."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable, Sequence

from dtn_jax.datasets.logs.work import beam, pool, stages
from dtn_jax.datasets.logs.work.folder import Work
from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError

BASE_GB, LEAST_GB = 0.6, 0.45  # of the command itself, and of each process that it starts
WAIT_SECONDS = 1.0  # between looks at what other machines have done
Machine = tuple[int, int]  # this machine's number, from 0 on, and how many share the work


def workers(processes: int, memory_gb: float) -> int:
    """How many processes work at a time; raises UserError where memory is too small for one."""
    if processes < 0:
        raise UserError(f"--processes={processes}: expected 0, for one a core, or more")
    if not BASE_GB + LEAST_GB <= memory_gb < float("inf"):
        raise UserError(f"--memory_gb={memory_gb:g}: at least {BASE_GB + LEAST_GB:g} are needed")
    most = int((memory_gb - BASE_GB) / LEAST_GB)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(processes or cores or 1, most))


class Team:
    """The processes of this machine, and the other machines that share the work.

    Attributes:
      processes: how many work at a time here.
      bars: shows the progress.
      beam: pipeline options of Apache Beam, which then does the stages' tasks; '' without.
    """

    def __init__(self, machine: Machine, processes: int, bars: progress.Rows, beam: str = ""):
        self.place, self.machines = machine
        self.processes, self.bars, self.beam = processes, bars, beam

    @property
    def is_first(self) -> bool:
        return self.place == 0

    def stage(self, job: Work, name: str, every: Sequence[int], what: str) -> None:
        """Does this machine's tasks of a stage that are not done, and waits for the others'."""
        own = [i for i in every if i % self.machines == self.place]
        own = [i for i in own if not job.of(name, i).exists()]
        tasks = [(job.folder, job.memory, name, i) for i in own]
        if self.beam:
            done = beam.run(stages.do, tasks, self.beam)
        else:
            done = pool.run(stages.do, tasks, self.processes)
        total = sum(job.units[i].rows for i in own) if len(every) == len(job.units) else 0
        for _ in self.bars.count(done, what, max(total, 0), rows=lambda rows: rows):
            pass
        paths = [job.of(name, i) for i in every]
        self.wait(lambda: all(path.exists() for path in paths), f"other machines ({what})")

    def first_alone(self, do: Callable[[], None], result: pathlib.Path) -> None:
        """Has the first machine do something, unless its result is there; the others wait."""
        if self.is_first and not result.exists():
            do()
        self.wait(result.exists, "the first machine")

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Waits until something is done; says so if it is not yet."""
        said = False
        while not done():
            if not said:
                progress.say(f"waiting for {what}")
                said = True
            time.sleep(WAIT_SECONDS)

"""Who does the work: the processes of this machine, and other machines that share the folder."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from dtn_jax.datasets.logs.work import beam, stages
from dtn_jax.datasets.logs.work.machines import Machines
from dtn_jax.datasets.logs.work.pool import Pool
from dtn_jax.datasets.logs.work_folder import Work
from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError

T = TypeVar("T")
BASE_GB, LEAST_GB = 0.6, 0.45  # of the command itself, and of each process that it starts
SMALL_ROWS = 1_000_000  # below which a log is prepared in one process


def workers(processes: int, memory_gb: float) -> int:
    """How many processes work at a time; raises UserError where memory is too small for one."""
    if processes < 0:
        raise UserError(f"--processes={processes}: expected 0, for one a core, or more")
    if not BASE_GB + LEAST_GB <= memory_gb < float("inf"):
        raise UserError(f"--memory_gb={memory_gb:g}: at least {BASE_GB + LEAST_GB:g} are needed")
    return min(_wanted(processes), _fed(memory_gb))


def _wanted(processes: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return processes or cores or 1


def _fed(memory_gb: float) -> int:
    """How many processes this memory is enough for."""
    return max(1, int((memory_gb - BASE_GB) / LEAST_GB))


def enough(processes: int) -> int:
    """How many whole gigabytes so many processes need."""
    least = math.ceil(BASE_GB + LEAST_GB * processes)
    return least + (_fed(float(least)) < processes)  # what rounding takes


def is_small(job: Work) -> bool:
    """Whether a log is prepared in less time than other processes take to start."""
    rows = [unit.rows for unit in job.units]
    return min(rows) >= 0 and sum(rows) < SMALL_ROWS  # below 0: it is not known before it is read


def few_processes(job: Work, processes: int, memory_gb: float) -> str:
    """What to say where fewer processes work than were asked for, or than there are cores; or ''.

    Args:
      job: the work.
      processes, memory_gb: as asked for.
    """
    if is_small(job):
        told = f"1 process: below {SMALL_ROWS:,} rows, others take longer to start than they save"
        return told if processes > 1 else ""
    wanted, most = _wanted(processes), _fed(memory_gb)
    if most >= wanted:
        return ""
    return (
        f"{most} process{'es' * (most > 1)}, as many as --memory_gb={memory_gb:g} feeds; "
        f"{enough(wanted)} GB would feed all {wanted}"
    )


def rows_of(job: Work, stage: str, tasks: Sequence[int]) -> int:
    """How many rows the tasks of a stage have; 0 where that is not known.

    Of shards it is the rows of their units: the last record of a shard may take some of the next.
    """
    if stage == "encode":
        firsts, counts = job.merged["shards"], job.merged["counts"]
        return sum(sum(map(sum, counts[firsts[i] : firsts[i + 1]])) for i in tasks)
    rows = [job.units[i].rows for i in tasks]
    return sum(rows) if min(rows, default=-1) >= 0 else 0


class Team:
    """The processes of this machine, and the other machines that share the work.

    Attributes:
      machines: this machine and the others.
      pool: the processes that work here.
      bars: shows the progress.
      beam: pipeline options of Apache Beam, which then does the stages' tasks; '' without.
    """

    def __init__(self, machines: Machines, pool: Pool, bars: progress.Rows, beam: str = ""):
        self.machines, self.pool, self.bars, self.beam = machines, pool, bars, beam

    @property
    def is_first(self) -> bool:
        return self.machines.place == 0

    def stage(self, job: Work, name: str, every: Sequence[int], what: str) -> None:
        """Does this machine's tasks of a stage that are not done, and waits for the others'."""
        left = [i for i in every if not job.of(name, i).exists()]
        own = [i for i in left if i % self.machines.count == self.machines.place]
        tasks = [(job.folder, job.memory, name, i) for i in own]
        if self.beam:
            done = beam.run(stages.do, tasks, self.beam)
        else:
            done = self.run(job, stages.do, tasks)
        for _ in self.bars.count(done, what, rows_of(job, name, own), rows=lambda rows: rows):
            pass

        def others() -> str:
            left[:] = [i for i in left if not job.of(name, i).exists()]
            return self.machines.shares(left, "shard" if name == "encode" else "unit")

        self.machines.wait(others)

    def run(self, job: Work, do: Callable[..., T], tasks: Sequence[tuple]) -> Iterator[T]:
        """Yields the results of `do(*task)`, from several processes unless the log is small."""
        if is_small(job):
            return (do(*task) for task in tasks)
        return self.pool.run(do, tasks)

    def first_alone(self, do: Callable[[], None], result: pathlib.Path) -> None:
        """Has the first machine do something, unless its result is there; the others wait."""
        if self.is_first and not result.exists():
            do()
        self.machines.wait(lambda: "" if result.exists() else self.machines.name(0))

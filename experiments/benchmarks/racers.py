"""Who trains in turn: this project, and other frameworks in processes of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import subprocess
import tempfile
import threading
import time

import jax
import numpy as np

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.data.epochs.epoch_order import steps_per_epoch
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.interface import Batch
from dtn_jax.run import Run
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables import huge_pages

ROOT = pathlib.Path(__file__).parents[2]
LIMIT = 900  # seconds: a peer that takes longer to answer is given up


@dataclasses.dataclass(frozen=True)
class Rival:
    """Another framework's training.

    Attributes:
      command: what its Python is given, before the folder of job and arrays.
      package: what it needs, a name in the extra `peers`.
      goal: how many times as fast ours is wanted to be; rivals of one package share a goal, which
        is held against the fastest of them.
    """

    command: tuple[str, ...]
    package: str
    goal: float


def cores() -> int:
    """How many cores this process may use, as XLA counts them."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count()


class Ours:
    """Trains as `dtn_jax.train.fit` does between two validations."""

    def __init__(self, run: Run, batch: Batch):
        self.run, self.epoch, self.loss = run, 0, math.nan
        self.rows = ResidentData(run.data, "train", run.at.replicated())
        self.rows.batch, self.rows.rows = run.at.put(batch, run.at.replicated()), len(batch.ids)
        config = run.config
        self.steps = steps_per_epoch(run.data.layout, self.rows.rows, config.data.batch_size)
        step = make_train_step(config, run.model, run.plan, run.total_steps, run.at.table_mesh)
        create = functools.partial(create_state, config, run.model, run.plan)
        sharding = run.at.state(jax.eval_shape(create))
        self.state = jax.jit(create, out_shardings=sharding)()
        huge_pages.use((self.state.tables, self.state.slots))
        self.train_chunk = run.at.compile(make_train_chunk(step, CHUNK_STEPS), self.state)
        tables = sum(run.schema.tables().values()) * run.plan.dim  # without the padding
        self.about = {
            "parameters": run.size.parameters + tables,
            "version": f"jax {jax.__version__}",
        }

    def turn(self) -> float:
        """Trains an epoch, returns its seconds."""
        start = time.perf_counter()
        config, total, pending = self.run.config, 0.0, []
        for first in range(0, self.steps, CHUNK_STEPS):
            count = min(CHUNK_STEPS, self.steps - first)
            chunk = self.rows.chunk(config.seed, self.epoch, first, count, config.data.batch_size)
            chunk = self.run.at.put(chunk, self.run.at.chunk())
            self.state, metrics = self.train_chunk(self.state, chunk, count)
            pending.append((metrics["losses"], count))
            if len(pending) > 1:
                total += fetch(*pending.pop(0))
        self.loss = (total + fetch(*pending.pop())) / self.steps
        self.epoch += 1
        return time.perf_counter() - start


def fetch(losses: jax.Array, count: int) -> float:
    return float(np.asarray(jax.device_get(losses))[:count].sum())


class Peer:
    """A process that trains when its turn comes; once it failed, `reason` says why."""

    def __init__(self, python: str, rival: Rival, folder: str, reason: str):
        self.about, self.loss, self.reason, self.process = {}, math.nan, reason, None
        if reason:
            return
        threads = str(cores())
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, *rival.command, folder],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.about = self._answer()

    def turn(self) -> float:
        """Trains an epoch, returns the seconds it took; not a number where the peer failed."""
        if self.reason:
            return math.nan
        with contextlib.suppress(BrokenPipeError):  # it ended: there is no answer then
            print(file=self.process.stdin, flush=True)
        answer = self._answer()
        self.loss = answer.get("loss", math.nan)
        return answer.get("seconds", math.nan)

    def _answer(self) -> dict:
        timer = threading.Timer(LIMIT, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if line:
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().split("\n")
        self.reason = next((s for s in reversed(said) if s.strip()), "it ended without a word")
        return {}

    def close(self) -> None:
        if self.process:
            self.process.communicate()  # no more turns: it ends
            self.errors.close()

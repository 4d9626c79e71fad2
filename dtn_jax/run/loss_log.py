"""Brings training losses from the device to the log and the progress bar."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import jax
import numpy as np

from dtn_jax.losses import finite
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.run.run import Run
from dtn_jax.run.selection import Progress
from dtn_jax.run.workdir import Workdir


def balanced(
    tasks: Sequence[str], weights: np.ndarray, gram: np.ndarray | None
) -> dict[str, float]:
    """A step's `weight/TASK`; of the tasks' gradients `norm/TASK`, `cosine/TASK/OTHER`.

    Args:
      tasks: their names.
      weights: `[T]`, what the balancer multiplied each by.
      gram: `[T, T]`, the products of the gradients, or None. A gradient of 0 has no cosine.
    """
    record = {f"weight/{task}": float(w) for task, w in zip(tasks, weights)}
    if gram is None:
        return record
    norms = np.sqrt(np.diag(gram))
    record |= {f"norm/{task}": float(norm) for task, norm in zip(tasks, norms)}
    for (i, task), (j, other) in itertools.combinations(enumerate(tasks), 2):
        if norms[i] and norms[j]:
            record[f"cosine/{task}/{other}"] = float(gram[i, j] / norms[i] / norms[j])
    return record


class LossLog:
    """Collects training losses a chunk late, so that the host never waits inside the loop."""

    def __init__(self, run: Run, folder: Workdir, progress: Progress, bar: ProgressBar | None):
        self.run, self.folder, self.progress, self.bar = run, folder, progress, bar
        self.pending: list[tuple[int, dict, int]] = []
        # Speed is measured from chunk to chunk. The first chunk only starts the clock: it waits for
        # the compiler, or for other work of the host.
        self.clock: float | None = None
        self.seconds, self.timed = 0.0, 0  # spent on, and number of, steps since the last line
        self.balancing: dict[str, float] = {}  # a balancer's weights, and what it saw, newest step

    def add(self, step: int, metrics_: dict, count: int) -> None:
        """Takes the metrics of `count` steps that end at `step`."""
        self.pending.append((step, metrics_, count))
        self.fetch(leave=1)

    def fetch(self, leave: int) -> None:
        """Brings all but the newest `leave` chunks to the host, checks and logs them.

        Raises:
          NotFinite: names the first step whose losses or gradients are not.
        """
        while len(self.pending) > leave:
            step, device_metrics, count = self.pending.pop(0)
            jax.block_until_ready(device_metrics)  # raises where memory ran out; reading waits
            metrics = {k: np.array(v)[:count] for k, v in jax.device_get(device_metrics).items()}
            bad = self._check(metrics["nonfinite"], step - count + 1)
            self._sum({key: values[~bad] for key, values in metrics.items()})
            if self.bar is not None:
                means = np.asarray(self.progress.loss_sum) / (self.progress.loss_steps or np.nan)
                self.bar.update(
                    step=step,
                    epoch=(step - 1) // self.run.steps_per_epoch,
                    losses=dict(zip(self.run.schema.task_names, means.tolist())),
                    examples=count * self.run.config.data.batch_size,
                )
            now = time.monotonic()
            if self.clock is not None:
                self.seconds, self.timed = self.seconds + now - self.clock, self.timed + count
            self.clock = now
            if step % self.run.at_steps.log_every == 0 or step == self.run.total_steps:
                self.write(step)
        if not leave:
            self.clock = None  # the caller does other work now, which is not training

    def write(self, step: int) -> None:
        """Logs the mean losses since the last line, auxiliary ones too; of a balancer the task
        weights at this step, and the gradients' norms and cosines where it reads them; the speed of
        the chunks in between, and how many steps the run has skipped."""
        progress, names = self.progress, self.run.schema.task_names
        if not progress.loss_steps:
            return
        record = {"kind": "train", "step": step, "epoch": step / self.run.steps_per_epoch}
        means = (np.asarray(progress.loss_sum) / progress.loss_steps).tolist()
        record |= {f"loss/{n}": v for n, v in zip(names, means)}
        record |= {key: total / progress.loss_steps for key, total in progress.aux_sum.items()}
        record |= self.balancing
        record |= {"skipped": progress.skipped} if progress.skipped else {}
        rate = self.timed * self.run.config.data.batch_size / self.seconds if self.timed else None
        self.folder.log(record | {"examples_per_second": rate})
        progress.loss_sum, progress.loss_steps = [0.0] * len(names), 0
        progress.aux_sum = {}
        self.seconds, self.timed = 0.0, 0

    def _sum(self, metrics: dict[str, np.ndarray]) -> None:
        """Adds the losses of a chunk's steps to those since the last line."""
        progress, count = self.progress, len(metrics["losses"])
        total = np.asarray(progress.loss_sum) + metrics["losses"].sum(axis=0, dtype=np.float64)
        progress.loss_sum, progress.loss_steps = total.tolist(), progress.loss_steps + count
        for key in [key for key in metrics if key.startswith("aux/")]:
            loss = float(metrics[key].sum(dtype=np.float64))
            progress.aux_sum[key] = loss + progress.aux_sum.get(key, 0.0)
        if count and "task_weights" in metrics:
            gram = metrics.get("task_gram", [None])[-1]
            self.balancing = balanced(self.run.schema.task_names, metrics["task_weights"][-1], gram)

    def _check(self, marks: np.ndarray, first: int) -> np.ndarray:
        """Counts the steps, of those from `first` on, that have a mark, and returns which do.

        Raises:
          NotFinite: at the first of them that may not be skipped.
        """
        bad, tasks = marks.any(axis=1), self.run.schema.task_names
        left = max(0, self.run.config.train.skip_nonfinite - self.progress.skipped)
        self.progress.skipped += min(left, int(bad.sum()))
        if bad.sum() <= left:
            return bad
        i = int(np.flatnonzero(bad)[left])
        names = finite.names(tasks, self.run.state_shapes.params, self.run.plan.arrays)
        marked = np.flatnonzero(marks[i])
        losses = [names[n] for n in marked if n < len(tasks)]
        gradients = [names[n] for n in marked if n >= len(tasks)]
        raise finite.NotFinite(first + i, losses, gradients)

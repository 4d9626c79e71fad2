"""Brings training losses from the device to the log and the progress bar."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import jax
import numpy as np

from dtn_jax.errors import UserError
from dtn_jax.losses import finite
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.run.run import Run
from dtn_jax.run.selection import Progress
from dtn_jax.run.workdir import Workdir
from dtn_jax.tables import exchange


def balanced(
    tasks: Sequence[str], weights: np.ndarray, gram: np.ndarray | None
) -> dict[str, float]:
    """A step's `weight/TASK`; of the tasks' gradients `norm/TASK`, `cosine/TASK/OTHER`.

    Args:
      tasks: their names.
      weights: `[T]`, what the balancer multiplied each by.
      gram: `[T, T]`, the products of the gradients, or None. A gradient of 0 has no cosine.
    """
    told = {f"weight/{task}": float(w) for task, w in zip(tasks, weights)}
    if gram is None:
        return told
    norms = np.sqrt(np.diag(gram))
    told |= {f"norm/{task}": float(norm) for task, norm in zip(tasks, norms)}
    for (i, task), (j, other) in itertools.combinations(enumerate(tasks), 2):
        if norms[i] and norms[j]:
            told[f"cosine/{task}/{other}"] = float(gram[i, j] / norms[i] / norms[j])
    return told


class LossLog:
    """Collects training losses a chunk late, so that the host never waits inside the loop."""

    def __init__(self, run: Run, folder: Workdir, progress: Progress, bar: ProgressBar | None):
        self.run, self.folder, self.progress, self.bar = run, folder, progress, bar
        here = [*run.at.mesh.shape.values(), run.config.parallel.message_rows]
        if progress.exchanged_on != here:
            progress.exchanged, progress.exchanged_steps, progress.exchanged_on = {}, 0, here
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
        """Brings all but the newest `leave` chunks to the host, checks and logs them."""
        while len(self.pending) > leave:
            step, device_metrics, count = self.pending.pop(0)
            jax.block_until_ready(device_metrics)  # raises where memory ran out; reading waits
            found = {k: np.array(v)[:count] for k, v in jax.device_get(device_metrics).items()}
            bad = found["nonfinite"].any(axis=1)
            self._check(found, step, count, bad)
            found = {key: values[~bad] for key, values in found.items()}
            if len(found.get("task_weights", ())):
                grams = found.get("task_gram", [None])
                self.balancing = balanced(
                    self.run.schema.task_names, found["task_weights"][-1], grams[-1]
                )
            progress = self.progress
            total = np.asarray(progress.loss_sum) + found["losses"].sum(axis=0, dtype=np.float64)
            progress.loss_sum = total.tolist()
            progress.loss_steps += len(found["losses"])
            for key in [key for key in found if key.startswith("aux/")]:
                own = float(found[key].sum(dtype=np.float64))
                progress.aux_sum[key] = own + progress.aux_sum.get(key, 0.0)
            for key in [key for key in found if key.startswith("exchange/")]:
                counts, name = found[key].sum(axis=0, dtype=np.float64), key.split("/")[1]
                progress.exchanged[name] = (counts + progress.exchanged.get(name, 0.0)).tolist()
            progress.exchanged_steps += len(found["losses"])
            mean = total / (progress.loss_steps or np.nan)
            names = self.run.schema.task_names
            epoch = (step - 1) // self.run.steps_per_epoch
            if self.bar is not None:
                self.bar.update(
                    step=step,
                    epoch=epoch,
                    losses=dict(zip(names, mean.tolist())),
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
        the chunks in between, what a step's devices have exchanged, and how many steps the run has
        skipped."""
        progress = self.progress
        if not progress.loss_steps:
            return
        record = {"kind": "train", "step": step, "epoch": step / self.run.steps_per_epoch}
        names = self.run.schema.task_names
        means = (np.asarray(progress.loss_sum) / progress.loss_steps).tolist()
        record |= {f"loss/{n}": v for n, v in zip(names, means)}
        record |= {key: own / progress.loss_steps for key, own in progress.aux_sum.items()}
        record |= self.balancing
        record |= self._exchanged()
        rate = self.timed * self.run.config.data.batch_size / self.seconds if self.timed else None
        if progress.skipped:
            record["skipped"] = progress.skipped
        self.folder.log(record | {"examples_per_second": rate})
        progress.loss_sum, progress.loss_steps = [0.0] * len(names), 0
        progress.aux_sum = {}
        progress.exchanged, progress.exchanged_steps = {}, 0
        self.seconds, self.timed = 0.0, 0

    def _exchanged(self) -> dict[str, float]:
        """What the devices have exchanged since the last line, a step; {} where nothing travels."""
        run, told = self.run, {}
        if not (self.progress.exchanged and self.progress.exchanged_steps):
            return told
        message_rows = run.config.parallel.message_rows
        between = exchange.exchanges(run.plan, None, run.at.table_mesh, message_rows)
        own = run.config.data.batch_size // run.at.mesh.size
        for name, counts in self.progress.exchanged.items():
            means = [count / self.progress.exchanged_steps for count in counts]
            itemsize = run.state_shapes.tables[name].dtype.itemsize
            ids = own * run.plan.ids_of_example[name]
            found = between[name].traffic(means, ids, itemsize)
            told |= {f"exchange/{name}/{key}": value for key, value in found.items()}
        return told

    def _check(self, found: dict, step: int, count: int, bad: np.ndarray) -> None:
        """Counts steps to skip; raises at the first that may not be, or for ids out of range."""
        first, tasks = step - count + 1, self.run.schema.task_names
        for i in np.flatnonzero(bad):
            if self.progress.skipped == self.run.config.train.skip_nonfinite:
                names = finite.names(tasks, self.run.state_shapes.params, self.run.plan.arrays)
                told = np.flatnonzero(found["nonfinite"][i])
                losses = [names[n] for n in told if n < len(tasks)]
                gradients = [names[n] for n in told if n >= len(tasks)]
                faults = [n for n in gradients if n.startswith(finite.BALANCER)]
                if faults:  # what it gives has spoilt the gradients
                    method = faults[0].removeprefix(finite.BALANCER)
                    raise finite.NotFinite(first + int(i), losses, [], method)
                raise finite.NotFinite(first + int(i), losses, gradients)
            self.progress.skipped += 1
        where = f"between steps {first} and {step}"
        bad_ids = found.get("bad_ids", np.zeros((1, 1))).sum(axis=0)
        if bad_ids.any():
            fields = [f.name for f in self.run.schema.slot_fields()]
            bad = ", ".join(f"{n} ({int(c)})" for n, c in zip(fields, bad_ids) if c)
            raise UserError(f"ids outside their tables {where}, by field: {bad}")

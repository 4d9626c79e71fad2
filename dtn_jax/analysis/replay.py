"""A step that became NaN or infinite, computed again operation by operation: where it began."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.analysis.finished import read_config
from dtn_jax.config import base_config
from dtn_jax.files import reading
from dtn_jax.interface import Batch
from dtn_jax.losses.rows import make_weights
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.run import nonfinite
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.gradients import make_forward
from dtn_jax.run.run import Run, build_run
from dtn_jax.run.start_from import started
from dtn_jax.run.state import State
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.run.train import training_data
from dtn_jax.tables import exchange, lookup

SHOWN = 30  # lines
ROWS = 5  # of a batch, that are named


def replay(path: pathlib.Path, plugins: str = "", data_dir: str = "", manual_dir: str = "") -> None:
    """Computes the step of a batch's file again, and prints what is not finite.

    Args:
      path: the file, in the workdir of its run.
      plugins, data_dir, manual_dir: where these are now; "" for where the run had them.

    Raises:
      UserError: the file or its run cannot be read.
    """
    (number, batch), workdir = read(path), path.parent.parent
    config = read_config(workdir, base_config(), plugins, data_dir, manual_dir, finished=False)
    config.parallel.devices, config.parallel.table_devices = 1, 0
    config.train.skip_nonfinite = 1  # so that steps before it that were skipped are again
    run = started(build_run(config), workdir)
    with contextlib.closing(Checkpoints(workdir, run.plan)) as checkpoints:
        earlier = [step for step in checkpoints.steps() if step < number]
        state = checkpoints.read_last(earlier[-1], run.state_places)[0] if earlier else None
    state = state or run.new_state()
    begun = run.step_of(state)
    since = f"the checkpoint of step {begun}" if begun else "the beginning"
    print(f"Step {number}, from {since} on, which is {number - 1 - begun} steps before it.")
    bad = list(not_finite(run, advanced(run, state, begun, number), batch))
    if not bad:
        print("Its losses are finite here: its gradients are not, or the run had other devices.")
        return
    header = ("what", "name", "numbers", "first rows")
    title = "not finite, in the order of computing"
    note = f"and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    screen.show(Grid(header, bad[:SHOWN], title, note, left=2).terminal())
    print(f"The first that is not finite: {bad[0][0]} {bad[0][1]}")


def read(path: pathlib.Path) -> tuple[int, Batch]:
    """The step, from 1, and the batch of its file; raises UserError where that is none."""
    with (
        reading(path, f"expected a file such as WORKDIR/{nonfinite.FOLDER}/step-57.npz"),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        batch = Batch(**{name: arrays[name] for name in nonfinite.FIELDS if name in arrays})
        return int(arrays["step"]), batch


def advanced(run: Run, state: State, begun: int, end: int) -> State:
    """The state before the step `end`, from that after the step `begun`, as training steps."""
    step = make_train_step(
        run.config, run.model, run.plan, run.total_steps, run.at.table_mesh, run.first
    )
    chunk = run.at.compile(make_train_chunk(step, 1), state)
    with contextlib.closing(training_data(run)) as rows:
        for at in range(begun + 1, end):
            one = jax.tree.map(lambda a: np.asarray(a)[None], nonfinite.batch_of(run, rows, at))
            state, _ = chunk(state, run.at.put(one, run.at.chunk()), 1)
    return state


def not_finite(run: Run, state: State, batch: Batch) -> Iterator[tuple[str, ...]]:
    """What is not finite in a step, in the order in which it is computed: rows of the table."""
    batch, plan = jax.tree.map(jnp.asarray, batch), run.plan
    for name in nonfinite.FIELDS:
        yield from counted("batch", name, getattr(batch, name))
    gathered = lookup.gather(state.tables, lookup.row_ids(plan, batch), exchange.look_ups(plan))
    yield from counted("embeddings", "of the batch", gathered)
    layers: list[tuple[str, ...]] = []

    def watch(next_function, given, named, context):
        out = next_function(*given, **named)
        if context.method_name == "__call__":
            layers.extend(counted("layer", "/".join(context.module.path) or "all", out))
        return out

    with nn.intercept_methods(watch):
        weights = make_weights(run.config.loss, batch, plan.schema)
        forward = make_forward(run.config, run.model, plan)
        (losses, _), _ = forward(state.to_train().params, gathered, state, batch, weights)
    yield from layers
    for name, loss in zip(run.schema.task_names, losses):
        yield from counted("loss", name, loss)


def counted(kind: str, name: str, tree: Any) -> Iterator[tuple[str, ...]]:
    """How many numbers of a pytree's float arrays are not finite, and in which rows of the batch;
    what is being traced is left out."""
    arrays = [a for a in jax.tree.leaves(tree) if isinstance(a, jax.Array | np.ndarray)]
    arrays = [np.asarray(a) for a in arrays if not isinstance(a, jax.core.Tracer)]
    bad = [~np.isfinite(a) for a in arrays if np.issubdtype(a.dtype, np.floating)]
    if count := sum(int(b.sum()) for b in bad):
        rows = sorted({int(i) for b in bad if b.ndim for i in np.nonzero(b)[0]})
        numbers = f"{count:,} of {sum(b.size for b in bad):,}"
        yield kind, name, numbers, ", ".join(map(str, rows[:ROWS]))

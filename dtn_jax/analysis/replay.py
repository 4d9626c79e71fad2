"""A step that became NaN or infinite, computed again operation by operation: where it began."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.analysis.finished import read_config
from dtn_jax.config import base_config
from dtn_jax.errors import UserError
from dtn_jax.losses import finite
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.run import nonfinite
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.gradients import make_forward, make_weights
from dtn_jax.run.run import Run, build_run
from dtn_jax.run.start_from import started
from dtn_jax.run.state import State
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.run.train import training_data
from dtn_jax.run.workdir import in_use
from dtn_jax.tables import exchange, lookup

SHOWN = 30  # lines
ROWS = 5  # of a batch, that are named
FIRST = "layer, of finite inputs"


class Bad(NamedTuple):
    """Something that holds numbers which are not finite: batch, state, layer, loss, gradient.

    Attributes:
      kind, name: of what.
      count: how many numbers are not finite, and of how many; "" where only a mark is known.
      rows: the first rows of the batch in which they are, where it has rows.
    """

    kind: str
    name: str
    count: str = ""
    rows: str = ""


def replay(path: pathlib.Path, plugins: str = "", data_dir: str = "", manual_dir: str = "") -> None:
    """Computes the step of a batch's file again, and prints what is not finite.

    Args:
      path: the file, in the workdir of its run.
      plugins, data_dir, manual_dir: where these are now; "" for where the run had them.

    Raises:
      UserError: the file or its run cannot be read, a process works there, or an earlier step is
        not finite here.
    """
    kept, workdir = nonfinite.read(path), path.parent.parent
    config = read_config(workdir, base_config(), plugins, data_dir, manual_dir, finished=False)
    if in_use(workdir):
        raise UserError(f"a process works in {workdir}; wait until it has ended")
    config.parallel.devices, config.parallel.table_devices = 1, 0
    run = started(build_run(config), workdir)
    with contextlib.closing(Checkpoints(workdir, run.plan)) as checkpoints:
        state, begun = state_before(run, checkpoints, kept)
    since = f"the checkpoint of step {begun}" if begun else "the beginning"
    print(f"Step {kept.step}, from {since} on, which is {kept.step - 1 - begun} steps before it.")
    show(list(not_finite(run, state, kept)))


def state_before(run: Run, checkpoints: Checkpoints, kept: nonfinite.Kept) -> tuple[State, int]:
    """The state before a step, and the step of the checkpoint from which it was made; 0 for none.

    Raises:
      UserError: an earlier step is not finite here.
    """
    found = checkpoints.read_before(kept.step, run.state_places)
    state = found[0] if found else run.new_state()
    begun = run.step_of(state)
    advance = compiled(run, state)
    with contextlib.closing(training_data(run)) as rows:
        for step in range(begun + 1, kept.step):
            state, marks = advance(state, nonfinite.batch_of(run, rows, step))
            if marks.any():
                raise UserError(
                    f"step {step}, before step {kept.step}, is not finite here: the run had other "
                    "devices, or was stepped by another version"
                )
    return state, begun


def compiled(run: Run, state: State):
    """`(state, batch) -> (state, marks of what is not finite)`, as training compiles it."""
    step = make_train_step(
        run.config, run.model, run.plan, run.total_steps, run.at.table_mesh, run.first
    )
    chunk = run.at.compile(make_train_chunk(step, 1), state)

    def advance(state: State, batch):
        one = jax.tree.map(lambda a: np.asarray(a)[None], batch)
        state, metrics = chunk(state, run.at.put(one, run.at.chunk()), 1)
        return state, np.asarray(metrics["nonfinite"])[0]

    return advance


def not_finite(run: Run, state: State, kept: nonfinite.Kept) -> Iterator[Bad]:
    """What is not finite in a step, in the order in which it is computed; consumes the state."""
    batch, plan, config = jax.tree.map(jnp.asarray, kept.batch), run.plan, run.config
    for name in nonfinite.FIELDS:
        yield from counted("batch", name, getattr(batch, name))
    gathered = lookup.gather(state.tables, lookup.row_ids(plan, batch), exchange.look_ups(plan))
    layers: list[Bad] = []

    def watch(next_function, given, named, context):
        out = next_function(*given, **named)
        if context.method_name == "__call__":
            fed = list(counted("", "", (given, named)))
            layers.extend(
                counted("layer" if fed else FIRST, "/".join(context.module.path) or "all", out)
            )
        return out

    with nn.intercept_methods(watch):
        weights = make_weights(config, plan, batch)
        forward = make_forward(config, run.model, plan)
        (losses, _), _ = forward(state.to_train().params, gathered, state, batch, weights)
    yield from layers
    for name, loss in zip(run.schema.task_names, losses):
        yield from counted("loss", name, loss)
    names = finite.names(run.schema.task_names, state.params, plan.arrays)
    _, marks = compiled(run, state)(state, kept.batch)
    yield from (Bad("compiled step", name) for name, bad in zip(names, marks) if bad)


def counted(kind: str, name: str, tree: Any) -> Iterator[Bad]:
    """What a pytree's float arrays have; what is being traced is left out."""
    arrays = [a for a in jax.tree.leaves(tree) if isinstance(a, jax.Array | np.ndarray)]
    arrays = [np.asarray(a) for a in arrays if not isinstance(a, jax.core.Tracer)]
    bad = [~np.isfinite(a) for a in arrays if np.issubdtype(a.dtype, np.floating)]
    if count := sum(int(b.sum()) for b in bad):
        rows = sorted({int(i) for b in bad if b.ndim for i in np.nonzero(b)[0]})
        numbers = f"{count:,} of {sum(b.size for b in bad):,}"
        yield Bad(kind, name, numbers, ", ".join(map(str, rows[:ROWS])))


def show(found: Sequence[Bad]) -> None:
    """Prints what is not finite, in the order in which it is computed."""
    if not found:
        print("Everything is finite here: the run had other devices, or another version of JAX.")
        return
    note = f"and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    title = "not finite, in the order of computing"
    header = ("what", "name", "numbers", "first rows")
    screen.show(Grid(header, found[:SHOWN], title, note, left=2).terminal())
    print(f"The first that is not finite: {found[0].kind} {found[0].name}")

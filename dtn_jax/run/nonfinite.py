"""A run that met a loss or gradient which is not finite: what is said, and what is kept of it."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.balancing import BALANCERS
from dtn_jax.balancing.balancer import place
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.errors import UserError
from dtn_jax.files import replacing
from dtn_jax.interface import Batch
from dtn_jax.losses import finite
from dtn_jax.parallel import processes
from dtn_jax.run.checkpoint import Checkpoints, weights_of
from dtn_jax.run.run import Run
from dtn_jax.run.state import State
from dtn_jax.run.workdir import Workdir
from dtn_jax.tables.stored_rows import numbers

FOLDER = "nonfinite"  # of a workdir: the batches of such steps
SHOWN = 3  # parameters in a message
FIELDS = tuple(field.name for field in dataclasses.fields(Batch))


@contextlib.contextmanager
def told(
    run: Run, folder: Workdir, checkpoints: Checkpoints, rows: ResidentData | StreamedData
) -> Iterator[None]:
    """Where a step inside is not finite, writes its batch, and says all that there is to know.

    Raises:
      UserError: names the step, its tasks, some parameters, the checkpoint that is kept, the
        file of the batch and the command that replays it.
    """
    try:
        yield
    except finite.NotFinite as error:
        batch = batch_of(run, rows, error.step)
        path = folder.path / FOLDER / f"step-{error.step}.npz"
        if processes.is_first():
            write(path, error.step, batch)
        raise UserError(message(run, error, checkpoints.steps(), path)) from None


def check_state(state: State, step: int) -> None:
    """Raises UserError where a state has numbers that are not finite; it is not to be saved."""
    weights = weights_of(state)
    good = jax.device_get(finite_leaves(weights))
    if bad := [path for path, is_good in zip(finite.paths(weights), good) if not is_good]:
        raise UserError(
            f"step {step} left numbers that are not finite in {', '.join(bad[:SHOWN])}, though its "
            "losses and gradients are finite: lower optim.learning_rate or "
            "optim.table_learning_rate in a new workdir. No checkpoint holds them"
        )


@jax.jit
def finite_leaves(tree: dict) -> list[jax.Array]:
    """Of each array in a pytree, whether it is finite."""
    return [jnp.isfinite(numbers(leaf)).all() for leaf in jax.tree.leaves(tree)]


def message(run: Run, error: finite.NotFinite, saved: list[int], path: pathlib.Path) -> str:
    """What a user is told."""
    bad = [f"the loss of {' and '.join(error.tasks)}"] if error.tasks else []
    if error.balancer:
        name = run.config.loss.balancing
        where = place(BALANCERS[name], error.balancer)
        bad.append(f"what loss.balancing={name} gives, of finite losses: {where}")
    elif error.gradients:
        more = f" and {len(error.gradients) - SHOWN} more" * (len(error.gradients) > SHOWN)
        bad.append(f"the gradient of {', '.join(error.gradients[:SHOWN])}{more}")
    most = run.config.train.skip_nonfinite
    before = f" ({most} such steps were skipped: train.skip_nonfinite)" * (most > 0)
    kept = f"The checkpoint of step {saved[-1]} is kept" if saved else "There is no checkpoint yet"
    return (
        f"not finite at step {error.step}: {'; '.join(bad)}{before}. {kept}. The batch of this "
        f"step is in {path}; dtn-jax replay --batch={path} finds the first layer or parameter that "
        "is not finite. Lower optim.learning_rate or optim.table_learning_rate, or set optim.clip, "
        "in a new workdir; or go on in this one without such steps: "
        f"train.skip_nonfinite={most + 10}. A label that the task's loss does not take "
        "(loss.tasks) gives NaN too"
    )


def batch_of(run: Run, rows: ResidentData | StreamedData, step: int) -> Batch:
    """The batch of a step, from 1: all rows, in each process."""
    epoch, position = divmod(step - 1, run.steps_per_epoch)
    chunk = rows.chunk(run.config.seed, epoch, position, 1, run.config.data.batch_size)
    first = jax.tree.map(lambda a: np.asarray(a)[:1], chunk)
    return jax.tree.map(lambda a: processes.all_parts(a)[0], first)


def write(path: pathlib.Path, step: int, batch: Batch) -> None:
    """Writes a step's file, without pickle: its number in the run, from 1, and all rows."""
    arrays = {name: a for name in FIELDS if (a := getattr(batch, name)) is not None}
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, step=step, **arrays)

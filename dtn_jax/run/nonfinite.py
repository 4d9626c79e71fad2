"""A run that met a loss or gradient which is not finite: what is said, and what is kept of it."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import zipfile
from collections.abc import Collection, Iterator, Sequence

import jax
import numpy as np

from dtn_jax.balancing import BALANCERS
from dtn_jax.balancing.balancer import place
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.errors import UserError
from dtn_jax.files import replacing
from dtn_jax.interface import Batch
from dtn_jax.losses import finite
from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.parallel import processes
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.run import Run
from dtn_jax.run.state import State, example_batch
from dtn_jax.run.workdir import Workdir

FOLDER = "nonfinite"  # of a workdir: the batches of such steps
SHOWN = 3  # parameters in a message
FIELDS = tuple(field.name for field in dataclasses.fields(Batch))


@dataclasses.dataclass(frozen=True)
class Kept:
    """What the file of such a step holds.

    Attributes:
      step: of the run, from 1.
      batch: of that step, all processes' rows.
      skips: whether the steps before it may have been skipped.
    """

    step: int
    batch: Batch
    skips: bool


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
        skips = run.config.train.skip_nonfinite > 0
        kept = Kept(error.step, batch_of(run, rows, error.step), skips)
        path = folder.path / FOLDER / f"step-{error.step}.npz"
        if processes.is_first():
            write(path, kept)
        wrong = wrong_labels(run.losses, error.tasks, kept.batch)
        raise UserError(message(run, error, checkpoints.steps(), path) + wrong) from None


def check_state(state: State, step: int) -> None:
    """Raises UserError where a state has numbers that are not finite; it is not to be saved."""
    bad = finite.bad_parts(state.params, state.model_state, state.tables)
    if bad:
        raise UserError(
            f"step {step} left numbers that are not finite in {listed(bad)}, though its losses and "
            "gradients are finite: lower optim.learning_rate or optim.table_learning_rate in a new "
            "workdir. No checkpoint holds them"
        )


def message(run: Run, error: finite.NotFinite, saved: list[int], path: pathlib.Path) -> str:
    """What a user is told."""
    losses = [f"the loss of {' and '.join(error.tasks)}"] if error.tasks else []
    order = ", by name, not by cause" if len(error.gradients) > 1 else ""
    if error.balancer:
        name = run.config.loss.balancing
        where = place(BALANCERS[name], error.balancer)
        losses.append(f"what loss.balancing={name} gives, of finite losses: {where}")
    gradients = [f"the gradient of {listed(error.gradients)}{order}"] if error.gradients else []
    most = run.config.train.skip_nonfinite
    before = f" ({most} such steps were skipped: train.skip_nonfinite)" if most else ""
    kept = f"The checkpoint of step {saved[-1]} is kept" if saved else "There is no checkpoint yet"
    return (
        f"not finite at step {error.step}: {'; '.join(losses + gradients)}{before}. {kept}. The "
        f"batch of this step is in {path}; dtn-jax replay --batch={path} finds "
        "the first layer or parameter that is not finite. Lower optim.learning_rate or "
        "optim.table_learning_rate, or set optim.clip, in a new workdir; or go on in this one "
        f"without such steps: train.skip_nonfinite={most + 10}"
    )


def wrong_labels(losses: Sequence[TaskLoss], tasks: Collection[str], batch: Batch) -> str:
    """Which of these tasks have labels in a batch that their loss does not take, or ''.

    Args:
      losses: of all tasks, in the schema's order.
      tasks: those whose loss is not finite.
      batch: of that step.
    """
    found = ""
    for column, (task, loss, *_) in enumerate(losses):
        least = getattr(loss, "least", -np.inf)
        labels = batch.labels[:, column][batch.label_mask[:, column] & batch.row_mask]
        if task in tasks and (labels < least).any():
            found += (
                f". {task} has labels below {least:g}, such as {labels.min():g}, which its loss, "
                f"{type(loss).__name__}, does not take: see loss.tasks"
            )
    return found


def listed(names: list[str] | tuple[str, ...]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def batch_of(run: Run, rows: ResidentData | StreamedData, step: int) -> Batch:
    """The batch of a step, from 1: all rows, in each process."""
    epoch, position = divmod(step - 1, run.steps_per_epoch)
    own = rows.chunk(run.config.seed, epoch, position, 1, run.config.data.batch_size)
    first = jax.tree.map(lambda a: np.asarray(a)[:1], own)
    return jax.tree.map(lambda a: processes.all_parts(a)[0], first)


def write(path: pathlib.Path, kept: Kept) -> None:
    """Writes a step's file, without pickle."""
    arrays = {name: a for name in FIELDS if (a := getattr(kept.batch, name)) is not None}
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, step=kept.step, skips=kept.skips, **arrays)


def read(path: pathlib.Path) -> Kept:
    """Reads such a file.

    Raises:
      UserError: it is not there, or is none.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            batch = Batch(**{name: found[name] for name in FIELDS if name in found})
            return Kept(int(found["step"]), batch, bool(found["skips"]))
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is no batch of a step that was not finite ({type(error).__name__}: {error}); "
            f"expected a file such as WORKDIR/{FOLDER}/step-57.npz"
        ) from None


def check_batch(run: Run, kept: Kept, path: pathlib.Path) -> None:
    """Raises UserError where the batch cannot be one of this run."""
    like = example_batch(run.schema, run.config.data.batch_size, run.grouped)

    def shown(array) -> str:
        return "absent" if array is None else f"{array.dtype}{list(array.shape)}"

    for name in FIELDS:
        got, expected = shown(getattr(kept.batch, name)), shown(getattr(like, name))
        if got != expected:
            raise UserError(
                f"{path}: {name} is {got}, expected {expected}; it is no batch of the run in "
                f"{path.parent.parent}"
            )
    if not 1 <= kept.step <= run.total_steps:
        raise UserError(f"{path}: step {kept.step}, expected one of 1 to {run.total_steps}")

"""Checkpoints: last states with their progress, and best states. Only this file uses orbax."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import pathlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from dtn_jax import files
from dtn_jax.errors import UserError, disk_errors
from dtn_jax.files import HASHES, files_in, hashes, write_whole
from dtn_jax.parallel import processes
from dtn_jax.places import full_path
from dtn_jax.run.state import State
from dtn_jax.tables import saved_rows
from dtn_jax.tables.plan import TablePlan

T = TypeVar("T")
KEPT = 2  # last checkpoints on disk
SHOWN = 300  # characters of orbax's messages, which can fill pages
DENSE, PROGRESS = "default", "progress.json"  # what a checkpoint has of orbax, and of a run
ROWS = "rows"  # the folder of a checkpoint's tables and slots: see saved_rows.py


class Manager(ocp.CheckpointManager):
    """Orbax's, which leaves JAX's preemption sync to `preemption.Notices`: that counts chunks, and
    orbax would tell it of steps."""

    def reached_preemption(self, step: int) -> bool:
        return False


class Checkpoints:
    """A run resumes from `checkpoints/last/<step>`, and scores with `checkpoints/best/<step>`.

    A best state holds no optimizer state. Saves block until the files are whole, and end with the
    hashes of the files, which are verified before anything is read from them. What has no hashes
    was cut short while it was saved: it is dropped. What has changed since is an error.

    Rows are saved in their own order, wherever they lie in memory: as the `plan` of the tables
    says, or, without one, one after another.
    """

    def __init__(self, workdir: pathlib.Path, plan: TablePlan | None = None):
        self.folder = full_path(workdir / "checkpoints")
        self.arrays, self.used = (plan.arrays, plan.used) if plan else ({}, {})

        def manager(name: str, keep: int | None):
            options = ocp.CheckpointManagerOptions(
                max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=False
            )
            return Manager(self.folder / name, options=options)

        self.last, self.best = manager("last", KEPT), manager("best", None)
        self.reader = ocp.PyTreeCheckpointer()

    def save(self, step: int, state: State, progress: dict) -> None:
        """Saves state and progress, then drops best states that `progress` no longer names.

        A run that resumes from the checkpoint before makes them again, and drops them again.
        """
        self._save(self.last, step, state, progress)
        named = {entry["step"] for entry in progress["best"].values()}
        for gone in set(self.best.all_steps()) - named:
            self.best.delete(gone)

    def steps(self) -> list[int]:
        """The steps of the last checkpoints that were saved whole."""
        return sorted(s for s in self.last.all_steps() if is_saved(_folder(self.last, s)))

    def progress(self, step: int) -> dict:
        """The progress at a last checkpoint."""
        return json.loads((_folder(self.last, step) / PROGRESS).read_text())

    def restore(self, like: State, step: int | None = None) -> tuple[State, dict] | None:
        """The newest checkpoint, in `like`'s shapes and shardings; None if none was saved.

        Args:
          like: a state of the same shapes, dtypes and shardings, or these alone.
          step: read this step's checkpoint, or none where it has none; later ones, which the run
            will make again, and those that were cut short are dropped.

        Raises:
          UserError: it is damaged, or does not fit `like`.
        """
        steps = self.steps()
        step = max(steps, default=0) if step is None else step
        for other in self.last.all_steps():
            if other > step or other not in steps:
                self.last.delete(other)
        return self.read_last(step, like) if step in steps else None

    def read_last(self, step: int, like: State) -> tuple[State, dict]:
        """A last checkpoint, as `restore` gives it; drops none."""
        path = _folder(self.last, step)
        return read(path, lambda: (self.arrays_in(path, like), self.progress(step)))

    def save_best(self, step: int, state: State) -> None:
        """Saves what scoring needs, unless it is there: a resumed run makes an equal state.

        A later checkpoint drops what is no longer best; a run that is interrupted before it resumes
        from the last one.
        """
        if step in self.best.all_steps():
            if is_saved(_folder(self.best, step)):
                return
            self.best.delete(step)
        self._save(self.best, step, weights_of(state))

    def restore_best(self, step: int, state: State) -> State:
        """`state` with the weights of a best step, and without the optimizers' arrays.

        Args:
          step: the best step.
          state: all else; of its weights only shapes, dtypes and shardings are used.

        Raises:
          UserError: the weights are gone or damaged.
        """
        like = weights_of(state)
        weights = self.of_best(step, lambda folder: self.arrays_in(folder, like))
        return state.to_score().replace(**weights)

    def of_best(self, step: int, take: Callable[[pathlib.Path], T]) -> T:
        """What `take(folder)` reads of a best step; raises as `restore_best`."""
        path = _folder(self.best, step)
        return read(path, functools.partial(take, path))

    def close(self) -> None:
        """Waits for checkpoints that are being written, then closes the folders."""
        for each in (self.last, self.best, self.reader):
            each.close()

    def arrays_in(self, folder: pathlib.Path, like: State | dict, part: bool = False):
        """A pytree of arrays that were saved in a folder: those of rows in the order of this run.

        `like` has arrays, or their shapes, dtypes and shardings; of a `part` of what was saved.
        """
        like = jax.tree.map(_abstract, like)
        tables, rest = saved_rows.parts_of(like)
        args = ocp.checkpoint_utils.construct_restore_args(rest)
        args = ocp.args.PyTreeRestore(rest, restore_args=args, partial_restore=part)
        rest = self.reader.restore(folder / DENSE, args=args) if rest else {}
        for name, array in tables.items():
            lie = saved_rows.lie_of(name, array, self.arrays)
            used = self.used.get(name.split(".")[1], lie.rows)
            rest[name] = saved_rows.read(folder / ROWS, name, lie, used, array)
        return saved_rows.joined(like, rest)

    def _save(
        self,
        manager: ocp.CheckpointManager,
        step: int,
        tree: State | dict,
        progress: dict | None = None,
    ) -> None:
        """Saves a tree, of which orbax has all but the rows; at last the hashes of its files."""
        (tables, rest), folder = saved_rows.parts_of(tree), _folder(manager, step)
        with quiet(), disk_errors(self.folder):
            if not manager.save(step, args=ocp.args.StandardSave(rest), force=True):
                raise RuntimeError(f"step {step} was not saved: {manager.all_steps()}")
            for name, array in tables.items():
                lie = saved_rows.lie_of(name, array, self.arrays)
                saved_rows.write(folder / ROWS, name, array, lie)
        multihost_utils.sync_global_devices(f"{folder} is written")
        if processes.is_first():
            if progress is not None:
                write_whole(folder / PROGRESS, json.dumps(progress))
            write_whole(folder / HASHES, json.dumps(hashes(files_in(folder)), indent=1))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the tracebacks that orbax's threads show of what it raises as well."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def is_saved(folder: pathlib.Path) -> bool:
    """Whether a state was saved whole: its hashes are written last. The first process looks."""
    return processes.told_by_first(lambda: str((folder / HASHES).exists())) == "True"


def read(path: pathlib.Path, do: Callable[[], T]) -> T:
    """What `do` reads of a checkpoint whose files are as they were saved. The first process looks,
    and tells the others.

    Raises:
      UserError: the files are gone or have changed, or cannot be read although they have not.
    """
    if problem := processes.told_by_first(lambda: files.damage(path)):
        raise UserError(
            f"{path} is damaged: {problem}. Restore it from a copy; or, of a last checkpoint, "
            "delete that folder: the run goes on from the one before"
        )
    try:
        with quiet():
            return do()
    except UserError:
        raise
    except Exception as error:  # orbax raises many kinds, plain Exception among them
        reason = f"{type(error).__name__}: {str(error)[:SHOWN]}"
        raise UserError(f"checkpoint {path} cannot be read: {reason}") from error


def _folder(manager: ocp.CheckpointManager, step: int) -> pathlib.Path:
    return pathlib.Path(manager.directory / str(step))


def weights_of(state: State) -> dict:
    """What a model scores with: parameters, tables and statistics."""
    weights = {"params": state.params, "tables": state.tables}
    return weights | ({"model_state": state.model_state} if state.model_state else {})


def _abstract(array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)

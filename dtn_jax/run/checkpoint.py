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
from dtn_jax.files import HASHES, Damaged, files_in, full_path, hashes, move_aside, write_whole
from dtn_jax.parallel import processes
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
    hashes of the files, which are verified before anything is read from them. Checkpoints that
    are damaged, or without hashes, since the process ended while it saved them, are moved to
    `checkpoints/damaged/` where they stand in a run's way.

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

        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file, expected a folder: move it away")
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

    def restore(self, like: State, step: int | None = None) -> tuple[State, dict] | None:
        """The newest whole checkpoint, in `like`'s shapes and shardings; None if none was saved.

        Newer ones, which are damaged or were not saved whole, are set aside with a warning.

        Args:
          like: a state of the same shapes, dtypes and shardings, or these alone.
          step: read this step's checkpoint and drop later ones, which the run will make again.

        Raises:
          UserError: all checkpoints are damaged (none is touched then), that of `step` is damaged
            or not there, or a whole one does not fit `like`.
        """
        damaged, found = {}, None
        for candidate in self._candidates(step):
            try:
                found = self._read_last(candidate, like)
                break
            except Damaged as error:
                damaged[candidate] = str(error)
        lost = step is not None or any(is_saved(_folder(self.last, s)) for s in damaged)
        if damaged and not found and lost:
            whose = "this run" if step is None else f"step {step}"
            lines = [f"no checkpoint of {whose} is whole:", *damaged.values()]
            raise UserError(
                "\n  ".join(lines)
                + "\nRestore one from a copy, or start again in another workdir, "
                f"or in this one after moving {self.folder} away."
            )
        for bad, problem in damaged.items():
            kept = self._set_aside(self.last, bad)
            used = f"the checkpoint of step {candidate}" if found else "a new state"
            print(f"warning: {problem}; moved to {kept}. Using {used}")
        for later in [s for s in self.last.all_steps() if found and s > candidate]:
            self.last.delete(later)
        return found

    def read_before(self, step: int, like: State) -> tuple[State, dict] | None:
        """The newest whole checkpoint of an earlier step, as `restore` gives it; touches none."""
        earlier = [s for s in self.steps() if s < step]
        return self._read_last(earlier[-1], like) if earlier else None

    def steps(self) -> list[int]:
        """The steps of the last checkpoints that are whole, as far as hashes tell."""
        return sorted(s for s in self.last.all_steps() if not damage(_folder(self.last, s)))

    def drop(self, step: int) -> None:
        """Drops a last checkpoint."""
        self.last.delete(step)

    def save_best(self, step: int, state: State) -> None:
        """Saves what scoring needs, unless it is there: a resumed run makes an equal state.

        If what is there is damaged, or was not saved whole, it is set aside and saved again.
        A later checkpoint drops what is no longer best; a run that is interrupted before it resumes
        from the last one.
        """
        if step in self.best.all_steps():
            problem = damage(_folder(self.best, step))
            if not problem:
                return
            kept = self._set_aside(self.best, step)
            print(f"warning: {problem}; moved to {kept}, and saved again")
        self._save(self.best, step, weights_of(state))

    def restore_best(self, step: int, state: State) -> State:
        """`state` with the weights of a best step, and without the optimizers' arrays.

        If they are damaged, they are read from the last checkpoint of the same step, with a
        warning.

        Args:
          step: the best step.
          state: all else; of its weights only shapes, dtypes and shardings are used.

        Raises:
          UserError: the weights are gone, or are damaged and in no last checkpoint.
        """
        like = weights_of(state)
        weights = self.of_best(step, lambda folder, part: self.arrays_in(folder, like, part))
        return state.to_score().replace(**weights)

    def of_best(self, step: int, take: Callable[[pathlib.Path, bool], T]) -> T:
        """What `take(folder, whether more than the weights lie there)` reads of a best step. For
        the rest see `restore_best`."""
        path, problems = _folder(self.best, step), []
        for manager in (self.best, self.last):
            if step not in manager.all_steps():
                continue
            found = _folder(manager, step)
            try:
                part = manager is self.last
                weights = read(found, functools.partial(take, found, part))
            except Damaged as error:
                problems.append(str(error))
                continue
            if problems:
                print(f"warning: {problems[0]}; read from {found} instead")
            return weights
        problems = problems or [f"{path} is not there"]
        raise UserError(
            f"a best state is missing or damaged: {'; '.join(problems)}\nRestore {path} from a "
            "copy, or train again in another workdir: no other file holds these weights."
        )

    def close(self) -> None:
        """Waits for checkpoints that are being written, then closes the folders."""
        for each in (self.last, self.best, self.reader):
            each.close()

    def _candidates(self, step: int | None) -> list[int]:
        """The steps to read from, in this order."""
        steps = sorted(self.last.all_steps(), reverse=True)
        if step is not None and step not in steps:
            raise UserError(f"{self.last.directory} has no checkpoint of step {step}")
        return steps if step is None else [step]

    def _read_last(self, step: int, like: State) -> tuple[State, dict]:
        path = _folder(self.last, step)

        def parts() -> tuple[State, dict]:
            progress = json.loads((path / PROGRESS).read_text())
            return self.arrays_in(path, like), progress

        return read(path, parts)

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
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"{folder} is written")
        if processes.is_first():
            if progress is not None:
                write_whole(folder / PROGRESS, json.dumps(progress))
            write_whole(folder / HASHES, json.dumps(hashes(files_in(folder)), indent=1))

    def _set_aside(self, manager: ocp.CheckpointManager, step: int) -> pathlib.Path:
        """Moves a checkpoint to a free place where orbax does not see it; returns that place."""
        path, damaged = _folder(manager, step), self.folder / "damaged"
        name = f"{path.parent.name}-{step}"
        kept = processes.told_by_first(lambda: str(move_aside(path, damaged, name)))
        manager.reload()
        return pathlib.Path(kept)


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
    """Whether a state was saved whole: its hashes are written last."""
    return (folder / HASHES).exists()


def damage(folder: pathlib.Path) -> str:
    """What is wrong with a saved state, by the name of its folder; '' where nothing is.

    The first process looks, and tells the others.
    """

    def look() -> str:
        if not is_saved(folder):
            return f"{folder} has no {HASHES}: its saving was cut short"
        problem = files.damage(folder)
        return problem and f"{folder} is damaged: {problem}"

    return processes.told_by_first(look)


def read(path: pathlib.Path, do: Callable[[], T]) -> T:
    """What `do` reads of a checkpoint whose files are as they were saved.

    Raises:
      Damaged: the files have changed, or were not saved whole.
      UserError: they cannot be read although they have not changed.
    """
    if problem := damage(path):
        raise Damaged(problem)
    try:
        with quiet():
            return do()
    except UserError:
        raise
    except Exception as error:  # orbax raises many kinds, plain Exception among them
        text = str(error).strip() or type(error).__name__
        shown = text if len(text) <= SHOWN else text[:SHOWN] + " …"
        raise UserError(f"checkpoint {path} cannot be read: {shown}") from error


def _folder(manager: ocp.CheckpointManager, step: int) -> pathlib.Path:
    return pathlib.Path(manager.directory / str(step))


def weights_of(state: State) -> dict:
    """What a model scores with: parameters, tables and statistics."""
    weights = {"params": state.params, "tables": state.tables}
    return weights | ({"model_state": state.model_state} if state.model_state else {})


def _abstract(array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)

"""Checkpoints: last states with their progress, and best states. Only this file uses orbax."""

from __future__ import annotations

import pathlib

import jax
import orbax.checkpoint as ocp

from dtn_jax import checksums
from dtn_jax.errors import UserError
from dtn_jax.parallel import processes
from dtn_jax.state import State

KEPT = 2  # last checkpoints on disk
SHOWN = 300  # characters of orbax's messages, which can fill pages


class Damaged(Exception):
    """A checkpoint is not as it was saved; the message says which file is wrong, and how."""


class Checkpoints:
    """A run resumes from `checkpoints/last/<step>`, and scores with `checkpoints/best/<step>`.

    A best state holds no optimizer state. Saves block until the files are whole. Each checkpoint
    holds checksums of its files, which are verified before anything is read from them. A checkpoint
    without checksums (an earlier version saved it, or the process ended before it wrote them) loads
    with a warning. Damaged checkpoints that stand in a run's way are moved to
    `checkpoints/damaged/`.
    """

    def __init__(self, workdir: pathlib.Path):
        self.folder = (workdir / "checkpoints").absolute()

        def manager(name: str, keep: int | None):
            options = ocp.CheckpointManagerOptions(
                max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=False
            )
            return ocp.CheckpointManager(self.folder / name, options=options)

        self.last, self.best = manager("last", KEPT), manager("best", None)

    def save(self, step: int, state: State, progress: dict) -> None:
        """Saves state and progress, then drops best states that `progress` no longer names.

        A run that resumes from the checkpoint before makes them again, and drops them again.
        """
        saved = self.last.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress)
            ),
        )
        if not saved:
            raise RuntimeError(f"checkpoint of step {step} was not saved: {self.last.all_steps()}")
        self._write_checksums(self.last, step)
        named = {entry["step"] for entry in progress["best"].values()}
        for gone in set(self.best.all_steps()) - named:
            self.best.delete(gone)

    def restore(self, like: State, step: int | None = None) -> tuple[State, dict] | None:
        """The newest whole checkpoint, in `like`'s shapes and shardings; None if there is none.

        Newer ones, which are damaged, are set aside with a warning.

        Args:
          like: a state of the same shapes, dtypes and shardings.
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
        if damaged and not found:
            whose = "this run" if step is None else f"step {step}"
            lines = [f"no checkpoint of {whose} is whole:", *damaged.values()]
            raise UserError(
                "\n  ".join(lines)
                + "\nRestore one from a copy, or start again in another workdir, "
                f"or in this one after moving {self.folder} away."
            )
        for bad, problem in damaged.items():
            kept = self._set_aside(self.last, bad)
            print(f"warning: {problem}; moved to {kept}. Using the checkpoint of step {candidate}")
        for later in [s for s in self.last.all_steps() if found and s > candidate]:
            self.last.delete(later)
        return found

    def steps(self) -> list[int]:
        """The steps of the last checkpoints that are whole, as far as checksums tell."""
        return sorted(s for s in self.last.all_steps() if not self._damage(self.last, s))

    def drop(self, step: int) -> None:
        """Drops a last checkpoint."""
        self.last.delete(step)

    def save_best(self, step: int, state: State) -> None:
        """Saves what scoring needs, unless it is there: a resumed run makes an equal state.

        If what is there is damaged, or has no checksums to tell, it is set aside and saved again.
        A later checkpoint drops what is no longer best; a run that is interrupted before it resumes
        from the last one.
        """
        if step in self.best.all_steps():
            problem = self._damage(self.best, step, "has no checksums")
            if not problem:
                return
            kept = self._set_aside(self.best, step)
            print(f"warning: {problem}; moved to {kept}, and saved again")
        self.best.save(step, args=ocp.args.StandardSave(_weights(state)), force=True)
        self._write_checksums(self.best, step)

    def restore_best(self, step: int, state: State) -> State:
        """`state` with the weights of a best step.

        If they are damaged, they are read from the last checkpoint of the same step, with a
        warning.

        Raises:
          UserError: the weights are gone, or are damaged and in no last checkpoint.
        """
        path = self.best.directory / str(step)
        if step not in self.best.all_steps():
            raise UserError(f"{path}, the best state, is not there")
        like = _abstract(_weights(state))
        try:
            read = ocp.args.StandardRestore(like)
            return state.replace(**self._read(self.best, step, read))
        except Damaged as error:
            problem = str(error)
        try:
            if step in self.last.all_steps():
                last, _ = self._read_last(step, state)
                print(f"warning: {problem}; read from {self.last.directory / str(step)} instead")
                return state.replace(**_weights(last))
        except Damaged as error:
            problem += f"; {error}"
        raise UserError(
            f"a best state is damaged: {problem}\nRestore {path} from a copy, or train again in "
            "another workdir: no other file holds these weights."
        )

    def close(self) -> None:
        self.last.close()
        self.best.close()

    def _candidates(self, step: int | None) -> list[int]:
        """The steps to read from, in this order."""
        steps = sorted(self.last.all_steps(), reverse=True)
        if step is not None and step not in steps:
            raise UserError(f"{self.last.directory} has no checkpoint of step {step}")
        return steps if step is None else [step]

    def _read_last(self, step: int, like: State) -> tuple[State, dict]:
        state, progress = ocp.args.StandardRestore(_abstract(like)), ocp.args.JsonRestore()
        found = self._read(self.last, step, ocp.args.Composite(state=state, progress=progress))
        return found.state, found.progress

    def _read(self, manager: ocp.CheckpointManager, step: int, args):
        """Reads a checkpoint whose files are as they were saved.

        Raises:
          Damaged: the files have changed; or they have no checksums, and orbax cannot read them.
          UserError: orbax cannot read the files although they have not changed; or, with several
            processes, although they may not have: each cannot resume from another checkpoint.
        """
        path = pathlib.Path(manager.directory / str(step))
        if problem := self._damage(manager, step):
            raise Damaged(problem)
        known = checksums.are_there(path)
        if not known:
            print(
                f"warning: {path} has no checksums (an earlier version saved it, or the run was "
                "interrupted while saving), so damage to its files would not show"
            )
        try:
            return manager.restore(step, args=args)
        except Exception as error:  # orbax raises many kinds, plain Exception among them
            problem = f"{path} cannot be read: {_short(error)}"
            if known or jax.process_count() > 1:
                raise UserError(f"checkpoint {problem}") from error
            raise Damaged(problem) from error

    def _damage(self, manager: ocp.CheckpointManager, step: int, unknown: str = "") -> str:
        """What is wrong with a checkpoint's files; '' if nothing, `unknown` if it has no checksums.

        The first process looks, and tells the others.
        """
        path = pathlib.Path(manager.directory / str(step))

        def tell() -> str:
            if not checksums.are_there(path):
                return unknown and f"{path} {unknown}"
            problem = checksums.damage(path)
            return problem and f"{path} is damaged: {problem}"

        return processes.told_by_first(tell)

    def _write_checksums(self, manager: ocp.CheckpointManager, step: int) -> None:
        if processes.is_first():
            checksums.write(pathlib.Path(manager.directory / str(step)))

    def _set_aside(self, manager: ocp.CheckpointManager, step: int) -> pathlib.Path:
        """Moves a checkpoint to a free place where orbax does not see it; returns that place."""
        path = pathlib.Path(manager.directory / str(step))

        def move() -> str:
            name, copies = f"{path.parent.name}-{step}", 1
            while (kept := self.folder / "damaged" / name).exists():
                copies += 1
                name = f"{path.parent.name}-{step}.{copies}"
            kept.parent.mkdir(exist_ok=True)
            path.rename(kept)
            return str(kept)

        kept = processes.told_by_first(move)
        manager.reload()
        return pathlib.Path(kept)


def _weights(state: State) -> dict:
    weights = {"params": state.params, "tables": state.tables}
    return weights | ({"model_state": state.model_state} if state.model_state else {})


def _abstract(tree):
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


def _short(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text if len(text) <= SHOWN else text[:SHOWN] + " …"

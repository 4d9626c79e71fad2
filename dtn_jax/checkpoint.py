"""Checkpoints: the last state with its progress, and the best states. The only use of orbax."""

from __future__ import annotations

import pathlib

import jax
import orbax.checkpoint as ocp

from dtn_jax.schema import UserError
from dtn_jax.state import State

KEPT = 2  # last checkpoints on disk


class Checkpoints:
    """`checkpoints/last/<step>` resumes a run; `checkpoints/best/<step>` scores with.

    A best state holds no optimizer state. Saves block until the files are whole.
    """

    def __init__(self, workdir: pathlib.Path):
        def manager(name: str, keep: int | None):
            options = ocp.CheckpointManagerOptions(
                max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=False
            )
            return ocp.CheckpointManager(
                (workdir / "checkpoints" / name).absolute(), options=options
            )

        self.last, self.best = manager("last", KEPT), manager("best", None)

    def save(self, step: int, state: State, progress: dict) -> None:
        """Saves state and progress, then drops best states that `progress` no longer names."""
        saved = self.last.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress)
            ),
        )
        if not saved:
            raise RuntimeError(f"checkpoint of step {step} was not saved: {self.last.all_steps()}")
        named = {entry["step"] for entry in progress["best"].values()}
        for gone in set(self.best.all_steps()) - named:
            self.best.delete(gone)

    def restore(self, like: State, step: int | None = None) -> tuple[State, dict] | None:
        """The last checkpoint on `like`'s shapes and shardings; None where there is none.

        Given a `step`, its checkpoint: later ones are dropped, for the run will make them again.
        """
        if step is not None:
            if step not in self.last.all_steps():
                raise UserError(f"{self.last.directory} has no checkpoint of step {step}")
            for later in [s for s in self.last.all_steps() if s > step]:
                self.last.delete(later)
        step = self.last.latest_step()
        if step is None:
            return None
        try:
            found = self.last.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(_abstract(like)), progress=ocp.args.JsonRestore()
                ),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"checkpoint {self.last.directory / str(step)} cannot be read: {error}"
            ) from error
        return found.state, found.progress

    def steps(self) -> list[int]:
        """The steps that there is a last checkpoint of."""
        return sorted(self.last.all_steps())

    def drop(self, step: int) -> None:
        """Drops a last checkpoint."""
        self.last.delete(step)

    def save_best(self, step: int, state: State) -> None:
        """Saves what scoring needs; a step that is there already (a resumed run) is equal.

        The next checkpoint drops what is best no longer; a run cut before it goes on from the last.
        """
        if step not in self.best.all_steps():
            self.best.save(step, args=ocp.args.StandardSave(_weights(state)), force=True)

    def restore_best(self, step: int, state: State) -> State:
        """`state` with the weights of a best step; raises UserError where they are gone."""
        if step not in self.best.all_steps():
            raise UserError(f"{self.best.directory / str(step)}, the best state, is not there")
        like = _abstract(_weights(state))
        return state.replace(**self.best.restore(step, args=ocp.args.StandardRestore(like)))

    def close(self) -> None:
        self.last.close()
        self.best.close()


def _weights(state: State) -> dict:
    weights = {"params": state.params, "tables": state.tables}
    return weights | ({"model_state": state.model_state} if state.model_state else {})


def _abstract(tree):
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)

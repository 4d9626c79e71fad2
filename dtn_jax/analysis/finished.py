"""A finished run, from its folder: what it was asked for, what it found, its best state."""

from __future__ import annotations

import contextlib
import pathlib

from ml_collections import ConfigDict

from dtn_jax.config import flatten, identity
from dtn_jax.config.identity import by_content
from dtn_jax.config.plugins import use
from dtn_jax.errors import UserError, choose
from dtn_jax.run import outcome
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.run import Run
from dtn_jax.run.selection import best_step, selected_value
from dtn_jax.run.state import State
from dtn_jax.run.workdir import check_data


def read_config(
    folder: pathlib.Path,
    defaults: ConfigDict,
    plugins: str = "",
    data_dir: str = "",
    manual_dir: str = "",
    finished: bool = True,
) -> ConfigDict:
    """The config of the finished run in a folder, for one process.

    Args:
      folder: the run's workdir.
      defaults: every option with its default, as configs/base.py has them; an option that is
        younger than the run has its default.
      plugins: where the run's plug-ins are now, by comma; "" for where they were.
      data_dir, manual_dir: where prepared sets and raw files are now; "" for where they were.
      finished: False takes one that is not finished too.

    Raises:
      UserError: no run, one that is not finished, or one of another version.
    """
    if not (folder / "config.json").exists():
        what = "holds no run (no config.json)" if folder.is_dir() else "is not there"
        raise UserError(f"{folder} {what}; expected the workdir of a finished run, or of a replica")
    outcome.runs_in(folder)  # not beside replicas
    if finished:
        outcome.check_finished(folder)
    stored = flatten(outcome.run_facts(folder)["config"])
    config = ConfigDict(defaults.to_dict()).lock()
    there = str(stored.pop("plugins", ""))
    use(config, plugins or there)
    if by_content(config.plugins) != by_content(there):
        raise UserError(
            f"the run in {folder} has the plug-ins {by_content(there) or 'none'}, got "
            f"{by_content(config.plugins)}"
        )
    known = flatten(config)
    if strange := [key for key in identity(stored) if key not in known]:
        raise UserError(
            f"{folder / 'config.json'} has options that this version does not know: "
            f"{', '.join(strange)}"
        )
    config.update_from_flattened_dict({k: v for k, v in stored.items() if k in known})
    config.parallel.processes = "off"
    config.data.data_dir = data_dir or config.data.data_dir
    config.data.manual_dir = manual_dir or config.data.manual_dir
    return config


def best_state(run: Run, folder: pathlib.Path) -> tuple[State, int]:
    """The state that the run reports, without the optimizers' arrays, and its step.

    Raises:
      UserError: see `best`, or the state is gone.
    """
    step = best(run, folder)
    with contextlib.closing(Checkpoints(folder, run.plan)) as checkpoints:
        return checkpoints.restore_best(step, run.unfilled_state()), step


def best(run: Run, folder: pathlib.Path, select: str = "") -> int:
    """The step of the state that the run reports, or of the best one by `select`, a task.

    Raises:
      UserError: the data set is another version of the run's, an unreleased version trained it,
        or there is no such task, or its metric is not defined.
    """
    check_data(folder / "config.json", outcome.run_facts(folder)["data"], run.data.fingerprint)
    results = outcome.read(folder)
    if not select:
        return best_step(results)
    steps = results["best_steps"]
    step = int(steps[choose("value of --select", select, steps)])
    if selected_value(results | {"selected_by": select}) is None:
        raise UserError(
            f"--select={select}: its metric is not defined on validation, where a class is absent, "
            "so that no state is the best for it; leave --select out"
        )
    return step


def read_history(folder: pathlib.Path) -> list[dict]:
    """The run's records of metrics.jsonl; none where that is gone."""
    return outcome.read_log(folder)

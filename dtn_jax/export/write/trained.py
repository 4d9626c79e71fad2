"""Finished runs as what is exported of them: the model, and the weights of their best states."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from dtn_jax.analysis import finished
from dtn_jax.config import base_config, differing, identity
from dtn_jax.errors import UserError
from dtn_jax.export.write.program import named
from dtn_jax.run import outcome
from dtn_jax.run.checkpoint import ROWS, Checkpoints, weights_of
from dtn_jax.run.run import Run, build_run
from dtn_jax.schema import MEAN
from dtn_jax.tables import saved_rows

OWN = ("seed", "train.start_from")  # of each of several runs


@dataclasses.dataclass(frozen=True)
class Member:
    """The weights of a run.

    Attributes:
      seed: of the run.
      step: of the state.
      selected_by: by what that state is the best: a task, or the mean of all.
      dense: {name: array}: `params/…` and `model_state/…`.
      tables: {`tables/…`: what gives its rows as numbers are stored, piece by piece}
    """

    seed: int
    step: int
    selected_by: str
    dense: dict[str, jax.Array]
    tables: dict[str, Callable[[], Iterator[np.ndarray]]]


def build(
    workdirs: Sequence[pathlib.Path], plugins: str = "", data_dir: str = "", manual_dir: str = ""
) -> Run:
    """The run that all these workdirs have in common, but for its seed, on one device.

    Args:
      workdirs: of finished runs.
      plugins, data_dir, manual_dir: where plug-ins, prepared sets and raw files are now; "" for
        where they were.

    Raises:
      UserError: a run is not there, is not finished, or differs from the first.
    """
    configs = [finished.read_config(folder, base_config(), plugins) for folder in workdirs]
    first = identity(configs[0])
    for folder, config in zip(workdirs, configs):
        other = [k for k in differing(first, identity(config)) if k not in OWN]
        if other:
            raise UserError(
                f"{folder} is a run of another config than {workdirs[0]}: they differ in "
                f"{', '.join(other)}; expected runs that differ in their seed alone"
            )
    seeds = [config.seed for config in configs]
    if twice := [seed for i, seed in enumerate(seeds) if seed in seeds[:i]]:
        raise UserError(f"two of the workdirs have the seed {twice[0]}: expected different seeds")
    config = configs[0]
    config.parallel.processes, config.parallel.table_platform = "off", "cpu"
    config.parallel.devices, config.parallel.table_devices = 1, 0  # wherever it was trained
    config.data.data_dir = data_dir or config.data.data_dir
    config.data.manual_dir = manual_dir or config.data.manual_dir
    return build_run(config)


def read(run: Run, folder: pathlib.Path, select: str = "") -> Member:
    """The weights of the run in a folder, which is like `run` but for its seed.

    Args:
      select: by what the state was the best: a task, or '' for what the run selected by.

    Raises:
      UserError: see `finished.best`.
    """
    step = finished.best(run, folder, select)
    like = weights_of(run.unfilled_state())
    del like["tables"]

    def weights(place: pathlib.Path) -> tuple[dict, dict]:
        tables = {
            f"tables/{name}": functools.partial(
                saved_rows.rows, place / ROWS, f"tables.{name}", run.plan.used[name]
            )
            for name in run.plan.arrays
        }
        return checkpoints.arrays_in(place, like, part=True), tables

    with contextlib.closing(Checkpoints(folder, run.plan)) as checkpoints:
        dense, tables = checkpoints.of_best(step, weights)
    dense = {k: v for part, tree in dense.items() for k, v in named(part, tree).items()}
    seed = int(outcome.run_facts(folder)["config"]["seed"])
    by = select or str(outcome.read(folder).get("selected_by", MEAN))
    return Member(seed, step, by, dense, tables)

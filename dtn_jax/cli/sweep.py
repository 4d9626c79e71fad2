"""Searches for settings: runs trials of a config and compares them on validation, never on test.

What is improved is --config.train.select, as of a run: the mean over tasks, a task, or another
metric. The space is a function `sweep(trial)` that returns {option: value}, from --sweep=FILE, else
from the config's file, else from configs/space.py; or it is a --grid. Optuna keeps the trials in a
storage. The same command resumes an interrupted search. Several machines that run it with one
storage share the work, and run the trials of workers that died again; from their last checkpoints,
where they share the workdir too.
"""

from __future__ import annotations

import argparse
import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dtn_jax.cli import command, compile_cache
from dtn_jax.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

RESUMES = True  # an interrupted call resumes from its last checkpoint
EXAMPLE = "dtn-jax sweep --config=configs/adult.py:dtn --workdir=runs/sweep --trials=20"
TRIALS = 20
SAMPLERS = command.constant("search.studies", "SAMPLERS")
PRUNERS = command.constant("search.studies", "PRUNERS")
OPTIONS = {
    "workdir=DIR": "the folder for the trials",
    "trials=N": f"by all workers together (default {TRIALS}); of a grid all points are tried",
    "storage=URL": "of the trials: sqlite:///FILE (default: sweep.db in the workdir), or the URL "
    "of a database server, which machines share",
    "study=NAME": "of the search, if several share a storage (default: the data set's name)",
    "sweep=FILE": "a Python file with a function sweep(trial) that returns {option: value}",
    "grid=VALUES": "try all of these instead: 'optim.learning_rate=1e-3,3e-4;model.dropout=0,0.2'",
    "sampler=NAME": ", ".join(SAMPLERS),
    "pruner=NAME": f"ends bad trials early: {', '.join(PRUNERS)}",
}
CONFIG = True
SHARED = (*command.DATA, "cache_dir", "force")
DEFAULTS = {"trials": int, "grid": str, "sampler": "tpe", "pruner": "none"}
NEEDED = ("workdir",)
RANGES = {"trials": (1, math.inf)}
CHOICES = {"sampler": SAMPLERS, "pruner": PRUNERS}


def main(arguments: Sequence[str]) -> None:
    known, rest = command.parse(__name__, arguments)
    config = command.read_config(known.config, rest)
    check(known, config)
    from dtn_jax.search import search_space as spaces  # after --help
    from dtn_jax.search.studies import Budget
    from dtn_jax.search.sweep import sweep

    grid = {} if known.grid is None else spaces.read_grid(known.grid, config)
    suggest = spaces.grid_space(grid) if grid else spaces.load_space(known.sweep, known.config)
    trials = 0 if grid else known.trials or TRIALS
    budget = Budget(trials, known.sampler, known.pruner, grid=grid)
    if not grid:  # of which other options depend
        command.tell_unused([config], [key for key, _ in command.overrides(rest)])
    compile_cache.use(known.cache_dir)
    sweep(
        config,
        suggest,
        budget,
        workdir=pathlib.Path(known.workdir),
        study=known.study,
        storage=known.storage,
        words=[f"--config={known.config}", *rest],
    )


def check(known: argparse.Namespace, config: ConfigDict) -> None:
    """Raises UserError where arguments, or the config beside them, cannot be."""
    from dtn_jax.search import trial_storage

    command.folder(known.workdir, "workdir")
    if known.storage:
        trial_storage.check(known.storage)
    if known.grid is not None and (known.sweep or known.trials):
        raise UserError("all points of a --grid are tried: leave --sweep and --trials out")
    if config.parallel.processes != "off" or config.replicas:
        raise UserError("a trial is one run of one process: leave out replicas and processes")

"""Searches for settings: runs trials of a config and compares them on validation, never on test.

What is improved is --config.train.select, as of a run: the mean over tasks, a task, or another
metric. The space is a function `sweep(trial)` that returns {option: value}, from --sweep=FILE, else
from the config's file, else from configs/space.py; or it is a --grid. Optuna keeps the trials in a
storage. The same command resumes an interrupted search. Several machines that run it with one
storage share the work, and run the trials of workers that died again; from their last checkpoints,
where they share the workdir too.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command
from dtn_jax.errors import UserError
from dtn_jax.report import screen

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
RANGES = {"trials": command.POSITIVE}
CHOICES = {"sampler": SAMPLERS, "pruner": PRUNERS}


def main(arguments: Sequence[str]) -> None:
    known, rest = command.parse(__name__, arguments)
    config = command.read_config(known.config, rest)
    from dtn_jax.data.sets.catalog import read_data  # after --help
    from dtn_jax.metrics.selected import metrics_of, read_selection
    from dtn_jax.search import trials
    from dtn_jax.search.studies import Budget, search
    from dtn_jax.search.sweep import report

    if known.grid is not None and (known.sweep or known.trials):
        raise UserError("all points of a --grid are tried: leave --sweep and --trials out")
    if config.parallel.processes != "off" or config.replicas:
        raise UserError("a trial is one run of one process: leave out replicas and processes")
    grid = [] if known.grid is None else trials.read_grid(known.grid, config)
    if not grid:  # of which other options depend
        command.tell_unused(config, rest)
    data, workdir = read_data(config), pathlib.Path(known.workdir)
    # A selection that does not fit the data set ends the search before it has a folder.
    metric = read_selection("train.select", config.train.select, metrics_of(data.schema)).title
    search(
        config,
        None if grid else trials.load_space(known.sweep, known.config),
        workdir,
        Budget(0 if grid else known.trials or TRIALS, known.sampler, known.pruner),
        storage=known.storage,
        stored_as=f"{known.study or data.schema.name}/{config.model.architecture}",
        data=data.fingerprint,
        enqueue=grid,
        report=lambda one: report(one, metric, workdir, [f"--config={known.config}", *rest]),
    )
    screen.say(f"\nAll trials and pictures are in {workdir}")

"""Searches for settings: runs trials of a config and compares them on validation, never on test.

The space is a function `sweep(trial)` that returns {option: value}, from --sweep=FILE, else from
the config's file, else from configs/space.py; or it is a --grid. Optuna keeps the trials in a
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

from dtn_jax.cli import command, compile_cache, folders
from dtn_jax.errors import UserError, choose

if TYPE_CHECKING:
    from ml_collections import ConfigDict

RESUMES = True  # an interrupted call resumes from its last checkpoint
EXAMPLE = "dtn-jax sweep --config=configs/adult.py:dtn --workdir=runs/sweep --trials=20"
TRIALS = 20


def main(arguments: Sequence[str]) -> None:
    known, rest = make_parser().parse_known_args(arguments)
    if known.objective:
        rest.append(f"--config.train.select={known.objective}")
    config = command.read_config(known.config, rest)
    check(known, config)
    from dtn_jax.models.build import ARCHITECTURES  # after --help
    from dtn_jax.search import search_space as spaces
    from dtn_jax.search.studies import Budget
    from dtn_jax.search.sweep import at_points, sweep
    from dtn_jax.search.trials import with_settings

    names = command.listed(known.architectures) or [config.model.architecture]
    for name in names:
        choose("architecture", name, ARCHITECTURES)
    grid = {} if known.grid is None else spaces.read_grid(known.grid, config)
    suggest = spaces.grid_space(grid) if grid else spaces.load_space(known.sweep, known.config)
    points = math.prod(map(len, grid.values()))
    trials = min(known.trials or points, points) if grid else known.trials or TRIALS
    budget = Budget(trials, known.sampler, known.pruner, known.seed, grid)
    configs = {n: with_settings(config, {"model.architecture": n}) for n in names}
    given = [*grid, *(key for key, _ in command.overrides(rest))]
    command.tell_unused([c for own in configs.values() for c in at_points(own, grid)], given)
    compile_cache.use(known.cache_dir)
    sweep(
        configs,
        suggest,
        budget,
        workdir=pathlib.Path(known.workdir),
        study=known.study,
        storage=known.storage,
        words=[f"--config={known.config}", *rest],
    )


def check(known: argparse.Namespace, config: ConfigDict) -> None:
    """Raises UserError where an argument can be none."""
    from dtn_jax.search import studies, trial_storage

    if not known.workdir:
        raise UserError("no workdir: give --workdir=DIR, the folder for the trials")
    folders.check(known.workdir, "workdir")
    folders.check_name(known.study, "--study")
    if not 0 <= known.seed < studies.SEEDS:
        raise UserError(
            f"--seed={known.seed}: expected a whole number from 0 to {studies.SEEDS - 1}"
        )
    if known.trials is not None and known.trials < 1:
        raise UserError(f"--trials={known.trials}: expected at least 1")
    if known.storage:
        trial_storage.check(known.storage)
    choose("sampler", known.sampler, studies.SAMPLERS)
    choose("pruner", known.pruner, studies.PRUNERS)
    if known.grid is not None and known.sweep:
        raise UserError("--grid and --sweep both say what to search; give one")
    if config.parallel.processes != "off":
        raise UserError(
            "a trial is one process: leave parallel.processes off, and run this command on each "
            "machine with the same --storage"
        )
    if config.replicas:
        raise UserError("a trial is one run: leave config.replicas out")


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    command.add_config(parser)
    samplers = ", ".join(command.constant("search.studies", "SAMPLERS"))
    pruners = ", ".join(command.constant("search.studies", "PRUNERS"))
    options = {
        "workdir=DIR": "the folder for the trials",
        "trials=N": f"of each architecture, by all workers together (default {TRIALS}; a grid's "
        "points)",
        "storage=URL": "of the trials: sqlite:///FILE (default: sweep.db in the workdir), the URL "
        "of a database server, or journal:FILE, for a folder that machines share",
        "study=NAME": "of the search, if several share a storage or a workdir: its folder in the "
        "workdir (default: the workdir itself; in the storage the data set's name)",
        "sweep=FILE": "a Python file with a function sweep(trial) that returns {option: value}",
        "grid=VALUES": "try all of these instead: "
        "'optim.learning_rate=1e-3,3e-4;model.dropout=0,0.2'",
        "architectures=NAMES": "by comma: search each of these with the same budget, from what "
        "--config has: name none there, or all start from what that one was tuned to",
        "objective=METRIC": "of validation, to improve: mean, a task, several tasks (click+order) "
        "or another metric (click:logloss); sets train.select, which is its default",
        "sampler=NAME": samplers,
        "pruner=NAME": f"ends bad trials early: {pruners}",
        "seed=N": "of the sampler (default 0)",
    }
    command.add(parser, options, trials=0, sampler="tpe", pruner="none", seed=0)
    parser.set_defaults(grid=None, trials=None)  # an empty grid and 0 are errors
    command.add_shared(parser, *command.DATA, "cache_dir", "force")
    return parser

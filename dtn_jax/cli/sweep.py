"""Searches for settings: runs trials of a config and compares them on validation, never on test.

The space is a function `sweep(trial)` that returns {option: value}, from --sweep=FILE, else from
the config's file, else from configs/space.py; or it is a --grid. Optuna keeps the trials in a
storage. The same command resumes an interrupted search. Several machines that run it with one
storage share the work, and run the trials of workers that died again; from their last checkpoints,
where they share the workdir too.
"""

from __future__ import annotations

import argparse
import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from dtn_jax.cli import command, compile_cache, folders
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError, choose
from dtn_jax.metrics.selected import metrics_of, read_selection
from dtn_jax.models.build import ARCHITECTURES
from dtn_jax.report import screen
from dtn_jax.search import sweep_report, trial_storage
from dtn_jax.search.search import found, search
from dtn_jax.search.search_space import grid_space, load_space, read_grid
from dtn_jax.search.studies import PRUNERS, SAMPLERS, SEEDS, Budget, Study
from dtn_jax.search.trials import OBJECTIVE, with_settings

RESUMES = True  # an interrupted call resumes from its last checkpoint
EXAMPLE = "dtn-jax sweep --config=configs/adult.py:dtn --workdir=runs/sweep --trials=20"
TRIALS = 20
HELP = {
    "storage": "of the trials: sqlite:///FILE (default: sweep.db in the workdir), the URL of a "
    "database server, or journal:FILE, for a folder that machines share",
    "study": "name of the search, if several share a storage or a workdir: its folder in the "
    "workdir (default: the workdir itself; in the storage the data set's name)",
    "sweep": "a Python file with a function sweep(trial) that returns {option: value}",
    "grid": "try all of these instead: optim.learning_rate=1e-3,3e-4,model.dropout=0,0.2",
    "architectures": "comma-separated: search each of these with the same budget, from what "
    "--config has: name none there, or all start from what that one was tuned to",
    "objective": "the validation metric to improve: mean, a task, several tasks (click+order) or "
    "another metric (click:logloss); sets train.select, which is its default",
}


def main(arguments: Sequence[str]) -> None:
    known, rest = make_parser().parse_known_args(arguments)
    if known.objective:
        rest.append(f"--config.train.select={known.objective}")
    config = command.read_config(known.config, rest)
    check(known, config)
    names = [a for a in known.architectures.split(",") if a] or [config.model.architecture]
    for name in names:
        choose("architecture", name, ARCHITECTURES)
    grid = {} if known.grid is None else read_grid(known.grid, config)
    suggest = grid_space(grid) if grid else load_space(known.sweep, known.config)
    points = math.prod(map(len, grid.values()))
    trials = min(known.trials or points, points) if grid else known.trials or TRIALS
    budget = Budget(trials, known.sampler, known.pruner, known.seed, grid)
    configs = {n: with_settings(config, {"model.architecture": n}) for n in names}
    given = [*grid, *(key for key, _ in command.overrides(rest))]
    command.tell_unused([c for own in configs.values() for c in at_points(own, grid)], given)
    compile_cache.use(known.cache_dir)
    data = read_data(config)
    # A selection that does not fit the data set ends the search before it has a folder.
    metric = read_selection(OBJECTIVE, config.train.select, metrics_of(data.schema)).title
    workdir = pathlib.Path(known.workdir) / known.study
    storage = known.storage or trial_storage.url_of_file(workdir / "sweep.db")
    workdir.mkdir(parents=True, exist_ok=True)
    reports, problems = {}, []

    def report(study: Study) -> None:
        words = [f"--config={known.config}", *rest, f"--config.model.architecture={study.name}"]
        reports[study.name] = sweep_report.report(workdir, study, found(study), words)
        sweep_report.write(workdir, reports)

    for name, own in configs.items():
        facts = {"data": data.fingerprint, "metric": metric, "report": report}
        facts["stored_as"] = f"{known.study or data.schema.name}/{name}"
        try:
            search(own, suggest, workdir / name, budget, name=name, storage=storage, **facts)
        except UserError as error:  # the other architectures are searched nevertheless
            problems.append(f"{name}: {error}")
    screen.say(f"\nAll trials and pictures are in {workdir}")
    if problems:
        raise UserError("; ".join(problems))


def check(known: argparse.Namespace, config: ConfigDict) -> None:
    """Raises UserError where an argument can be none."""
    if not known.workdir:
        raise UserError("no workdir: give --workdir=DIR, the folder for the trials")
    folders.check(known.workdir, "workdir")
    folders.check_name(known.study, "--study")
    if not 0 <= known.seed < SEEDS:
        raise UserError(f"--seed={known.seed}: expected a whole number from 0 to {SEEDS - 1}")
    if known.trials < 0:
        raise UserError(f"--trials={known.trials}: expected at least 1, or 0 for the default")
    if known.storage:
        trial_storage.check(known.storage)
    choose("sampler", known.sampler, SAMPLERS)
    choose("pruner", known.pruner, PRUNERS)
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
    command.add(parser, {"workdir=DIR": "the folder for the trials"})
    trials = f"of each architecture, by all workers together (default {TRIALS}; a grid's points)"
    parser.add_argument("--trials", type=int, default=0, help=trials)
    for name, text in HELP.items():
        parser.add_argument(f"--{name}", default=None if name == "grid" else "", help=text)
    samplers, pruners = ", ".join(SAMPLERS), ", ".join(PRUNERS)
    parser.add_argument("--sampler", default="tpe", help=f"{samplers} (default tpe)")
    pruner = f"ends bad trials early: {pruners} (default none)"
    parser.add_argument("--pruner", default="none", help=pruner)
    parser.add_argument("--seed", type=int, default=0, help="of the sampler (default 0)")
    command.add_shared(parser, *command.DATA, "cache_dir", "force")
    return parser


def at_points(config: ConfigDict, grid: Mapping[str, Sequence[str]]) -> list[ConfigDict]:
    """A config with each list of experts and losses of a grid; other options depend on these."""
    lists = [key for key in ("model.experts", "model.group_experts", "loss.tasks") if key in grid]
    points = itertools.product(*(grid[key] for key in lists))
    return [with_settings(config, dict(zip(lists, point))) for point in points]


def read_data(config: ConfigDict) -> Prepared:
    """The data of all trials."""
    source = config.data
    return catalog.load(source.dataset, source.options, source.data_dir, source.manual_dir)

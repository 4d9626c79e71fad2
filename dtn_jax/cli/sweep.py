"""Searches for settings: runs trials of a config and compares them on validation, never on test.

The space is a function `sweep(trial)` that returns {option: value}, from --sweep=FILE, else from
the config's file, else from configs/space.py; or it is a --grid. Optuna keeps the trials in a
storage. The same command resumes an interrupted search. Several machines that run it with one
storage share the work, and resume the trials of workers that died from their last checkpoints. (A
journal does not record which workers live, so with one they must share the workdir too.)
"""

from __future__ import annotations

import contextlib
import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from dtn_jax.cli import command, compile_cache, folders
from dtn_jax.config import override
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError, choose
from dtn_jax.metrics.selected import metrics_of, read_selection
from dtn_jax.models.build import ARCHITECTURES
from dtn_jax.search import storage_urls, sweep_report, trial_storage
from dtn_jax.search.budget import PRUNERS, SAMPLERS, SEEDS, Budget, make_sampler
from dtn_jax.search.opening import open_study
from dtn_jax.search.search_space import described, grid_space, load_space, read_grid
from dtn_jax.search.worker import OBJECTIVE, work
from dtn_jax.shared_files import disk_errors, told

RESUMES = True  # an interrupted call resumes from its last checkpoint
EXAMPLE = "dtn-jax sweep --config=configs/adult.py:dtn --workdir=runs/sweep --trials=20"
TRIALS = 20


def main(arguments: Sequence[str]) -> None:
    known, rest = make_parser().parse_known_args(arguments)
    config = command.read_config(known.config, rest)
    if not known.workdir:
        raise UserError("no workdir: give --workdir=DIR, the folder for the trials")
    folders.check(known.workdir, "workdir")
    if known.study:
        folders.check_name(known.study, "--study")
    if not 0 <= known.seed < SEEDS:
        raise UserError(f"--seed={known.seed}: expected a whole number from 0 to {SEEDS - 1}")
    if known.storage:
        storage_urls.check(known.storage)
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
    if known.trials < 0:
        raise UserError(f"--trials={known.trials}: expected at least 1, or 0 for the default")
    architectures = [a for a in known.architectures.split(",") if a] or [config.model.architecture]
    for name in architectures:
        choose("architecture", name, ARCHITECTURES)
    grid = {} if known.grid is None else read_grid(known.grid, config)
    space = grid_space(grid) if grid else load_space(known.sweep, known.config)
    points = math.prod(map(len, grid.values()))
    trials = min(known.trials or points, points) if grid else known.trials or TRIALS
    budget = Budget(trials, known.sampler, known.pruner, known.seed, grid)
    make_sampler(budget, 0)
    if known.objective:
        config.train.select = known.objective
        rest.append(f"--config.train.select={known.objective}")
    command.tell_unused(
        searched(config, architectures, grid), [*grid, *(key for key, _ in command.overrides(rest))]
    )
    compile_cache.use(known.cache_dir)
    data = read_data(config)
    # A selection that does not fit the data set ends the search before it has a folder.
    selection = read_selection(OBJECTIVE, config.train.select, metrics_of(data.schema))
    workdir = pathlib.Path(known.workdir) / known.study
    folders.make(workdir, "workdir")
    configs, studies, problems = {}, {}, []
    with contextlib.ExitStack() as opened:
        for name in architectures:
            own = ConfigDict(config.to_dict()).lock()
            own.model.architecture = name
            configs[name] = own
            storage = known.storage or storage_urls.of_file(workdir / "sweep.db")
            asked = "" if grid else described(space, own)
            search = known.study or data.schema.name
            study = open_study(
                storage,
                name,
                own,
                own.train.select,
                budget,
                asked,
                search,
                data.fingerprint,
                selection.title,
            )
            studies[name] = opened.enter_context(contextlib.closing(study))
        try:
            for name, study in studies.items():
                try:
                    with disk_errors(workdir):
                        work(study, configs[name], space, workdir / name)
                except UserError as error:  # the other architectures are searched nevertheless
                    problems.append(f"{name}: {error}")
                except trial_storage.FAULTS as error:
                    problems.append(
                        f"{name}: the storage does not answer: {trial_storage.brief(error)}"
                    )
        finally:  # however the work ended, show what it found
            try:
                with disk_errors(workdir):
                    if any(study.best() for study in studies.values()):
                        sweep_report.write(workdir, studies, known.config, rest)
            except trial_storage.FAULTS as error:
                problems.append(
                    f"no report: the storage does not answer: {trial_storage.brief(error)}"
                )
            except OSError as error:
                problems.append(f"no report: {told(error)}")
    if problems:
        raise UserError("; ".join(problems))


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    command.add_config(parser)
    command.add(parser, {"workdir=DIR": "the folder for the trials"})

    def add(name: str, default: str | None, help: str) -> None:
        parser.add_argument(f"--{name}", default=default, help=help)

    parser.add_argument(
        "--trials",
        type=int,
        default=0,
        help=f"of each architecture, by all workers together (default {TRIALS}; all points of a "
        "grid)",
    )
    add(
        "storage",
        "",
        "of the trials: sqlite:///FILE (default: sweep.db in the workdir), the URL of a "
        "database server, or journal:FILE",
    )
    add(
        "study",
        "",
        "name of the search, if several share a storage or a workdir: its folder in the workdir "
        "(default: the workdir itself; in the storage the data set's name)",
    )
    add("sweep", "", "a Python file with a function sweep(trial) that returns {option: value}")
    add("grid", None, "try all of these instead: optim.learning_rate=1e-3,3e-4,model.dropout=0,0.2")
    add(
        "architectures",
        "",
        "comma-separated: search each of these with the same budget, from what --config has: "
        "name none there, or all start from what that one was tuned to",
    )
    add(
        "objective",
        "",
        "the validation metric to improve: mean, a task, several tasks (click+order) or another "
        "metric (click:logloss); sets train.select, which is its default",
    )
    add("sampler", "tpe", f"{', '.join(SAMPLERS)} (default tpe)")
    add("pruner", "none", f"ends bad trials early: {', '.join(PRUNERS)} (default none)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler (default 0)")
    command.add_shared(parser, *command.DATA, "cache_dir", "force")
    return parser


def searched(
    config: ConfigDict, architectures: Sequence[str], grid: Mapping[str, Sequence[str]]
) -> list[ConfigDict]:
    """The configs that a search has: of each architecture, with each list of experts of a grid."""
    lists = [key for key in ("model.experts", "model.group_experts", "loss.tasks") if key in grid]
    points = [dict(zip(lists, one)) for one in itertools.product(*(grid[key] for key in lists))]
    found = []
    for name in architectures:
        for point in points:
            found.append(ConfigDict(config.to_dict()).lock())
            found[-1].model.architecture = name
            for key, value in point.items():
                override(found[-1], key, value)
    return found


def read_data(config: ConfigDict) -> Prepared:
    """The data of all trials."""
    source = config.data
    return catalog.load(source.dataset, source.options, source.data_dir, source.manual_dir)

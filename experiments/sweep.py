"""Searches for settings: trials of a config, judged on validation alone, test stays shut.

What is searched is a function `sweep(trial)` that returns {option: value}: that of --sweep=FILE,
else of the config's file, else of configs/space.py; or a --grid. Optuna keeps the trials in a
storage. The same command goes on where it stopped; called on several machines with one storage they
share the work, and a trial whose worker died goes on from its last checkpoint (with a journal,
which does not tell who lives, only where the workers share the workdir too).
"""

from __future__ import annotations

import contextlib
import math
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError, choose
from dtn_jax.metrics.selected import metrics_of, read_selection
from dtn_jax.models.build import ARCHITECTURES

from . import command
from .search import sweep_report, trial_storage
from .search.budget import PRUNERS, SAMPLERS, Budget
from .search.opening import open_study
from .search.search_space import described, grid_space, load_space, read_grid
from .search.worker import OBJECTIVE, work

RESUMES = True  # an interrupted call goes on from its last checkpoint
EXAMPLE = (
    "python -m experiments.sweep --config=configs/adult.py:dtn --workdir=runs/sweep --trials=20"
)
TRIALS = 20


def main(arguments: Sequence[str]) -> None:
    known, rest = make_parser().parse_known_args(arguments)
    config = command.read_config(known.config, rest)
    if not known.workdir:
        raise UserError("no workdir: give --workdir=DIR, a folder for the trials")
    choose("sampler", known.sampler, SAMPLERS)
    choose("pruner", known.pruner, PRUNERS)
    if known.grid and known.sweep:
        raise UserError("--grid and --sweep both say what to search; give one")
    if config.parallel.processes != "off":
        raise UserError(
            "a trial is one process: leave parallel.processes off, and call this command on each "
            "machine with one --storage"
        )
    if config.replicas:
        raise UserError("a trial is one run: leave config.replicas out")
    if known.trials < 0:
        raise UserError(f"--trials={known.trials}: expected at least 1, or 0 for the default")
    architectures = [a for a in known.architectures.split(",") if a] or [config.model.architecture]
    for name in architectures:
        choose("architecture", name, ARCHITECTURES)
    grid = read_grid(known.grid, config) if known.grid else {}
    space = grid_space(grid) if grid else load_space(known.sweep, known.config)
    points = math.prod(map(len, grid.values()))
    trials = min(known.trials or points, points) if grid else known.trials or TRIALS
    budget = Budget(trials, known.sampler, known.pruner, known.seed, grid)
    if known.objective:
        config.train.select = known.objective
        rest.append(f"--config.train.select={known.objective}")
    data = read_data(config)
    # A select that the data set cannot have ends the search before it has a folder.
    selection = read_selection(OBJECTIVE, config.train.select, metrics_of(data.schema))
    workdir = pathlib.Path(known.workdir) / known.study
    workdir.mkdir(parents=True, exist_ok=True)
    configs, studies, problems = {}, {}, []
    with contextlib.ExitStack() as opened:
        for name in architectures:
            own = ConfigDict(config.to_dict()).lock()
            own.model.architecture = name
            configs[name] = own
            storage = known.storage or f"sqlite:///{workdir / 'sweep.db'}"
            asked = "" if grid else described(space, own)
            search = known.study or own.data.dataset
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
                    work(study, configs[name], space, workdir / name)
                except UserError as error:  # the others' trials are not lost for it
                    problems.append(f"{name}: {error}")
                except trial_storage.FAULTS as error:
                    problems.append(f"{name}: the storage does not answer: {error}")
        finally:  # whatever ended the work, what it found is shown
            try:
                if any(study.best() for study in studies.values()):
                    sweep_report.write(workdir, studies, known.config, rest)
            except trial_storage.FAULTS as error:
                problems.append(f"no report: the storage does not answer: {error}")
    if problems:
        raise UserError("; ".join(problems))


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    command.add_config(parser)

    def add(name: str, default: str, help: str) -> None:
        parser.add_argument(f"--{name}", default=default, help=help)

    parser.add_argument(
        "--trials",
        type=int,
        default=0,
        help=f"of each architecture, over all workers (default {TRIALS}; of a grid all its points)",
    )
    add(
        "storage",
        "",
        "as Optuna takes it: sqlite:///FILE (default: sweep.db in the workdir), the URL of a "
        "database server, or journal:FILE",
    )
    add(
        "study",
        "",
        "tells searches that share a storage or a workdir apart: a folder in the workdir (default: "
        "the workdir itself; in the storage the data set's name)",
    )
    add("sweep", "", "a Python file with sweep(trial) -> {option: value}")
    add("grid", "", "instead: 'optim.learning_rate=1e-3,3e-4;model.dropout=0,0.2'")
    add("architectures", "", "search each of these with an equal budget, comma-separated")
    add(
        "objective",
        "",
        "which validation metric becomes better: mean, a task, several, click+order, or a metric "
        "of theirs, click:logloss (default: the config's train.select, which it sets)",
    )
    add("sampler", "tpe", f"{', '.join(SAMPLERS)} (default tpe)")
    add("pruner", "none", f"what ends bad trials early: {', '.join(PRUNERS)} (default none)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler (default 0)")
    return parser


def read_data(config: ConfigDict) -> Prepared:
    """The data of all trials."""
    source = config.data
    return catalog.load(source.dataset, source.options, source.data_dir, source.manual_dir)


if __name__ == "__main__":
    command.run(main, RESUMES)

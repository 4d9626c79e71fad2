"""Explains how a finished run's model ranks; writes JSON, CSV and pictures to WORKDIR/importance.

It shows the importance of each field for each task, by three methods (dtn_jax/analysis/
importance.py defines them), and how far the tasks diverge in that; how gates use the experts, by
user segment, and over training if the run had analysis.rows; whether the tasks' gradients
conflict; and the field pairs in GDCN's layers. On synthetic data, importances, divergences and
pairs stand beside the known answer; gates and gradients have none.

It reads validation rows. --split=test reads test rows, to explain a finished run; do not choose
anything by what you see there.
"""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

import jax
import rich.progress
from ml_collections import ConfigDict

from dtn_jax.analysis import written
from dtn_jax.analysis.explain import Settings, explain
from dtn_jax.analysis.finished import best_state, read_config, read_history
from dtn_jax.analysis.importance import METHODS
from dtn_jax.analysis.sections import sections
from dtn_jax.cli import command, compile_cache, folders
from dtn_jax.config import base_config
from dtn_jax.errors import UserError, choose
from dtn_jax.parallel import memory
from dtn_jax.parallel.fits import check_fits
from dtn_jax.report import screen
from dtn_jax.report.sections import terminal
from dtn_jax.run import build_run
from dtn_jax.shared_files import full_path
from dtn_jax.workdir import versions

EXAMPLE = "dtn-jax feature_importance --workdir=runs/adult_dtn"
FOLDER = "importance"
DEFAULTS = Settings()
RANGES = {"repeats": (1, 10_000), "rows": (1, 2**31 - 1), "seed": (0, 2**63 - 1)}


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    if not known.workdir:
        raise UserError("no workdir: give --workdir=DIR, the folder of a finished run")
    settings = Settings(
        split=known.split,
        methods=tuple(dict.fromkeys(m.strip() for m in known.methods.split(",") if m.strip())),
        repeats=known.repeats,
        rows=known.rows,
        segment=known.segment,
        seed=known.seed,
    )
    for method in settings.methods:
        choose("method", method, METHODS)
    if not settings.methods:
        raise UserError(f"no method: give --methods=METHOD,..., of {', '.join(METHODS)}")
    for name, (least, most) in RANGES.items():
        if not least <= getattr(settings, name) <= most:
            raise UserError(
                f"--{name}={getattr(settings, name)}: expected at least {least} and at most {most}"
            )
    folders.check(known.workdir, "workdir")
    workdir = full_path(known.workdir)
    folders.check(str(workdir / FOLDER), "the folder")
    config = config_of(
        workdir, known.plugins, known.data_dir, known.manual_dir, check_memory=not known.force
    )
    compile_cache.use(known.cache_dir)
    found = explained(config, workdir, settings)
    for table in terminal(sections([found]), screen.console().width, texts=False):
        screen.show(table)
    print(f"Numbers and pictures are in {workdir / FOLDER}")


def config_of(
    workdir: pathlib.Path, plugins: str, data_dir: str, manual_dir: str, check_memory: bool = True
) -> ConfigDict:
    """The config of a finished run, as its model can be read here; '' is where the run had it."""
    config = read_config(workdir, base_config(), plugins)
    # It may have been trained on other devices.
    config.parallel.processes = "off"
    if config.parallel.devices > len(jax.devices()):
        config.parallel.devices = config.parallel.table_devices = 0
    config.parallel.check_memory = check_memory
    config.data.data_dir = data_dir or config.data.data_dir
    config.data.manual_dir = manual_dir or config.data.manual_dir
    return config


def explained(config: ConfigDict, workdir: pathlib.Path, settings: Settings) -> dict:
    """Explains the run in a folder, into its folder FOLDER; returns what importance.json holds."""
    run = build_run(config)
    check_fits(run, trains=False)
    state, step = best_state(run, workdir)
    # The output of an earlier call stays until all of this one's is made.
    with tempfile.TemporaryDirectory(dir=workdir, prefix=f"{FOLDER}.") as made:
        made = pathlib.Path(made)
        with bars() as bar, memory.told("--rows"):
            found = explain(run, state, settings, read_history(workdir), made, bar)
        found = written.plain(
            {
                "dataset": run.schema.name,
                "architecture": config.model.architecture,
                "experts": config.model.experts,
                "step": step,
                "run": workdir.name,
                "arguments": list(arguments_of(settings)),
                "date": datetime.date.today().isoformat(),
                "versions": versions(),
                **found,
            }
        )
        written.write(found, made, workdir / FOLDER)
    return found


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)

    def add(name: str, default: str | int, help: str) -> None:
        shown = f" (default {default})" if default != "" else ""
        parser.add_argument(f"--{name}", default=default, type=type(default), help=help + shown)

    add("workdir", "", "the folder of a finished run")
    add("split", DEFAULTS.split, "which rows to read: validation, test or train")
    add("methods", ",".join(METHODS), "how to measure importance, comma-separated")
    add("repeats", DEFAULTS.repeats, "permutations of each field")
    add("rows", DEFAULTS.rows, "draw a random sample of this many rows if there are more")
    add("segment", DEFAULTS.segment, "what splits gate use into segments: a field, or group")
    add("seed", DEFAULTS.seed, "seed of the sample and the permutations")
    command.add_shared(parser, *command.DATA, "cache_dir", "force")
    return parser


def arguments_of(settings: Settings) -> Iterator[str]:
    """The arguments that differ from the defaults, as on a command line."""
    for name, default in vars(DEFAULTS).items():
        value = getattr(settings, name)
        if value != default:
            yield f"--{name}={','.join(value) if name == 'methods' else value}"


@contextlib.contextmanager
def bars() -> Iterator[Callable]:
    """Gives `bar(what, count)`, which shows a bar and returns what to call after each step."""
    shown = rich.progress.Progress(
        screen.text_column("{task.description}", style="bold"),
        rich.progress.BarColumn(bar_width=None),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        screen.text_column("left", style="progress.remaining"),
        console=screen.console(),
        expand=True,
    )

    def bar(what: str, count: int) -> Callable[[], None]:
        task = shown.add_task(what, total=count)
        return lambda: shown.advance(task)

    with shown:
        yield bar

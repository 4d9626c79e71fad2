"""A finished run, explained into a folder of its own: what dtn-jax feature_importance does."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import jax
import rich.progress
from ml_collections import ConfigDict

from dtn_jax.analysis import written
from dtn_jax.analysis.explain import Settings, explain
from dtn_jax.analysis.finished import best_state, read_config, read_history
from dtn_jax.analysis.sections import sections
from dtn_jax.config import base_config
from dtn_jax.parallel import memory
from dtn_jax.parallel.fits import check_fits
from dtn_jax.report import screen
from dtn_jax.report.sections import terminal
from dtn_jax.run.run import build_run
from dtn_jax.run.workdir import versions

FOLDER = "importance"  # of a workdir


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


def explain_run(config: ConfigDict, workdir: pathlib.Path, settings: Settings) -> dict:
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


def show(found: dict, workdir: pathlib.Path) -> None:
    """Shows in the terminal what was found."""
    for table in terminal(sections([found]), screen.console().width, texts=False):
        screen.show(table)
    print(f"Numbers and pictures are in {workdir / FOLDER}")


def arguments_of(settings: Settings) -> Iterator[str]:
    """The arguments that differ from the defaults, as on a command line."""
    for name, default in vars(Settings()).items():
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

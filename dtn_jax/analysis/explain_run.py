"""A finished run, explained into a folder of its own: what dtn-jax feature_importance does.

The folder holds importance.json, .csv, .md and the pictures.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import tempfile
from collections.abc import Callable, Mapping

import jax
import polars as pl
import rich.progress
from ml_collections import ConfigDict

from dtn_jax.analysis.explain import Settings, explain
from dtn_jax.analysis.findings import rows
from dtn_jax.analysis.finished import best_state, read_config, read_history
from dtn_jax.analysis.importance import Z
from dtn_jax.analysis.sections import PICTURES, sections
from dtn_jax.analysis.segments import chosen_segment
from dtn_jax.config import base_config
from dtn_jax.parallel import memory
from dtn_jax.parallel.fits import check_fits
from dtn_jax.report import screen
from dtn_jax.report.sections import markdown, terminal
from dtn_jax.run import build_run
from dtn_jax.workdir import versions

FOLDER = "importance"  # of a workdir
DIGITS = 6


def config_of(
    workdir: pathlib.Path, plugins: str, data_dir: str, manual_dir: str, check_memory: bool = True
) -> ConfigDict:
    """The config of a finished run, as its model can be read here; '' is where the run had it."""
    config = read_config(workdir, base_config(), plugins, data_dir, manual_dir)
    if config.parallel.devices > len(jax.devices()):  # it was trained elsewhere
        config.parallel.devices = config.parallel.table_devices = 0
    config.parallel.check_memory = check_memory
    return config


def explain_run(config: ConfigDict, workdir: pathlib.Path, settings: Settings) -> dict:
    """Explains the run in a folder, into its folder FOLDER; returns what importance.json holds."""
    run = build_run(config)
    chosen_segment(run.schema, settings.segment)  # before anything is read
    check_fits(run, trains=False)
    state, step = best_state(run, workdir)
    # The output of an earlier call stays until all of this one's is made.
    with tempfile.TemporaryDirectory(dir=workdir, prefix=f"{FOLDER}.") as made:
        made = pathlib.Path(made)
        with rich.progress.Progress(console=screen.console()) as bars, memory.told("--rows"):

            def bar(what: str, count: int) -> Callable[[], None]:
                task = bars.add_task(what, total=count)
                return lambda: bars.advance(task)

            found = explain(run, state, settings, read_history(workdir), made, bar)
        found = plain(
            {
                "dataset": run.schema.name,
                "architecture": config.model.architecture,
                "experts": config.model.experts,
                "step": step,
                "run": workdir.name,
                "arguments": [
                    f"--{name}={','.join(value) if name == 'methods' else value}"
                    for name, value in vars(settings).items()
                    if value != getattr(Settings(), name)
                ],
                "date": datetime.date.today().isoformat(),
                "versions": versions(),
                **found,
            }
        )
        write(found, made, workdir / FOLDER)
    return found


def show(found: dict, workdir: pathlib.Path) -> None:
    """Shows in the terminal what was found."""
    for table in terminal(sections([found]), screen.console().width, texts=False):
        screen.show(table)
    print(f"Numbers and pictures are in {workdir / FOLDER}")


def plain(value):
    """JSON's own types: arrays as lists, numbers to DIGITS digits, what is not finite as null."""

    def rounded(number: str) -> float:
        return float(f"{float(number):.{DIGITS}g}")

    text = json.dumps(value, default=lambda array: array.tolist())
    return json.loads(text, parse_float=rounded, parse_constant=lambda _: None)


def write(found: Mapping, made: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes what was found beside its pictures, and puts all into place.

    Args:
      found: of plain types.
      made: a new folder in the same file system, which holds the pictures; it is emptied.
      folder: the place. Pictures there that were not made again are another call's, and go; other
        files stay.
    """
    (made / "importance.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    importance_table(found).write_csv(made / "importance.csv")
    pictures = {p.stem: p.name for p in made.glob("*.png")}
    text = f"# Importance by task: {found['run']}\n\n{markdown(sections([found], pictures))}"
    (made / "importance.md").write_text(text)
    folder.mkdir(exist_ok=True)
    for name in PICTURES:
        if name not in pictures:
            (folder / f"{name}.png").unlink(missing_ok=True)
    for path in list(made.iterdir()):
        path.replace(folder / path.name)


def importance_table(found: Mapping) -> pl.DataFrame:
    """A row for each method, task@space and field: the mean, its 95 % interval, and the truth."""
    truth = found["truth"].get("importance", {})
    return pl.DataFrame(
        {
            "method": method,
            "key": row["key"],
            "field": row["field"],
            "importance": row["mean"],
            "low": plain(row["mean"] - Z * row["error"]),
            "high": plain(row["mean"] + Z * row["error"]),
            "truth": truth[row["key"]][row["field"]]["mean"] if truth else None,
        }
        for method in found["methods"]
        for row in rows([found], f"methods/{method}/importance", "key", "field")
    )

"""What a sweep reports: a table in the terminal, sweep.json, pictures, and the winner's command."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
from collections.abc import Sequence

import matplotlib.pyplot as plt
from optuna.visualization import matplotlib as pictures

from dtn_jax.files import write_whole
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.pictures import save_small
from dtn_jax.report.versions import versions
from dtn_jax.search.studies import Study
from dtn_jax.search.trials import kind, settings_in

SHOWN = 10  # trials of the table
PICTURES = {
    "history": pictures.plot_optimization_history,
    "parallel": pictures.plot_parallel_coordinate,
    "importance": pictures.plot_param_importances,
}


def report(study: Study, metric: str, workdir: pathlib.Path, words: Sequence[str]) -> None:
    """Prints the table and the winner's command, writes sweep.json, and draws; nothing without a
    winner.

    Args:
      study: that has ended.
      metric: what the objective's metric is called.
      workdir: gets the files.
      words: the arguments of `train` that all trials share.
    """
    outcome = study.outcome()
    if outcome.value is None:
        return
    screen.show(table(study, metric).terminal(screen.console().width))
    options = [f"--config.{key}={value}" for key, value in outcome.settings.items()]
    place = f"--workdir={workdir / f'{study.name}_best'}"
    command = shlex.join(["dtn-jax", "train", *words, *options, place])
    screen.say("\n", (study.name, "bold"), f", best validation value {outcome.value:.5f}:")
    print(command)  # not wrapped: ready to paste
    for option in outcome.at_edge:
        screen.say(f"{option} is at the edge of its range: a better one may lie beyond")
    facts = outcome.as_dict() | {"command": command, "versions": versions()}
    write_whole(workdir / "sweep.json", json.dumps(facts, indent=1) + "\n")
    draw(study, workdir)


def table(study: Study, metric: str) -> Grid:
    """The best trials with what they set, and how many there are of each kind."""
    best = study.ranked()[:SHOWN]
    options = list(dict.fromkeys(key for trial in best for key in settings_in(trial)))
    kinds = [kind(t) for t in study.trials()]
    rows = []
    for trial in best:
        settings = settings_in(trial)
        texts = (short(settings.get(option, "")) for option in options)
        rows.append([str(trial.number), f"{trial.value:.5f}", *texts])
    return Grid(
        header=["trial", "value", *(re.sub("([._])", r"\1\n", o) for o in options)],
        rows=rows,
        title=f"{study.name}: validation {metric} ({study.config.train.select})",
        note=", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)),
    )


def short(value: str) -> str:
    """0.0020554062603827007 as 0.002055, to be read; the winner's command has it in full."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def draw(study: Study, workdir: pathlib.Path) -> None:
    """Optuna's pictures of the search, those that it can make."""
    for name, plot in PICTURES.items():
        try:
            plot(study.optuna)
        except Exception as error:  # as where no option varied
            screen.say(f"no picture of {name}: {error}")
            continue
        save_small(plt.gcf(), workdir / f"{study.name}_{name}.png", 120, bbox_inches="tight")
        plt.close("all")

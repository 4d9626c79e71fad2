"""What a sweep found: the table in the terminal, sweep.json, pictures, the winner's command."""

from __future__ import annotations

import functools
import json
import pathlib
import re
import shlex
import warnings
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.collections import LineCollection
from optuna.importance import FanovaImportanceEvaluator
from optuna.visualization import matplotlib as pictures

from dtn_jax.files import replacing, write_whole
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.pictures import plain
from dtn_jax.run.workdir import versions
from dtn_jax.search import trials
from dtn_jax.search.search import Found
from dtn_jax.search.studies import Study

SHOWN = 10  # trials of the table


def table(study: Study) -> Grid:
    """The best trials with what they set, and how many there are of each kind."""
    best = study.ranked()[:SHOWN]
    options = list(dict.fromkeys(key for trial in best for key in trials.settings_in(trial)))
    kinds = [trials.kind(t) for t in study.trials()]
    rows = []
    for trial in best:
        settings = trials.settings_in(trial)
        numbers = (f"{trial.value:.5f}", f"{trials.seconds(trial):.0f}")
        rows.append([str(trial.number), *numbers, *(short(settings.get(o, "")) for o in options)])
    return Grid(
        header=["trial", "value", "seconds", *(re.sub("([._])", r"\1\n", o) for o in options)],
        rows=rows,
        title=f"{study.name}: {objective(study)}",
        note=", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)),
    )


def objective(study: Study) -> str:
    return f"validation {study.metric} ({study.objective})"


def short(value: str) -> str:
    """0.0020554062603827007 as 0.002055, to be read; the winner's command has it in full."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def report(workdir: pathlib.Path, study: Study, found: Found, words: Sequence[str]) -> dict:
    """Prints the table and the winner's command, and draws; returns what sweep.json keeps.

    Args:
      workdir: gets the pictures.
      study, found: of an architecture.
      words: the arguments of `train` that all its trials share.
    """
    if found.value is None:
        return found.as_dict() | {"command": ""}
    screen.show(table(study).terminal(screen.console().width))
    given = [f"--config.{key}={value}" for key, value in found.settings.items()]
    given.append(f"--workdir={workdir / f'{study.name}_best'}")
    command = shlex.join(["dtn-jax", "train", *words, *given])
    screen.say("\n", (study.name, "bold"), f", best validation value {found.value:.5f}:")
    print(command)  # not wrapped: ready to paste
    for option in found.at_edge:
        screen.say(f"{option} is at the edge of its range: a better one may lie beyond")
    draw(workdir, study)
    return found.as_dict() | {"command": command}


def write(workdir: pathlib.Path, found: dict[str, dict]) -> None:
    """Writes sweep.json, once a trial has succeeded."""
    if all(one["value"] is None for one in found.values()):
        return
    content = {"studies": found, "versions": versions()}
    write_whole(workdir / "sweep.json", json.dumps(content, indent=1) + "\n")


def draw(workdir: pathlib.Path, study: Study) -> None:
    """History, parallel coordinates and importance of each option, where they exist."""
    complete = len(study.ranked())
    name = {"target_name": f"{study.metric} ({study.objective})"}
    value = name | {"target": lambda trial: trial.value}
    plots = {"history": functools.partial(pictures.plot_optimization_history, **name)}
    if complete > 1:
        forest = FanovaImportanceEvaluator(seed=0)  # the usual one looks at the best trials alone
        plots["parallel"] = functools.partial(pictures.plot_parallel_coordinate, **value)
        plots["importance"] = functools.partial(
            pictures.plot_param_importances, evaluator=forest, **value
        )
    for kind, plot in plots.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optuna calls its own pictures experimental
            try:
                main = plot(study.optuna)
            except Exception as error:  # as where no option varied
                screen.say(f"no picture of {kind}: {error}")
                continue
            figure = plt.gcf()
            figure.set_size_inches(9, 5)
            title = f"{study.name}: {objective(study)}, {complete} trials"
            main.set_title("")
            main.set_title(title, loc="left", fontsize=11)
            main.set_facecolor("white")
            for axes in figure.axes:
                axes.grid(False)
            for lines in main.collections:
                if isinstance(lines, LineCollection):  # in Optuna's colours the best are white
                    lines.set_cmap("viridis_r")
            plain(figure)
            with replacing(workdir / f"{study.name}_{kind}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
            plt.close("all")

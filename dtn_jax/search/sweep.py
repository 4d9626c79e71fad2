"""Searches the settings of one architecture or several on the same data, and reports each.

The report is a table in the terminal, sweep.json, pictures, and the winner's command.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import re
import shlex
import warnings
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator
from ml_collections import ConfigDict
from optuna.importance import FanovaImportanceEvaluator
from optuna.visualization import matplotlib as pictures

from dtn_jax.data.sets.catalog import read_data
from dtn_jax.errors import UserError
from dtn_jax.files import write_whole
from dtn_jax.metrics.selected import metrics_of, read_selection
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.pictures import save_small
from dtn_jax.report.versions import versions
from dtn_jax.search import trial_storage
from dtn_jax.search.search_space import Space
from dtn_jax.search.studies import Budget, Study, search
from dtn_jax.search.trials import OBJECTIVE, kind, seconds, settings_in, with_settings

SHOWN = 10  # trials of the table


def sweep(
    configs: Mapping[str, ConfigDict],
    suggest: Space,
    budget: Budget,
    *,
    workdir: pathlib.Path,
    study: str,
    storage: str,
    words: Sequence[str],
) -> None:
    """Searches for each of these configs, and writes sweep.json and pictures.

    Args:
      configs: {architecture: what its trials start from}; they have the same data and objective.
      suggest: what the trials are asked to set.
      budget: of each architecture.
      workdir: of all searches.
      study: the search's name and folder in the workdir; "" is the workdir itself.
      storage: the URL of the storage; "" is sweep.db in the folder.
      words: the arguments of `train` that all trials share.

    Raises:
      UserError: the objective does not fit the data, or a search failed: the others are done.
    """
    config = next(iter(configs.values()))
    data = read_data(config)
    # A selection that does not fit the data set ends the search before it has a folder.
    metric = read_selection(OBJECTIVE, config.train.select, metrics_of(data.schema)).title
    workdir = workdir / study
    storage = storage or trial_storage.url_of_file(workdir / "sweep.db")
    workdir.mkdir(parents=True, exist_ok=True)
    found, problems = {}, []

    def report(one: Study) -> None:
        found[one.name] = reported(one, workdir, words)
        if any(own["command"] for own in found.values()):
            content = json.dumps({"studies": found, "versions": versions()}, indent=1)
            write_whole(workdir / "sweep.json", content + "\n")

    for name, own in configs.items():
        facts = {"data": data.fingerprint, "metric": metric, "report": report}
        facts["stored_as"] = f"{study or data.schema.name}/{name}"
        try:
            search(own, suggest, workdir / name, budget, name=name, storage=storage, **facts)
        except UserError as error:  # the other architectures are searched nevertheless
            problems.append(f"{name}: {error}")
    if problems:
        raise UserError("; ".join(problems))
    screen.say(f"\nAll trials and pictures are in {workdir}")


def at_points(config: ConfigDict, grid: Mapping[str, Sequence[str]]) -> list[ConfigDict]:
    """A config with each list of experts and losses of a grid; other options depend on these."""
    lists = [key for key in ("model.experts", "model.group_experts", "loss.tasks") if key in grid]
    points = itertools.product(*(grid[key] for key in lists))
    return [with_settings(config, dict(zip(lists, point))) for point in points]


def reported(study: Study, workdir: pathlib.Path, words: Sequence[str]) -> dict:
    """Prints the table and the winner's command, and draws; returns what sweep.json keeps.

    Args:
      study: of an architecture.
      workdir: gets the pictures.
      words: the arguments of `train` that all trials share.
    """
    found = study.found()
    if found.value is None:
        return found.as_dict() | {"command": ""}
    screen.show(table(study).terminal(screen.console().width))
    given = {"model.architecture": study.name} | found.settings
    options = [f"--config.{key}={value}" for key, value in given.items()]
    place = f"--workdir={workdir / f'{study.name}_best'}"
    command = shlex.join(["dtn-jax", "train", *words, *options, place])
    screen.say("\n", (study.name, "bold"), f", best validation value {found.value:.5f}:")
    print(command)  # not wrapped: ready to paste
    for option in found.at_edge:
        screen.say(f"{option} is at the edge of its range: a better one may lie beyond")
    draw(study, workdir)
    return found.as_dict() | {"command": command}


def table(study: Study) -> Grid:
    """The best trials with what they set, and how many there are of each kind."""
    best = study.ranked()[:SHOWN]
    options = list(dict.fromkeys(key for trial in best for key in settings_in(trial)))
    kinds = [kind(t) for t in study.trials()]
    rows = []
    for trial in best:
        settings = settings_in(trial)
        numbers = (f"{trial.value:.5f}", f"{seconds(trial):.0f}")
        rows.append([str(trial.number), *numbers, *(short(settings.get(o, "")) for o in options)])
    return Grid(
        header=["trial", "value", "seconds", *(re.sub("([._])", r"\1\n", o) for o in options)],
        rows=rows,
        title=f"{study.name}: {judged(study)}",
        note=", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)),
    )


def judged(study: Study) -> str:
    return f"validation {study.metric} ({study.config.train.select})"


def short(value: str) -> str:
    """0.0020554062603827007 as 0.002055, to be read; the winner's command has it in full."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def draw(study: Study, workdir: pathlib.Path) -> None:
    """History, parallel coordinates and importance of each option, where they exist."""
    best = study.ranked()
    options = sorted({name for trial in best for name in trial.params})
    judged_by = f"{study.metric} ({study.config.train.select})"
    target = {"target_name": judged_by}
    value = target | {"target": lambda trial: trial.value, "params": options}
    forest = {"evaluator": FanovaImportanceEvaluator(seed=0)}  # the usual one looks at the best
    plots = {"history": (pictures.plot_optimization_history, target)}
    if len(best) > 1 and options:
        plots["parallel"] = (pictures.plot_parallel_coordinate, value)
        plots["importance"] = (pictures.plot_param_importances, value | forest)
    for name, (plot, how) in plots.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optuna calls its own pictures experimental
            try:
                main = plot(study.optuna, **how)
            except Exception as error:  # as where no option varied
                screen.say(f"no picture of {name}: {error}")
                continue
            figure = plt.gcf()
            figure.set_size_inches(9, 5)
            main.set_title("")
            title = f"{study.name}: {judged(study)}, {len(best)} trials"
            main.set_title(title, loc="left", fontsize=11)
            main.set_facecolor("white")
            for axes in figure.axes:
                axes.grid(False)
            if name == "history":
                main.xaxis.set_major_locator(MaxNLocator(integer=True))
            elif name == "importance":
                main.get_legend().remove()  # the title says it
            else:  # whose names are cut, and whose best lines are white
                names = [re.sub("([._])", r"\1\n", option) for option in options]
                main.set_xticks(main.get_xticks(), [judged_by, *names], rotation=0, fontsize=8)
                for lines in main.collections:
                    lines.set_cmap("viridis_r")
            save_small(figure, workdir / f"{study.name}_{name}.png", 120, bbox_inches="tight")
            plt.close("all")

"""What a sweep found: the table in the terminal, sweep.json, pictures, the winner's command."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import pathlib
import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import matplotlib.pyplot as plt
import optuna
import rich.live
import rich.table
import rich.text
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as pictures

from dtn_jax.report import screen
from dtn_jax.report.pictures import GRID, plain
from dtn_jax.search.studies import DONE, Study
from dtn_jax.search.trials import ERROR, SETTINGS
from dtn_jax.shared_files import replacing, write_whole
from dtn_jax.workdir import versions

SHOWN = 10  # trials of the table
ENOUGH = 2  # trials for each option that varied, to tell which of them matters
NONE = ("0", "0.0")
EDGE = 0.05  # of a range: where a winner so near to its end might lie beyond it


def settings(trial: FrozenTrial) -> dict[str, str]:
    """The options that a trial sets; what it suggested, where it died before it said so."""
    text = trial.user_attrs.get(SETTINGS)
    return json.loads(text) if text else {k: str(v) for k, v in trial.params.items()}


def seconds(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration else 0.0


@contextlib.contextmanager
def live(study: Study) -> Iterator[Callable[[], None]]:
    """Shows the study's table: in place in a terminal, else anew at each call of what it yields."""
    console = screen.console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda: screen.show(table(study))
        return
    with rich.live.Live(table(study), console=console, refresh_per_second=2) as shown:
        yield lambda: shown.update(table(study))


def table(study: Study) -> rich.table.Table | rich.text.Text:
    """The best trials, and how many there are of each kind; a line until one is complete."""
    trials = study.trials()
    title = f"{study.name}: validation {study.metric} ({study.objective})"
    counts = ", ".join(f"{n} {name}" for name, n in counted(trials).items())
    caption = f"of {study.budget.trials} trials: {counts or 'none yet'}"
    best = study.ranked(trials)[:SHOWN]
    if not best:
        return rich.text.Text(f"{title}, {caption}")
    made = rich.table.Table(title=title, caption=caption)
    for column in ("trial", "value", "seconds", "settings"):
        made.add_column(column, justify="left" if column == "settings" else "right")
    for trial in best:
        described = " ".join(f"{k}={short(v)}" for k, v in settings(trial).items())
        made.add_row(str(trial.number), f"{trial.value:.5f}", f"{seconds(trial):.0f}", described)
    return made


def short(value: str) -> str:
    """0.0020554062603827007 as 0.002055, to be read; the winner's command has it in full."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def counted(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for trial in trials:
        counts[kind(trial)] = counts.get(kind(trial), 0) + 1
    return counts


def kind(trial: FrozenTrial) -> str:
    """How a trial ended: what Optuna calls a failed one is resumed under another number."""
    if ERROR in trial.user_attrs:
        return "failed"
    return "retried" if trial.state == TrialState.FAIL else trial.state.name.lower()


def write(
    workdir: pathlib.Path, studies: Mapping[str, Study], config: str, rest: Sequence[str]
) -> None:
    """Writes sweep.json and the pictures, and prints the winners' commands."""
    found = {name: summary(study) for name, study in studies.items()}
    for name, study in studies.items():
        best, folder = study.best(), workdir / f"{name}_best"
        found[name]["command"] = winning_command(name, best, config, rest, folder) if best else ""
    content = {"studies": found, "versions": versions()}
    write_whole(workdir / "sweep.json", json.dumps(content, indent=1) + "\n")
    for name, study in studies.items():
        if found[name]["command"]:
            value = f"{found[name]['value']:.5f}"
            screen.say("\n", (name, "bold"), f", best validation value {value}:")
            print(found[name]["command"])  # not wrapped: ready to paste
            for option in found[name]["at_edge"]:
                screen.say(f"{option} is at the edge of its range: a better one may lie beyond")
            if (more := found[name]["budget"].get("complete", 0)) > study.budget.trials:
                screen.say(f"(of the first {study.budget.trials} trials; there are {more})")
        draw(workdir, name, study)
    screen.say(f"\nAll trials and pictures are in {workdir}")


def summary(study: Study) -> dict:
    """What sweep.json keeps of a study: the budget that it had, its trials, the winner."""
    best, trials = study.best(), study.trials()
    return {
        "objective": study.objective,
        "budget": {
            "trials": study.budget.trials,
            "sampler": "grid" if study.budget.grid else study.budget.sampler,
            "pruner": study.budget.pruner,
            "seconds": round(sum(seconds(t) for t in trials if t.state in DONE)),
            **counted(trials),
        },
        "value": best.value if best else None,
        "at_edge": at_edge(best) if best else [],
        "settings": settings(best) if best else {},
        "trials": [
            {
                "number": t.number,
                "state": kind(t),
                "value": t.value,
                "settings": settings(t),
                "validations": {str(n): v for n, v in t.intermediate_values.items()},
                **({ERROR: t.user_attrs[ERROR]} if ERROR in t.user_attrs else {}),
            }
            for t in trials
        ],
    }


def at_edge(trial: FrozenTrial) -> list[str]:
    """The options that a trial has within a twentieth of their range from its end; 0 is no end."""
    found, own = [], settings(trial)
    for name, space in trial.distributions.items():
        if isinstance(space, optuna.distributions.CategoricalDistribution):
            continue
        if own.get(name) in NONE:  # a range by logarithm has no 0, and its space may make one
            continue
        low, value, high = (
            math.log(v) if space.log else v for v in (space.low, trial.params[name], space.high)
        )
        edge = EDGE * (high - low)
        if high - value < edge or (space.low != 0 and value - low < edge):
            found.append(name)
    return found


def winning_command(
    name: str, best: FrozenTrial, config: str, rest: Sequence[str], folder: pathlib.Path
) -> str:
    """Trains the winner as its trial was, test included."""
    given = [*rest, f"--config.model.architecture={name}"]
    given += [f"--config.{key}={value}" for key, value in settings(best).items()]
    words = ["dtn-jax", "train", f"--config={config}", *given]
    return shlex.join([*words, f"--workdir={folder}"])


def draw(workdir: pathlib.Path, name: str, study: Study) -> None:
    """History, parallel coordinates and importance of each hyper-parameter, where they exist."""
    complete = [t for t in study.trials() if t.state == TrialState.COMPLETE]
    varied = {k for t in complete for k in t.params}
    varied = {k for k in varied if len({str(t.params.get(k)) for t in complete}) > 1}
    value = {"target": lambda t: t.value, "target_name": f"{study.metric} ({study.objective})"}
    name_of = {"target_name": value["target_name"]}
    plots = {"history": functools.partial(pictures.plot_optimization_history, **name_of)}
    if len(complete) > 1 and varied:
        plots["parallel"] = functools.partial(pictures.plot_parallel_coordinate, **value)
    if varied and len(complete) >= ENOUGH * len(varied):
        forest = FanovaImportanceEvaluator(seed=0)  # the usual one looks at the best trials alone
        plots["importance"] = functools.partial(
            pictures.plot_param_importances, evaluator=forest, **value
        )
    for kind, plot in plots.items() if complete else ():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optuna calls its own pictures experimental
            try:
                plot(study.optuna)
            except Exception as error:  # of a picture, whose want must not cost the others
                screen.say(f"no picture of {kind}: {error}")
                continue
            figure = plt.gcf()
            what = f"validation {study.metric} ({study.objective})"
            title = f"{name}: {what}, {len(complete)} trials"
            readable(figure, title, varied)
            plain(figure)
            path = workdir / f"{name}_{kind}.png"
            with replacing(path) as temporary:
                figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
            plt.close("all")


def readable(figure: Figure, title: str, names: Iterable[str]) -> None:
    """What Optuna leaves to be wished: its names are cut, its low trials nearly white on grey."""
    figure.set_size_inches(9, 5)
    main, *others = figure.axes
    main.set_title("")
    main.set_title(title, loc="left", fontsize=11, fontweight="bold")
    labels = [label.get_text() for label in main.get_xticklabels()]
    if any(label.endswith("...") for label in labels):
        whole = {name: name for name in names}
        for label in labels:
            cut = label.removesuffix("...")
            whole[label] = next((n for n in names if n.startswith(cut)), label)
        main.set_xticks(main.get_xticks(), [whole[label] for label in labels])
    if main.get_xlabel() == "Trial":
        main.xaxis.set_major_locator(MaxNLocator(integer=True))
    main.set_facecolor("white")
    main.grid(True, **GRID)
    for axes in others:
        axes.grid(False)
    for lines in main.collections:
        if isinstance(lines, LineCollection):
            lines.set_cmap("viridis_r")  # the colour bar follows
            lines.set_alpha(0.8)

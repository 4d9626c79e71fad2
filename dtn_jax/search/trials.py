"""A trial: what it may set, by a function of a Python file that suggests options or by a grid of
them; what it sets, how it ended, and the run that it is."""

from __future__ import annotations

import itertools
import json
import math
import pathlib
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence

import optuna
from ml_collections import ConfigDict
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from dtn_jax.config import declarations, override
from dtn_jax.errors import UserError, failed
from dtn_jax.options import lists
from dtn_jax.places import config_path, import_file
from dtn_jax.report import screen
from dtn_jax.run.selection import selected_value
from dtn_jax.run.train import AfterValidation, train
from dtn_jax.run.workdir import Busy

# Attributes: what a trial sets, why it could not be done, how many workers began it and did not say
# that they were interrupted.
SETTINGS, ERROR, TRIES = "settings", "error", "tries"
WAIT = 5  # seconds between two looks at other workers
NONE = ("0", "0.0")
EDGE = 0.05  # of a range: where a winner so near to its end might lie beyond it
SPACE = "configs/space.py"  # searched unless the user has a space
# What trials are compared by, or on, is the same for all of them, and what changes no result is not
# searched.
FIXED = ("train.select", "model.architecture", "data.dataset", "replicas", "parallel")
FIXED += ("data.options", "evaluate.sample_weights")
Space = Callable[[object], Mapping[str, object]]  # of a trial: {option: value}


def read_grid(text: str, config: ConfigDict) -> list[dict[str, str]]:
    """The points of the grid 'KEY=VALUE,VALUE;KEY=VALUE', each once; values with commas stand in
    brackets: (64,),(128,64)."""
    grid = lists(text, "--grid", "OPTION=VALUE,VALUE")
    if not grid:
        raise UserError(f"--grid: expected OPTION=VALUE,VALUE, got {text!r}")
    check_settings(grid)
    for key, values in grid.items():
        for value in values:
            with_settings(config, {key: value})  # raises where it cannot be
    values = map(dict.fromkeys, grid.values())
    return [dict(zip(grid, point)) for point in itertools.product(*values)]


def load_space(file: str, config: str) -> Space:
    """The function `sweep` of a file: the one named, else the config's, else configs/space.py."""
    if file and not pathlib.Path(file).is_file():
        raise UserError(f"no file {file!r} with a function sweep(trial)")
    for path in [file] if file else [config.partition(":")[0], SPACE]:
        place = pathlib.Path(path) if file else config_path(path)
        if space := getattr(import_file(place, "file"), "sweep", None):
            return space
    raise UserError(f"{path} has no function sweep(trial)")


def settings_of(space: Space, trial: object) -> dict[str, str]:
    """What a space asks for in a trial.

    Raises:
      UserError: it fails, or returns anything else.
    """
    try:
        settings = space(trial)
    except optuna.TrialPruned:
        raise
    except (Exception, SystemExit) as error:  # whatever a function of the user's may raise
        place = traceback.extract_tb(error.__traceback__)[-1].filename
        raise failed(pathlib.Path(place), "the space", error) from error
    if not isinstance(settings, Mapping):
        raise UserError(f"sweep(trial) returned {settings!r}, expected {{option: value}}")
    return {str(key): str(value) for key, value in settings.items()}


def check_settings(keys: Iterable[str]) -> None:
    """Raises UserError where no trial can set one of these options."""
    for key in keys:
        if key in FIXED or key.partition(".")[0] in FIXED:
            raise UserError(f"what is searched cannot set {key}: trials would not compare")
        if key in declarations() and declarations()[key].option.runtime:
            raise UserError(f"what is searched cannot set {key}, which changes no result")


def settings_in(trial: FrozenTrial) -> dict[str, str]:
    """The options that a trial sets; what it suggested, where it died before it said so."""
    text = trial.user_attrs.get(SETTINGS)
    return json.loads(text) if text else {k: str(v) for k, v in trial.params.items()}


def kind(trial: FrozenTrial) -> str:
    """How a trial ended, or that it runs or waits."""
    return "failed" if ERROR in trial.user_attrs else trial.state.name.lower()


def stretches(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """{trial: for how many stretches, each from one validation to the next, it has trained}.

    What ended between two validations, by its last step or by an error, counts one more than it
    reported, and so does what was drawn in vain.
    """
    counts: dict[int, int] = {}
    for trial in trials:
        unseen = trial.state == TrialState.PRUNED and not trial.intermediate_values
        ended = trial.state == TrialState.COMPLETE or ERROR in trial.user_attrs or unseen
        counts[trial.number] = max(trial.intermediate_values, default=0) + ended
    return counts


def at_edge(trial: FrozenTrial) -> list[str]:
    """The options that a trial has within a twentieth of their range from its end; 0 is no end."""
    near, settings = [], settings_in(trial)
    for name, space in trial.distributions.items():
        # A range by logarithm has no 0, and its space may make one.
        if isinstance(space, CategoricalDistribution) or settings.get(name) in NONE:
            continue
        low, value, high = (
            math.log(v) if space.log else v for v in (space.low, trial.params[name], space.high)
        )
        edge = EDGE * (high - low)
        if high - value < edge or (space.low != 0 and value - low < edge):
            near.append(name)
    return near


def with_settings(config: ConfigDict, settings: Mapping[str, str]) -> ConfigDict:
    """A copy of a config with a trial's settings."""
    copy = ConfigDict(config.to_dict()).lock()
    for key, value in settings.items():
        override(copy, key, value)
    return copy


def run(
    config: ConfigDict, folder: pathlib.Path, after_validation: AfterValidation | None = None
) -> float:
    """Trains on all but test; returns the objective, `train.select`, on validation.

    It waits if a worker that was taken for dead still works in the folder.

    Raises:
      UserError: training fails, or the objective is not defined.
    """
    while True:
        try:
            results = train(config, folder, test=False, after_validation=after_validation)
            break
        except Busy as error:
            screen.say(str(error))
            time.sleep(WAIT)
    if (value := selected_value(results)) is None:
        raise UserError(f"{config.train.select} is not defined on validation: a class is absent")
    return value

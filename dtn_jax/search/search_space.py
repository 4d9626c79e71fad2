"""What a sweep searches: a function of a Python file that suggests options, or a grid of them."""

from __future__ import annotations

import itertools
import pathlib
import traceback
from collections.abc import Callable, Iterable, Mapping

import optuna
from ml_collections import ConfigDict

from dtn_jax.config import declarations, override, plugins
from dtn_jax.config.files import import_config
from dtn_jax.errors import UserError
from dtn_jax.options import lists
from dtn_jax.shipped import config_path

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
    scratch = ConfigDict(config.to_dict()).lock()
    for key, values in grid.items():
        for value in values:
            override(scratch, key, value)
    values = map(dict.fromkeys, grid.values())
    return [dict(zip(grid, point)) for point in itertools.product(*values)]


def load_space(file: str, config: str) -> Space:
    """The function `sweep` of a file: the one named, else the config's, else configs/space.py."""
    if file and not pathlib.Path(file).is_file():
        raise UserError(f"no file {file!r} with a function sweep(trial)")
    for path in [file] if file else [config.partition(":")[0], SPACE]:
        module = plugins.import_file(pathlib.Path(path), "file") if file else None
        if space := getattr(module or import_config(config_path(path)), "sweep", None):
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
        raise plugins.failed(pathlib.Path(place), "the space", error) from error
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

"""What a sweep searches: a function of a Python file that suggests options, or a grid of them."""

from __future__ import annotations

import json
import pathlib
import traceback
from collections.abc import Callable, Mapping, Sequence

import optuna
from ml_collections import ConfigDict

from dtn_jax.config import declarations, flatten, override, plugins
from dtn_jax.config.files import config_path, import_config
from dtn_jax.data.progress import say
from dtn_jax.errors import UserError
from dtn_jax.options import lists

SPACE = "configs/space.py"  # searched unless the user has a space
DRAWS = 32  # by which a space is told from another
# What trials are compared by, or on, is the same for all of them, and what changes no result is not
# searched.
FIXED = ("train.select", "model.architecture", "data.dataset", "replicas", "parallel")
FIXED += ("data.options", "evaluate.sample_weights")
Space = Callable[[object], Mapping[str, object]]  # of a trial: {option: value}


def read_grid(text: str, config: ConfigDict) -> dict[str, list[str]]:
    """Reads 'KEY=VALUE,VALUE,KEY=VALUE'; values with commas stand in brackets: (64,),(128,64)."""
    grid: dict[str, list[str]] = {}
    scratch = ConfigDict(config.to_dict()).lock()
    for key, listed in lists(text, "--grid", "OPTION=VALUE,VALUE").items():
        values: dict[str, str] = {}
        for value in listed:
            check_settings({key: value}, scratch)
            first = values.setdefault(repr(flatten(scratch)[key]), value)  # 1e-3 is 0.001
            if first is not value:
                say(f"note: --grid: {key} has the value {value} twice; it is tried once")
        grid[key] = list(values.values())
    if not grid:
        raise UserError(f"--grid: expected OPTION=VALUE,VALUE, got {text!r}")
    return grid


def grid_space(grid: Mapping[str, Sequence[str]]) -> Space:
    return lambda trial: {key: trial.suggest_categorical(key, v) for key, v in grid.items()}


def load_space(file: str, config: str) -> Space:
    """The function `sweep` of a file: the one named, else the config's, else configs/space.py."""
    if file and not pathlib.Path(file).is_file():
        raise UserError(f"no file {file!r} with a function sweep(trial)")
    for path in [file] if file else [config.partition(":")[0], SPACE]:
        own = plugins.import_file(pathlib.Path(path), "file") if file else None
        if space := getattr(own or import_config(config_path(path)), "sweep", None):
            return space
    raise UserError(f"{path} has no function sweep(trial)")


def settings_of(space: Space, trial: object) -> dict[str, str]:
    """What a space asks for in a trial.

    Raises:
      UserError: it fails, or returns anything else.
    """
    try:
        asked = space(trial)
    except optuna.TrialPruned:
        raise
    except (Exception, SystemExit) as error:  # whatever a function of the user's may raise
        place = traceback.extract_tb(error.__traceback__)[-1].filename
        raise plugins.failed(pathlib.Path(place), "the space", error) from error
    if not isinstance(asked, Mapping):
        raise UserError(f"sweep(trial) returned {asked!r}, expected {{option: value}}")
    return {str(key): str(value) for key, value in asked.items()}


def check_settings(settings: Mapping[str, str], scratch: ConfigDict) -> None:
    """Raises UserError where a trial cannot have these settings; it is told before any trial.

    Args:
      settings: {option: value}.
      scratch: a copy of the config, which gets them.
    """
    for key, value in settings.items():
        if key in FIXED or key.partition(".")[0] in FIXED:
            hint = "; use --architectures" if key == "model.architecture" else ""
            raise UserError(f"what is searched cannot set {key}: trials would not compare{hint}")
        if key in declarations() and declarations()[key].option.runtime:
            raise UserError(
                f"what is searched cannot set {key}: it says where or how a run happens, and "
                f"changes no result; give --config.{key}=VALUE"
            )
        override(scratch, key, value)


def described(space: Space, config: ConfigDict) -> str:
    """What a space asks for, seen in some draws: its options, their ranges, and what it fixes.

    Returns:
      JSON: {options: [...], ranges: {suggestion: its distribution}, fixed: {option: value}}.

    Raises:
      UserError: the space fails, or asks for what no trial can have.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    scratch = ConfigDict(config.to_dict()).lock()
    seen: dict[str, set[str]] = {}  # {option: its values}
    ranges: dict[str, dict] = {}
    for _ in range(DRAWS):
        trial = study.ask()
        settings = settings_of(space, trial)
        check_settings(settings, scratch)
        for key, value in settings.items():
            seen.setdefault(key, set()).add(value)
        for name, own in trial.distributions.items():
            ranges[name] = json.loads(optuna.distributions.distribution_to_json(own))
    fixed = {k: min(v) for k, v in seen.items() if len(v) == 1 and k not in ranges}
    return json.dumps({"options": sorted(seen), "ranges": ranges, "fixed": fixed}, sort_keys=True)

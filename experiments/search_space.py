"""What a sweep searches: a function of a Python file that suggests options, or a grid of them."""

from __future__ import annotations

import importlib.util
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import optuna
from ml_collections import ConfigDict

from dtn_jax import options
from dtn_jax.schema import UserError

SPACE = pathlib.Path("configs/space.py")  # searched unless the user has a space
DRAWS = 32  # by which a space is told from another
Space = Callable[[object], Mapping[str, object]]  # of a trial: {option: value}


def read_grid(text: str, config: ConfigDict) -> dict[str, list[str]]:
    """Reads 'KEY=VALUE,VALUE;KEY=VALUE'; values with commas stand in brackets: (64,),(128,64)."""
    grid: dict[str, list[str]] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        key, equals, listed = part.partition("=")
        if not equals:
            raise UserError(f"--grid: expected OPTION=VALUE,VALUE, got {part!r}")
        values = split_outside_brackets(listed)
        for value in values:  # a bad one is told before any trial
            options.override(ConfigDict(config.to_dict()).lock(), key.strip(), value)
        grid[key.strip()] = values
    if not grid:
        raise UserError(f"--grid: expected OPTION=VALUE,VALUE, got {text!r}")
    return grid


def split_outside_brackets(text: str) -> list[str]:
    found, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [value.strip() for value in found]


def grid_space(grid: Mapping[str, Sequence[str]]) -> Space:
    return lambda trial: {key: trial.suggest_categorical(key, v) for key, v in grid.items()}


def load_space(file: str, config: str) -> Space:
    """The function `sweep` of a file: the one named, else the config's, else configs/space.py."""
    for path in [pathlib.Path(file)] if file else [pathlib.Path(config.partition(":")[0]), SPACE]:
        if not path.is_file():
            raise UserError(f"no file {str(path)!r} with a function sweep(trial)")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a file of the user's may raise
            raise UserError(f"{path} fails: {type(error).__name__}: {error}") from error
        if found := getattr(module, "sweep", None):
            return found
    raise UserError(f"{path} has no function sweep(trial)")


def described(space: Space) -> str:
    """What a space asks for, seen in some draws: its options, their ranges, and what it fixes.

    Raises:
      UserError: the space fails, or asks for what trials are compared by.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: dict[str, set[str]] = {}  # {option: its values}
    ranges: dict[str, dict] = {}
    for _ in range(DRAWS):
        trial = study.ask()
        try:
            settings = {key: str(value) for key, value in space(trial).items()}
        except Exception as error:  # whatever a function of the user's may raise
            raise UserError(f"the space fails: {type(error).__name__}: {error}") from error
        for key, value in settings.items():
            seen.setdefault(key, set()).add(value)
        for name, found in trial.distributions.items():
            ranges[name] = json.loads(optuna.distributions.distribution_to_json(found))
    if "train.select" in seen:
        raise UserError("a space cannot set train.select: trials would not be comparable")
    fixed = {key: min(values) for key, values in seen.items() if len(values) == 1}
    facts = {
        "options": sorted(seen),
        "ranges": dict(sorted(ranges.items())),
        "fixed": {key: fixed[key] for key in sorted(fixed) if key not in ranges},
    }
    return json.dumps(facts)

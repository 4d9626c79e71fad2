"""Configs from files and the command line: load, override, vary."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping

from ml_collections import ConfigDict

from dtn_jax import places
from dtn_jax.config import plugins
from dtn_jax.config.sections import (
    check_options,
    declarations,
    did_you_mean,
    flatten,
    takes_experts,
)
from dtn_jax.data.schemas.named_schema import with_meaning
from dtn_jax.data.sets.logs import Logs
from dtn_jax.errors import UserError, choose, told_as_failed
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS
from dtn_jax.options import split_outside_brackets
from dtn_jax.places import config_choices, config_path, import_file

TUNED = places.folder("configs") / "tuned"


def load_config(spec: str) -> ConfigDict:
    """Loads 'configs/adult.py:dtn,quick': the file's `get_config('dtn,quick')`.

    A path is one from the working directory or, where there is no such file and it begins with
    `configs/`, that of a shipped file.

    Raises:
      UserError: there is no such file, it is no config file, or running it fails.
    """
    path, _, argument = spec.partition(":")
    file = config_path(path)
    get_config = getattr(import_file(file, "config file"), "get_config", None)
    if get_config is None or not inspect.signature(get_config).parameters:
        raise UserError(f"{path} has no function get_config(argument); {config_choices(file)}")
    with told_as_failed(file, "config file"):
        config = get_config(argument)
    if not isinstance(config, ConfigDict):
        raise UserError(f"get_config of {path} returns {config!r}, expected a ConfigDict")
    try:
        plugins.use(config, str(config.get("plugins", "")))  # where the file but names them
        check_options(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return config


def variant(
    config: ConfigDict,
    argument: str,
    *,
    flags: Mapping[str, Callable[[ConfigDict], None]] = {},
    tuned: str = "",
) -> ConfigDict:
    """Applies a config file's argument, 'dtn,quick,seed=3': architecture, flags, key=value.

    Args:
      config: the data set's config, edited in place.
      argument: comma-separated, commas inside brackets aside.
      flags: edits by name.
      tuned: the name of a file in configs/tuned, {architecture: {key: the value that it was tuned
        to}}. Those of the architecture that the argument names are set before all else; an argument
        without one gets none. The flag `tuned` says so aloud.

    Every config has the flag `paper`: the experts and sizes of the architecture's paper, and
    nothing that was tuned for others.

    Raises:
      UserError: an unknown part or key, a value of another type, several architectures, or one for
        which nothing was published, or tuned, by these flags; experts for one that has none.
    """
    every = split_outside_brackets(argument)  # 'dtn,plugins=a.py,b.py'
    files = [p for p in every if p.startswith("plugins=") or (".py" in p and "=" not in p)]
    parts = [p for p in every if p not in files]
    files = [config.plugins, *(file.removeprefix("plugins=") for file in files)]
    plugins.use(config, ",".join(files))  # what they define may be named by the parts
    named = [p for p in parts if p in ARCHITECTURES]
    if len(named) > 1:
        raise UserError(f"one architecture at a time, got {' and '.join(named)}")
    settings = json.loads((TUNED / f"{tuned}.json").read_text()) if tuned else {}
    published = {name: a.published for name, a in ARCHITECTURES.items() if a.published}
    sources = {"paper": published, "tuned": settings}
    asked = [flag for flag in sources if flag in parts]
    if len(asked) > 1:
        raise UserError(f"'paper' and 'tuned' are two settings, got {argument!r}")
    chosen = sources[asked[0]] if asked else settings
    if asked and not {*named} & {*chosen}:
        names = ", ".join(chosen) or "no architecture"
        raise UserError(f"{asked[0]!r} goes with {names} here, got {argument!r}")
    for name in named:
        config.model.architecture = name
        for key, value in chosen.get(name, {}).items():
            override(config, key, str(value))
    known = [*ARCHITECTURES, *flags, *sources, "key=value"]
    for part in parts:
        key, equals, value = part.partition("=")
        if equals:
            override(config, key.strip(), value)
        elif part in EXPERTS and part not in known:
            raise UserError(f"{part} is an expert; + joins experts: model.experts=mlp+{part}")
        elif choose("part of the config's argument", part, known) in flags:
            flags[part](config)
    check_given(config, [part.partition("=")[0].strip() for part in parts])
    return config


def check_given(config: ConfigDict, keys: Iterable[str]) -> None:
    """Raises UserError where experts are among the options given to an architecture that has none:
    a result would seem to be theirs."""
    given = [key for key in keys if key in ("model.experts", "model.group_experts")]
    if given and not takes_experts(flatten(config)):
        name = config.model.architecture
        raise UserError(f"{name} has no experts, and {given[0]} was given: leave it out")


def override(config: ConfigDict, key: str, text: str) -> None:
    """Sets `config.<key>` from text, cast to the type of the value there.

    Raises:
      UserError: an unknown key, or text of another type.
    """
    if key == "plugins":
        plugins.use(config, text)
        return
    known = flatten(config)
    if key not in known:
        keys = [k for k in known if k.startswith(f"{key}.")]
        hint = f" It is a section, which holds: {', '.join(keys)}." if keys else did_you_mean(key)
        raise UserError(f"unknown config key {key!r}.{hint} All keys: --help=all.")
    value = declarations()[key].option.cast(f"config key {key!r}", text)
    if key == "data.options" and config.data.dataset == Logs.name:
        value = with_meaning(value)
    config.update_from_flattened_dict({key: value})

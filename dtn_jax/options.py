"""A config from file and command line, checked before anything expensive happens."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import pathlib
from collections.abc import Callable, Iterable, Mapping

from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.architectures import ARCHITECTURES
from dtn_jax.datasets import DATASETS
from dtn_jax.interactions import parse_experts
from dtn_jax.optimizers import SCHEDULES, TABLE_OPTIMIZERS
from dtn_jax.schema import UserError, choose
from dtn_jax.sharding import STRATEGIES

# Where and how a run happens, not what it computes: may change between two calls on a workdir.
RUNTIME = (
    "data.data_dir",
    "data.manual_dir",
    "data.placement",
    "data.device_bytes",
    "data.eval_batch_size",
    "train.checkpoint_every",
    "train.log_every",
    "parallel.strategy",
    "parallel.devices",
    "debug.check_ids",
)
PLACEMENTS = ("auto", "device", "stream")

CHOICES: dict[str, Iterable[str]] = {
    "data.dataset": DATASETS,
    "data.placement": PLACEMENTS,
    "model.architecture": ARCHITECTURES,
    "optim.schedule": SCHEDULES,
    "optim.tables": TABLE_OPTIMIZERS,
    "parallel.strategy": STRATEGIES,
}
AT_LEAST_ONE = (
    "data.batch_size",
    "data.eval_batch_size",
    "train.epochs",
    "train.checkpoint_every",
    "train.log_every",
    "evaluate.ece_bins",
    "model.embedding_dim",
    "model.hcnet.codebook_rows",
    "model.hcnet.hashes",
)
NOT_NEGATIVE = (
    "seed",
    "data.device_bytes",
    "optim.learning_rate",
    "optim.table_learning_rate",
    "optim.weight_decay",
    "optim.table_l2",
    "optim.table_init",
    "optim.codebook_init",
    "optim.clip",
    "optim.warmup_steps",
    "train.max_steps",
    "train.eval_every",
    "train.patience",
    "parallel.devices",
)
POSITIVE_BELOW_ONE = ("optim.b1", "optim.b2", "optim.eps")


def load_config(spec: str) -> ConfigDict:
    """Loads 'configs/adult.py:dtn,quick': the file's `get_config('dtn,quick')`."""
    path, _, argument = spec.partition(":")
    file = pathlib.Path(path)
    if not file.is_file():
        found = ", ".join(sorted(str(p) for p in file.parent.glob("*.py"))) or "none"
        raise UserError(f"no config file {path!r}; the config files there are: {found}")
    module_spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path} has no function get_config(argument)")
    return module.get_config(argument)


def variant(
    config: ConfigDict,
    argument: str,
    *,
    tuned: Mapping[str, Mapping[str, object]] = {},
    flags: Mapping[str, Callable[[ConfigDict], None]] = {},
) -> ConfigDict:
    """Applies a config file's argument, 'dtn,quick,seed=3': architecture, flags, key=value.

    Args:
      config: the data set's config, edited in place.
      argument: comma-separated; the architecture's tuned settings apply first.
      tuned: per architecture, settings found on validation, {key: value}.
      flags: edits by name.
    """
    parts = [p.strip() for p in argument.split(",") if p.strip()]
    named = [p for p in parts if p in ARCHITECTURES]
    if len(named) > 1:
        raise UserError(f"one architecture at a time, got {' and '.join(named)}")
    config.model.architecture = named[0] if named else config.model.architecture
    for key, value in tuned.get(config.model.architecture, {}).items():
        override(config, key, str(value))
    for part in parts:
        key, equals, value = part.partition("=")
        if equals:
            override(config, key, value)
        elif part not in named:
            choose("part of the config's argument", part, [*ARCHITECTURES, *flags, "key=value"])
            flags[part](config)
    return config


def override(config: ConfigDict, key: str, text: str) -> None:
    """Sets `config.<key>` from text, cast to the type of the value there."""
    known = flatten(config)
    if key not in known:
        leaf = [k for k in known if k.split(".")[-1] == key.split(".")[-1]]
        near = leaf or difflib.get_close_matches(key, known, n=3)
        inside = [k for k in known if k.startswith(f"{key}.")]
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        hint = f" It holds: {', '.join(inside)}." if inside else hint
        raise UserError(f"unknown config key {key!r}.{hint} All keys: configs/base.py.")
    section, _, name = key.rpartition(".")
    (config[section] if section else config)[name] = _cast(key, text, known[key])


def _cast(key: str, text: str, default):
    kind = type(default)
    try:
        if kind is str:
            return text
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind is tuple:
            value = ast.literal_eval(text) if text.startswith(("(", "[")) else text.split(",")
            value = tuple(value) if isinstance(value, tuple | list) else (value,)
            if all(isinstance(v, int) for v in default) and default:
                return tuple(int(v) for v in value)
            return tuple(str(v).strip() for v in value if str(v).strip())
        return kind(text)
    except (KeyError, ValueError, SyntaxError):
        names = {int: "a whole number", float: "a number", bool: "true or false"}
        expected = names.get(kind, f"comma-separated values such as {default!r}")
        raise UserError(f"config key {key!r} expects {expected}, got {text!r}") from None


def flatten(config: Mapping, prefix: str = "") -> dict[str, object]:
    """{'model.dropout': 0.0, ...}"""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(value) if isinstance(value, list) else value
    return flat


def identity(config: Mapping) -> dict[str, object]:
    """The flat options that say what is computed."""
    return {k: v for k, v in flatten(config).items() if k not in RUNTIME}


def check(config: ConfigDict) -> FrozenConfigDict:
    """Checks every value that can be checked without data; returns the config, frozen.

    Raises:
      UserError: on the first bad value.
    """
    flat = flatten(config)
    for key, choices in CHOICES.items():
        choose(key, flat[key], choices)
    for key in AT_LEAST_ONE:
        if flat[key] < 1:
            raise UserError(f"{key}={flat[key]}: expected at least 1")
    for key in NOT_NEGATIVE:
        if not flat[key] >= 0:  # NaN too
            raise UserError(f"{key}={flat[key]}: expected at least 0")
    for key in POSITIVE_BELOW_ONE:
        if not 0 < flat[key] < 1:
            raise UserError(f"{key}={flat[key]}: expected a number between 0 and 1")
    parse_experts(config.model.experts)
    return FrozenConfigDict(config)

"""A config from file and command line, checked before anything expensive happens."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping

from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.datasets.preparation.catalog import DATASETS
from dtn_jax.models.build import ARCHITECTURES
from dtn_jax.models.experts import parse_experts
from dtn_jax.optimizers import SCHEDULES, TABLE_DTYPES, TABLE_OPTIMIZERS
from dtn_jax.parallel.mesh import STRATEGIES
from dtn_jax.schema import UserError, choose

# Where and how a run happens, not what it computes: may change between two calls on a workdir.
RUNTIME = (
    "data.data_dir",
    "data.manual_dir",
    "data.placement",
    "data.device_bytes",
    "data.eval_batch_size",
    "train.accumulate",
    "train.checkpoint_every",
    "train.log_every",
    "train.remat",
    "parallel.strategy",
    "parallel.devices",
    "parallel.table_devices",
    "parallel.processes",
    "parallel.heartbeat_seconds",
    "analysis.rows",
    "debug.check_ids",
)
PLACEMENTS = ("auto", "device", "stream")

CHOICES: dict[str, Iterable[str]] = {
    "data.dataset": DATASETS,
    "data.placement": PLACEMENTS,
    "model.architecture": ARCHITECTURES,
    "optim.schedule": SCHEDULES,
    "optim.tables": TABLE_OPTIMIZERS,
    "optim.table_dtype": TABLE_DTYPES,
    "parallel.strategy": STRATEGIES,
}
AT_LEAST_ONE = (
    "data.batch_size",
    "data.eval_batch_size",
    "train.epochs",
    "train.accumulate",
    "train.checkpoint_every",
    "evaluate.ece_bins",
    "model.embedding_dim",
    "model.hcnet.codebook_rows",
    "model.hcnet.hashes",
    "model.ple.levels",
    "model.stem.levels",
    "model.adatt.levels",
    "parallel.heartbeat_seconds",
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
    "train.log_every",
    "train.patience",
    "analysis.rows",
    "parallel.devices",
    "parallel.table_devices",
    "model.aitm.calibrator",
)
POSITIVE_BELOW_ONE = ("optim.b1", "optim.b2", "optim.eps")
NAMES = ("model.hcnet.fields",)  # tuples of names; every other tuple holds whole numbers


def load_config(spec: str) -> ConfigDict:
    """Loads 'configs/adult.py:dtn,quick': the file's `get_config('dtn,quick')`.

    Raises:
      UserError: there is no such file, it is no config file, or running it fails.
    """
    path, _, argument = spec.partition(":")
    file = pathlib.Path(path)
    choices = f"the config files are: {', '.join(config_files(file)) or 'none'}"
    if not file.is_file() or file.suffix != ".py":
        raise UserError(f"no config file {path!r}; {choices}")
    try:
        module_spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
        get_config = getattr(module, "get_config", None)
        if get_config is None or not inspect.signature(get_config).parameters:
            raise UserError(f"{path} has no function get_config(argument); {choices}")
        return get_config(argument)
    except UserError:
        raise
    except Exception as error:  # whatever a file of the user's may raise
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"config file {path} fails: {reason} (--debug shows where)") from error


def config_files(near: pathlib.Path) -> list[str]:
    """The config files in the folder `near`, else beside it, else in configs/."""
    for folder in (near, near.parent, pathlib.Path("configs")):
        files = sorted(folder.glob("*.py"))
        found = [str(f) for f in files if "\ndef get_config(argument" in f.read_text()]
        if found:
            return found
    return []


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
      argument: comma-separated, commas inside brackets aside; the architecture's tuned settings
        apply first.
      tuned: per architecture, settings found on validation, {key: value}.
      flags: edits by name.

    Raises:
      UserError: an unknown part or key, a value of another type, or several architectures.
    """
    split = re.split(r",(?![^(\[]*[)\]])", argument)
    parts = [p.strip() for p in split if p.strip()]
    named = [p for p in parts if p in ARCHITECTURES]
    if len(named) > 1:
        raise UserError(f"one architecture at a time, got {' and '.join(named)}")
    config.model.architecture = named[0] if named else config.model.architecture
    for key, value in tuned.get(config.model.architecture, {}).items():
        override(config, key, str(value))
    for part in parts:
        key, equals, value = part.partition("=")
        if equals:
            override(config, key.strip(), value)
        elif part not in named:
            choose("part of the config's argument", part, [*ARCHITECTURES, *flags, "key=value"])
            flags[part](config)
    return config


def override(config: ConfigDict, key: str, text: str) -> None:
    """Sets `config.<key>` from text, cast to the type of the value there.

    Raises:
      UserError: an unknown key, or text of another type.
    """
    known = flatten(config)
    if key not in known:
        raise UserError(
            f"unknown config key {key!r}.{_hint(key, known)} All keys: configs/base.py."
        )
    section, _, name = key.rpartition(".")
    (config[section] if section else config)[name] = _cast(key, text, type(known[key]))


def _hint(key: str, known: Iterable[str]) -> str:
    """What the user may have meant: a section's keys, a key's full name, or one spelled alike."""
    inside = [k for k in known if k.startswith(f"{key}.")]
    if inside:
        return f" It is a section, which holds: {', '.join(inside)}."
    last = {k: k.rpartition(".")[2] for k in known}
    name = key.rpartition(".")[2]
    near = [k for k in known if last[k] == name]
    if not near:
        alike = difflib.get_close_matches(name, set(last.values()), n=2)
        near = difflib.get_close_matches(key, known, n=2) + [k for k in known if last[k] in alike]
    return f" Did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""


def _cast(key: str, text: str, kind: type):
    text = text.strip()
    try:
        if kind is str:
            return text
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind is tuple:
            inner = text[1:-1] if text[:1] + text[-1:] in ("()", "[]") else text
            values = [v for v in (v.strip().strip("'\"") for v in inner.split(",")) if v]
            return tuple(values) if key in NAMES else tuple(int(v) for v in values)
        return kind(text)
    except (KeyError, ValueError):
        expected = {
            int: "a whole number",
            float: "a number",
            bool: "true or false",
            tuple: "whole numbers such as 128,64",
        }[kind]
        raise UserError(f"config key {key!r} expects {expected}, got {text!r}") from None


def flatten(config: Mapping | ConfigDict, prefix: str = "") -> dict[str, object]:
    """{'model.dropout': 0.0, ...}"""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(value) if isinstance(value, list) else value
    return flat


def identity(config: Mapping | ConfigDict) -> dict[str, object]:
    """The flat options that say what is computed."""
    return {k: v for k, v in flatten(config).items() if k not in RUNTIME}


def checked_config(config: ConfigDict) -> FrozenConfigDict:
    """Checks every value that can be checked without data; returns the config, frozen.

    Raises:
      UserError: on the first bad value, or where an option is absent.
    """
    flat = flatten(config)
    for key in (*CHOICES, *AT_LEAST_ONE, *NOT_NEGATIVE, *POSITIVE_BELOW_ONE):
        if key not in flat:
            raise UserError(f"the config has no {key!r}: a config edits that of configs/base.py")
    for key, choices in CHOICES.items():
        choose(key, flat[key], choices)
    for key in AT_LEAST_ONE:
        if flat[key] < 1:
            raise UserError(f"{key}={flat[key]}: expected at least 1")
    for key in NOT_NEGATIVE:
        if not 0 <= flat[key] < math.inf:  # NaN is not either
            raise UserError(f"{key}={flat[key]}: expected a finite number of at least 0")
    if flat["train.accumulate"] > 1 and flat["model.normalisation"] == "batch":
        raise UserError(
            "train.accumulate > 1 does not go with model.normalisation=batch: the statistics of a "
            "batch need all of its rows at once; use layer or none"
        )
    if flat["optim.tables"] == "dense" and flat["optim.table_dtype"] != "float32":
        raise UserError("optim.tables=dense needs optim.table_dtype=float32")
    if config.seed >= 2**32:
        raise UserError(f"seed={config.seed}: expected a number below 2**32")
    for key in POSITIVE_BELOW_ONE:
        if not 0 < flat[key] < 1:
            raise UserError(f"{key}={flat[key]}: expected a number between 0 and 1")
    if not 0 < config.data.train_share <= 1:
        raise UserError(f"data.train_share={config.data.train_share}: expected above 0, at most 1")
    parse_experts(config.model.experts)
    return FrozenConfigDict(config)

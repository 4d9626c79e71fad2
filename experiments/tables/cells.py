"""A cell is what one run of a table found; it is kept apart from the run, small enough to commit.

Cells lie by the hash of what they compute (the identity options and the data's fingerprint), so
every table that wants the same run shares it, and a table can be gone on with or extended. The
tuning of an entry is kept in the same way.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

import dtn_jax
from dtn_jax.config import base_config, flatten, identity, load_config, override
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.evaluate import read_predictions
from dtn_jax.metrics.significance import resampled_aucs
from dtn_jax.replicas import train_replicas
from dtn_jax.schema import UserError
from dtn_jax.train import train
from dtn_jax.workdir import locked, versions, write_whole

from .. import sweep
from ..search import sweep_report
from ..search.budget import Budget
from ..search.search_space import described, load_space
from ..search.studies import open_study
from .protocols import Protocol, Settings

SHORT = 16  # digits of a hash in a file's name
ORIGIN = ("config", "data", "code", "versions", "date", "device")
CELL = ("results", "train_seconds", "draws", *ORIGIN)  # what a cell's file holds
TUNING = ("settings", "at_edge", *ORIGIN)  # and at least a tuning's


def configured(protocol: Protocol, *given: Settings) -> ConfigDict:
    """The protocol's config with its common settings and these, the last ones winning."""
    config = load_config(protocol.config)
    for settings in (protocol.common, *given):
        for key, value in settings.items():
            override(config, key, str(value))
    return config


def digest(*facts: object) -> str:
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:SHORT]


def name_of(config: ConfigDict, data: Prepared) -> str:
    """The name of the cell of a config: readable, and of what it computes alone."""
    own = digest(changed(config), data.fingerprint)
    return f"{config.model.architecture}-seed{config.seed}-{own}"


def run_name(config: ConfigDict, data: Prepared) -> str:
    """The name of a run's own folder, which refuses a config with any other option."""
    return f"{name_of(config, data)}-{digest(identity(config), data.fingerprint)[:6]}"


def changed(config: ConfigDict) -> dict[str, str]:
    """The identity options that are not at their default: a new option makes no cell worthless."""
    defaults = flatten(base_config())
    found = identity(config)
    return {k: str(v) for k, v in found.items() if v != defaults.get(k)}


def read(path: pathlib.Path) -> dict | None:
    """What a JSON file holds, None where it is not there yet."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error})") from None


def read_own(path: pathlib.Path, config: ConfigDict, parts: Sequence[str]) -> dict | None:
    """The cell or tuning of a config; None where it is not there, or of other defaults.

    Raises:
      UserError: it is damaged, or lacks one of its parts.
    """
    found = read(path)
    if found is None:
        return None
    if lacking := sorted({*parts} - {*found}) if isinstance(found, dict) else parts:
        raise UserError(f"{path} is damaged (it lacks {', '.join(lacking)})")
    now = {k: str(v) for k, v in identity(config).items()}
    return found if found["config"].items() <= now.items() else None


def keep(path: pathlib.Path, content: Mapping) -> None:
    """Writes a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=1) + "\n")


@contextlib.contextmanager
def alone(path: pathlib.Path) -> Iterator[bool]:
    """Holds a lock that ends with the process; yields False where another process holds it.

    Processes on one machine, or on one file system that has locks, share a table's work by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = locked(path)
    with held or contextlib.nullcontext():
        yield held is not None


def compute(config: ConfigDict, data: Prepared, run: pathlib.Path) -> dict:
    """Trains, reads test once, and returns the cell."""
    results = train(config, run)
    jax.clear_caches()  # of the many programs of a table each is wanted once
    return found(config, data, run, results)


def compute_together(
    configs: Sequence[ConfigDict], data: Prepared, run: pathlib.Path
) -> list[dict]:
    """The cells of configs that differ in their seeds alone, trained in one program."""
    together = ConfigDict(configs[0].to_dict()).lock()
    together.replicas = "seed=" + ",".join(str(c.seed) for c in configs)
    every = train_replicas(together, run)
    jax.clear_caches()
    made = [
        found(config, data, run / f"replica_{i}", results)
        for i, (config, results) in enumerate(zip(configs, every))
    ]
    for cell in made:  # they shared the time
        if cell["train_seconds"]:
            cell["train_seconds"] /= len(made)
    return made


def found(config: ConfigDict, data: Prepared, run: pathlib.Path, results: dict) -> dict:
    """The cell of a finished run."""
    scores = read_predictions(run / "predictions.parquet", data.schema)
    rate = results["examples_per_second"]
    examples = results["steps"] * config.data.batch_size
    draws = resampled_aucs(scores, data.schema)
    return {
        "results": results,
        "train_seconds": examples / rate if rate else None,
        "draws": {k: packed(v, results["test"][k]["auc"]) for k, v in draws.items()},
        **origin(config, data),
    }


def origin(config: ConfigDict, data: Prepared) -> dict:
    """Of what, with what, when and where."""
    return {
        "config": {k: str(v) for k, v in identity(config).items()},
        "data": data.fingerprint,
        "code": code(),
        "versions": versions(),
        "date": datetime.date.today().isoformat(),
        "device": f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} cores",
    }


@functools.cache
def code() -> str:
    """The hash of the library's sources: cells of several versions of it are told as such."""
    root = pathlib.Path(dtn_jax.__file__).parent
    sources = sorted(root.rglob("*.py"))
    return digest([(str(p.relative_to(root)), p.read_text()) for p in sources])


def packed(draws: np.ndarray, center: float | None) -> str:
    """The draws' distances from the AUC of all examples, as text of float16: 3 digits of each."""
    away = draws - (center or 0.0)
    return base64.b64encode(away.astype("<f2").tobytes()).decode()


def unpacked(cell: Mapping, key: str) -> np.ndarray:
    """A cell's AUC under each draw of the test examples, `[draws]`."""
    away = np.frombuffer(base64.b64decode(cell["draws"][key]), "<f2").astype(np.float64)
    return away + (cell["results"]["test"][key]["auc"] or 0.0)


def tuning_config(protocol: Protocol, name: str, places: Settings) -> ConfigDict:
    """What the trials of an entry start from."""
    return configured(protocol, protocol.entries[name], protocol.tuning, {"seed": 0}, places)


def tuning_name(protocol: Protocol, name: str, config: ConfigDict, data: Prepared) -> str:
    own = digest(changed(config), data.fingerprint, asked(protocol.config), protocol.trials)
    return f"{name}-{own}"


def searched(protocol: Protocol) -> set[str]:
    """The options that the space of a protocol suggests."""
    return set(json.loads(asked(protocol.config))["options"])


@functools.cache
def asked(config: str) -> str:
    """What the space of a config file asks for."""
    return described(load_space("", config), load_config(config))


def tune(
    protocol: Protocol, name: str, config: ConfigDict, data: Prepared, run: pathlib.Path
) -> dict:
    """Searches an entry's settings on validation; returns what is kept of it."""
    budget = Budget(protocol.trials, "tpe", "none", 0, {})
    run.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{run / 'sweep.db'}"
    space = load_space("", protocol.config)
    study = open_study(
        storage,
        name,
        config,
        config.train.select,
        budget,
        asked(protocol.config),
        data=data.fingerprint,
    )
    with contextlib.closing(study):
        study.alone()  # the caller holds the lock
        sweep.work(study, config, space, run)
        jax.clear_caches()
        if not study.best():
            raise UserError(f"{name}: none of {protocol.trials} trials succeeded")
        kept = sweep_report.summary(study)
        return kept | origin(config, data)

"""The tuning of an entry: a sweep on validation, of which the chosen settings are kept."""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib

import jax
from ml_collections import ConfigDict

from dtn_jax.config import load_config
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError

from ..search import sweep_report
from ..search.budget import Budget
from ..search.opening import open_study
from ..search.search_space import described, load_space
from ..search.storage_urls import of_file
from ..search.worker import work
from .cells import changed, digest, origin
from .protocol import Protocol, Settings

# Of a protocol without trials: its entries keep the settings that it gives them.
UNTUNED = {"settings": {}, "at_edge": []}


def start(protocol: Protocol, name: str, places: Settings) -> tuple[Settings, ...]:
    """What the trials of an entry start from, the last ones winning."""
    return protocol.entries[name], protocol.tuning, {"seed": 0}, places


def tuning_name(
    protocol: Protocol, name: str, config: ConfigDict, data: Prepared, changes=changed
) -> str:
    own = digest(changes(config), data.fingerprint, asked(protocol.config), protocol.trials)
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
    storage = of_file(run / "sweep.db")
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
        work(study, config, space, run)
        jax.clear_caches()
        if not study.best():
            raise UserError(f"{name}: none of {protocol.trials} trials succeeded")
        kept = sweep_report.summary(study)
        return kept | origin(config, data)

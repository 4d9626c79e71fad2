"""The tuning of an entry: a search on validation, of which the chosen settings are kept.

A trial is a run like the final ones, of full length and with the same schedule. Successive halving
ends most of them early: at the first and the third of a run's VALIDATIONS, those that are not in
the best third so far. What all trials of an entry may cost together is counted in examples, and is
the same for every entry: as many as `protocol.trials` runs of full length train on. An entry draws
its first settings by a seed of its own, so that none wins because another one began in the same
place. The best few settings are then trained again over seeds, and the best of those is the
entry's (search/finalists.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import zlib

import jax
from ml_collections import ConfigDict

from dtn_jax.config import load_config
from dtn_jax.data.epochs.epoch_order import steps_per_epoch
from dtn_jax.data.prepared import Prepared
from dtn_jax.losses.sample_weights import with_sample_weights
from dtn_jax.papertables.cells import changed, digest, origin
from dtn_jax.papertables.protocol import Protocol, Settings
from dtn_jax.search import finalists, sweep_report
from dtn_jax.search.budget import Budget
from dtn_jax.search.opening import open_study
from dtn_jax.search.search_space import described, load_space
from dtn_jax.search.storage_urls import of_file
from dtn_jax.search.trials import stretches
from dtn_jax.search.worker import work
from dtn_jax.timetable import Timetable, make_timetable

VALIDATIONS = 9  # of a run whose config has no train.eval_every: thirds of thirds
SAMPLER, PRUNER = "tpe", "asha"
# Of a protocol without trials: its entries keep the settings that it gives them.
UNTUNED = {"settings": {}, "at_edge": []}


def start(protocol: Protocol, name: str, places: Settings) -> tuple[Settings, ...]:
    """What the trials of an entry start from, the last ones winning."""
    return protocol.own(name), {"seed": 0}, places


def tuning_name(
    protocol: Protocol, name: str, config: ConfigDict, data: Prepared, changes=changed
) -> str:
    how = (protocol.trials, protocol.finalists, protocol.finalist_seeds, SAMPLER, PRUNER)
    own = digest(changes(config), data.fingerprint, asked(protocol.config), how)
    return f"{name}-{own}"


def searched(protocol: Protocol) -> set[str]:
    """The options that the space of a protocol suggests."""
    return set(json.loads(asked(protocol.config))["options"])


@functools.cache
def asked(config: str) -> str:
    """What the space of a config file asks for."""
    return described(load_space("", config), load_config(config))


def timetable(config: ConfigDict, data: Prepared) -> Timetable:
    """When a run of a config on one device trains and validates."""
    rows = data.part_of_train(config.data.train_share).rows["train"]
    size = config.data.batch_size
    return make_timetable(config.train, steps_per_epoch(data.layout, rows, size), size)


def validated(config: ConfigDict, data: Prepared) -> ConfigDict:
    """The config as its runs have it on the data: with VALIDATIONS validations, where it does not
    say when they are. They are as often in final runs as in trials, so that both choose their best
    state alike."""
    config = with_sample_weights(config, data)
    if not config.train.eval_every:
        config.train.eval_every = math.ceil(timetable(config, data).total_steps / VALIDATIONS)
    return config


def tune(
    protocol: Protocol, name: str, config: ConfigDict, data: Prepared, run: pathlib.Path
) -> dict:
    """Searches an entry's settings on validation; returns what is kept of it."""
    times = timetable(config, data)
    whole = math.ceil(times.total_steps / times.eval_every)
    most = protocol.trials * whole
    seed = zlib.crc32(name.encode())
    budget = Budget(most, SAMPLER, PRUNER, seed, {}, validations=most)
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
        found = finalists.run_off(study, config, run, protocol.finalists, protocol.finalist_seeds)
        jax.clear_caches()
        kept = sweep_report.summary(study) | chosen(found)
        steps = [
            min(n * times.eval_every, times.total_steps) for n in stretches(study.trials()).values()
        ]
        kept["budget"]["examples"] = sum(steps) * config.data.batch_size
        kept["budget"]["run"] = times.total_steps * config.data.batch_size
        return kept | origin(config, data)


def chosen(found: list[finalists.Finalist]) -> dict:
    """The winner among the finalists, and all of them."""
    best = found[0]
    return {
        "value": best.mean,
        "at_edge": best.at_edge,
        "settings": best.settings,
        "finalists": [dataclasses.asdict(one) for one in found],
    }

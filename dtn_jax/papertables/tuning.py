"""The tuning of an entry: a search on validation, of which the chosen settings are kept.

A trial is a run like the final ones, of full length and with the same schedule. Successive halving
ends most of them early: at the first and the third of a run's VALIDATIONS, those that are not in
the best third so far. What all trials of an entry may cost together is counted in examples, and is
the same for every entry: as many as `protocol.trials` runs of full length train on. An entry draws
its first settings by a seed of its own, so that none wins because another one began in the same
place. The best few settings are then trained again over seeds, and the best of those is the
entry's (search/search.py).
"""

from __future__ import annotations

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
from dtn_jax.search.search import Finalist, search
from dtn_jax.search.search_space import described, load_space
from dtn_jax.search.studies import Budget
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
    found = search(
        config,
        load_space("", protocol.config),
        run,
        Budget(most, SAMPLER, PRUNER, seed, validations=most),
        name=name,
        data=data.fingerprint,
        finalists=protocol.finalists,
        finalist_seeds=protocol.finalist_seeds,
        alone=True,  # the caller holds the lock
    )
    jax.clear_caches()
    kept = found.as_dict() | chosen(found.finalists)
    steps = [min(n * times.eval_every, times.total_steps) for n in kept.pop("stretches").values()]
    kept["budget"]["examples"] = sum(steps) * config.data.batch_size
    kept["budget"]["run"] = times.total_steps * config.data.batch_size
    return kept | origin(config, data)


def chosen(found: list[Finalist]) -> dict:
    """The winner among the finalists, and all of them."""
    best = found[0]
    return {
        "value": best.mean,
        "at_edge": best.at_edge,
        "settings": best.settings,
        "finalists": [dataclasses.asdict(one) for one in found],
    }

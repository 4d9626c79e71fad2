"""The settings of a protocol's entries: each is searched on validation, at the same cost.

A trial is a run like the final ones, of full length and with the same schedule. Successive halving
ends most of them early: at the first and the third of a run's VALIDATIONS, those that are not in
the best third so far. What all trials of an entry may cost together is counted in examples: as many
as `protocol.trials` runs of full length train on. An entry draws its first settings by a seed of
its own, so that none wins because another one began in the same place. The best few settings are
trained again over seeds, and the best of those is the entry's (search/studies.py).

Searches of equal cost are not equally lucky: given one model under two names, one search may find
far better settings than the other, and the table then compares luck. With `protocol.transfer` each
entry, once all are searched, trains its own and all others' settings to the end, in a study of its
own, and chooses its finalists among these.
"""

from __future__ import annotations

import functools
import inspect
import math
import pathlib
import zlib
from collections.abc import Mapping

import jax
from ml_collections import ConfigDict

from dtn_jax.data.epochs.epoch_order import steps_per_epoch
from dtn_jax.data.prepared import Prepared
from dtn_jax.losses.sample_weights import with_sample_weights
from dtn_jax.papertables.protocol import Protocol
from dtn_jax.run.timetable import Timetable, make_timetable
from dtn_jax.search.studies import Budget, search
from dtn_jax.search.trials import Space, load_space

VALIDATIONS = 9  # of a run whose config has no train.eval_every: thirds of thirds
PRUNER = "asha"
UNTUNED = {"settings": {}, "at_edge": []}  # of a protocol without trials


def tune(
    protocol: Protocol,
    name: str,
    config: ConfigDict,
    data: Prepared,
    folder: pathlib.Path,
    tried: Mapping[str, dict],
) -> dict:
    """An entry's tuning; what was interrupted resumes in `folder`.

    Args:
      protocol, name: of the entry.
      config: what its trials start from.
      data: its data set.
      folder: of its trials.
      tried: {entry: its tuning}, whose settings are tried to the end, its own among them; {} for
        the search itself.

    Raises:
      UserError: no trial ended well.
    """
    times = timetable(config, data)
    run = times.total_steps * config.data.batch_size
    most = protocol.trials * math.ceil(times.total_steps / times.eval_every)
    budget = Budget(most, pruner=PRUNER, seed=zlib.crc32(name.encode()), validations=most)
    if tried:
        folder, budget = folder / "others", Budget(1)  # those given are tried, and no new one
    outcome = search(
        config,
        space(protocol.config, protocol.beside.get(protocol.entry_of(name))),
        folder,
        budget,
        name=name,
        data=data.fingerprint,
        enqueue=[tuning["settings"] for tuning in tried.values()],
        finalists=protocol.finalists,
        finalist_seeds=protocol.finalist_seeds,
        alone=True,  # the caller holds the lock
    )
    jax.clear_caches()
    tuning = {"settings": outcome.settings, "at_edge": outcome.at_edge}
    if tried:
        whose = next(n for n, one in tried.items() if one["settings"] == outcome.settings)
        transfer = {"from": whose, "examples": runs_of(protocol, len(tried)) * run}
        transfer |= {"given": [*protocol.given]} if protocol.given else {}
        return tried[name] | tuning | {"at_edge": tried[whose]["at_edge"], "transfer": transfer}
    steps = (min(n * times.eval_every, times.total_steps) for n in outcome.stretches.values())
    tuning |= {
        "examples": sum(steps) * config.data.batch_size,
        "run": run,
        "trials": len(outcome.stretches),  # one that died and was run again counts once
        "finalists": [one.values for one in outcome.finalists],
    }
    return tuning | {kind: n for kind, n in outcome.budget.items() if kind == "failed"}


def runs_of(protocol: Protocol, trials: int) -> int:
    """What trials to the end and the finalists among them cost, in runs."""
    again = min(protocol.finalists, trials)
    return trials + (again * protocol.finalist_seeds if again > 1 else 0)


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


def space(config: str, beside: Space | None) -> Space:
    """What the space of a config file suggests, and what an entry's own does beside it."""
    usual = load_space("", config)
    return (lambda trial: {**usual(trial), **beside(trial)}) if beside else usual


@functools.cache
def space_of(config: str, beside: Space | None = None) -> str:
    """The source of the functions that say what is searched for a config file, and beside it."""
    return "".join(map(inspect.getsource, filter(None, (load_space("", config), beside))))

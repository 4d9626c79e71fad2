"""Settings that a call gives to all entries, and tables that cost less than they should.

Entries can be trained for fewer epochs or steps, or on a part of train. What comes of it is no
result: such a table says what was cut, lies in a folder of its own, and stands beside nothing that
was trained in full.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from dtn_jax.config import flatten
from dtn_jax.errors import UserError
from dtn_jax.papertables.protocol import Protocol, Settings, configured
from dtn_jax.papertables.tune import searched

# Of training.
LENGTH = ("train.epochs", "train.max_steps", "train.max_examples", "data.train_share")
NO_LIMIT = ("train.max_steps", "train.max_examples")  # where they are 0
OF_PROTOCOL = "is what the tables are of, and are named after: --dataset or --config says it"
# What no call can set for all entries.
OWN = {
    "seed": "is what the final runs differ in: --seeds says how many",
    "replicas": "cannot be set: a run of a table is one seed",
    "model.architecture": "is what the entries differ in: --entries chooses among them",
    "data.dataset": OF_PROTOCOL,
    "data.options": OF_PROTOCOL,
    "data.data_dir": "is a folder: --data_dir says it",
    "data.manual_dir": "is a folder: --manual_dir says it",
    "parallel.processes": "cannot be set: a run of a table is one process",
}
STEPS, TRIALS, SEEDS = 100, 2, 2  # of --quick, at most
MANY = 10  # with so many entries none is tuned, and each has one seed
COUNTS = {"trials": "runs' worth of trials", "finalists": "finalists", "seeds": "seeds"}
SUFFIX = "-shortened"  # of the folder


def shortened(
    full: Protocol, is_quick: bool, counts: Mapping[str, int], given: Settings
) -> Protocol:
    """A protocol as a call asks for it, which notes what is cut.

    Args:
      full: the protocol.
      is_quick: as --quick makes it.
      counts: of seeds and trials, those that are given.
      given: settings of all entries.

    Raises:
      UserError: see `with_settings`.
    """
    less = dataclasses.replace(quick(full) if is_quick else full, **counts)
    less = with_settings(less, given)
    return dataclasses.replace(less, cut=cut(full, less, is_quick))


def with_settings(protocol: Protocol, given: Settings) -> Protocol:
    """The protocol with these settings of all entries.

    Raises:
      UserError: an entry, its search or a table sets one of them later.
    """
    for key in given:
        if reason := refused(protocol, key):
            raise UserError(
                f"--set: {key} {reason}. --set can set every other option, {', '.join(LENGTH)} "
                "included; for all else give a copy of the protocol file: --protocol=FILE"
            )
    made = dataclasses.replace(protocol, common={**protocol.common, **given})
    reached = flatten(configured(made))
    entries = {}
    for name, own in protocol.entries.items():
        less = {key: min(own[key], reached[key], key=amount_of(key)) for key in {*own} & {*given}}
        entries[name] = {**own, **less}
    return dataclasses.replace(made, entries=entries)


def refused(protocol: Protocol, key: str) -> str:
    """Why all entries cannot be given an option; '' where they can."""
    if key in OWN:
        return OWN[key]
    if key in searched(protocol):
        return "is what the trials search"
    if key in LENGTH:
        return ""
    setting = [name for name, own in protocol.entries.items() if key in own]
    return f"is set by the protocol, by its entries {', '.join(setting)}" if setting else ""


def quick(protocol: Protocol) -> Protocol:
    """The protocol at a price that lets one look at its tables before they are made."""
    most = flatten(configured(protocol))["train.max_steps"]
    steps = {} if 0 < most <= STEPS else {"train.max_steps": STEPS}
    middle = lambda values: values[len(values) // 2 :][:1]  # noqa: E731
    trials, seeds = (0, 1) if len(protocol.entries) >= MANY else (TRIALS, SEEDS)
    return dataclasses.replace(
        with_settings(protocol, steps),
        dials=tuple(dataclasses.replace(d, values=middle(d.values)) for d in protocol.dials[:1]),
        trials=min(protocol.trials, trials),
        finalists=1,
        transfer=False,
        again=(),
        seeds=min(protocol.seeds, seeds),
    )


def cut(full: Protocol, made: Protocol, is_quick: bool) -> tuple[str, ...]:
    """In words, what a protocol has less of than in full; fewer seeds alone shorten no training."""
    before, after = flatten(configured(full)), flatten(configured(made))
    found = [
        f"{key}={after[key]} (in full: {before[key] or 'no limit'})"
        for key in LENGTH
        if amount_of(key)(after[key]) < amount_of(key)(before[key])
    ]
    if found or is_quick:
        for noun, words in COUNTS.items():
            of, there = getattr(full, noun), getattr(made, noun)
            if there < of and (made.trials or noun != "finalists"):  # without trials there is none
                found.append(f"{there} of {of} {words}")
        if full.transfer > made.transfer:
            found.append("entries do not try each other's settings")
        of, there = (sum(len(d.values) for d in some.dials) for some in (full, made))
        found += [f"{there} of {of} levels of the data's dials"] if there < of else []
    return tuple(found)


def amount_of(key: str) -> Callable[[object], float]:
    """How much training a value of one of LENGTH is: no limit is the most."""
    return lambda value: math.inf if key in NO_LIMIT and not value else float(value)

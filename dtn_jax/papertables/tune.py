"""The settings of a protocol's entries: each is searched on validation, at the same cost.

A trial is a run like the final ones, of full length and with the same schedule. Successive halving
ends most of them early: at the first and the third of a run's VALIDATIONS, those that are not in
the best third so far. What all trials of an entry may cost together is counted in examples: as many
as `protocol.trials` runs of full length train on. An entry draws its first settings by a seed of
its own, so that none wins because another one began in the same place. The best few settings are
trained again over seeds, and the best of those is the entry's (search/search.py).

Searches of equal cost are not equally lucky: given one model under two names, one search may find
far better settings than the other, and the table then compares luck. With `protocol.transfer` each
entry, once all are searched, trains its own and all others' settings to the end, in a study of its
own, and chooses its finalists among these.
"""

from __future__ import annotations

import functools
import json
import math
import pathlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
from ml_collections import ConfigDict

from dtn_jax.config import load_config
from dtn_jax.data.epochs.epoch_order import steps_per_epoch
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.losses.sample_weights import with_sample_weights
from dtn_jax.papertables.protocol import Protocol, changed, digest
from dtn_jax.report import screen
from dtn_jax.search.search_space import described, load_space
from dtn_jax.search.studies import Budget, search
from dtn_jax.shared_files import locked, write_whole
from dtn_jax.timetable import Timetable, make_timetable
from dtn_jax.workdir import Busy

VALIDATIONS = 9  # of a run whose config has no train.eval_every: thirds of thirds
PRUNER = "asha"
UNTUNED = {"settings": {}, "at_edge": []}  # of a protocol without trials
Located = Callable[..., tuple[ConfigDict, Prepared]]  # of settings, the last ones winning


class Tunings:
    """What the entries of a protocol were tuned to, each in tuning.json of its search's folder.

    {"settings", "at_edge": options at an end of their range, "examples" and "run": those that the
    search trained on, and a run of full length, "trials", "finalists": the values of each over
    seeds, and perhaps "failed" trials and "transfer"}

    Args:
      protocol: says how entries are tuned.
      folder: of the searches.
      located: gives the config of settings, and its data.
    """

    def __init__(self, protocol: Protocol, folder: pathlib.Path, located: Located):
        self.protocol, self.folder, self.located = protocol, folder, located
        self.lost: set[str] = set()  # entries whose tuning failed here

    def read(self, name: str) -> dict | None:
        """An entry's tuning, after the transfer where the protocol has one; None: not yet."""
        if not self.protocol.trials:
            return UNTUNED
        tried = self._tried(name)
        return None if tried is None else self._read(name, tried)

    def missing(self, names: Sequence[str]) -> Iterator[tuple[int, str, Callable[[str], None]]]:
        """(round, what to say, what to do) for the entries that are not tuned yet: the searches,
        those of all entries where they try each other's settings, and that."""
        left = [name for name in names if self.read(name) is None]
        for name in self.protocol.entries if left and self.protocol.transfer else left:
            if self._read(name, {}) is None:
                yield 0, f"tuning {name}", functools.partial(self.make, name, False)
        for name in left if self.protocol.transfer else ():
            label = f"{name}, settings of the others"
            yield 1, label, functools.partial(self.make, name, True)

    def is_lost(self, name: str) -> bool:
        """Whether an entry's tuning failed here, or another's search, whose settings it tries."""
        return bool(self.lost) if self.protocol.transfer else name in self.lost

    def make(self, name: str, after: bool, label: str) -> None:
        """Searches an entry's settings or, `after` that, tries those of the others, where it is not
        done; raises Busy where another process does it."""
        tried = self._tried(name) if after else {}
        if tried is None:
            if not self.lost:
                raise Busy("others are searched")
            lost = ", ".join(sorted(self.lost))
            raise UserError(f"it tries the settings of all, and the search of {lost} failed")
        if self._read(name, tried) is not None:
            return
        try:
            path, config, data = self._file(name, tried)
            path.parent.mkdir(parents=True, exist_ok=True)
            held = locked(path.parent / "lock")
            if held is None:
                raise Busy(label)
            with held:
                screen.say(label, style="bold")
                made = tune(self.protocol, name, config, data, path.parent, tried)
                write_whole(path, json.dumps(made, indent=1) + "\n")
        except Exception as error:
            self.lost |= set() if isinstance(error, Busy) else {name}
            raise

    def _tried(self, name: str) -> dict[str, dict] | None:
        """The settings of others that an entry tries; None while a search is missing."""
        if not self.protocol.transfer:
            return {}
        searches = {n: self._read(n, {}) for n in self.protocol.entries}
        if None in searches.values():
            return None
        given = {
            n: {"settings": {key: str(value) for key, value in settings.items()}, "at_edge": []}
            for n, settings in self.protocol.given.items()
        }
        tried: dict[str, dict] = {}
        for other, tuning in ({name: searches[name]} | searches | given).items():
            if tuning["settings"] not in [one["settings"] for one in tried.values()]:
                tried[other] = tuning
        return tried

    def _file(
        self, name: str, tried: Mapping[str, dict]
    ) -> tuple[pathlib.Path, ConfigDict, Prepared]:
        """Where a tuning is kept, what its trials start from, and their data."""
        config, data = self.located(self.protocol.own(name), {"seed": 0})
        how = (self.protocol.trials, self.protocol.finalists, self.protocol.finalist_seeds)
        how += (PRUNER, asked(self.protocol.config))
        own = digest(changed(config), data.fingerprint, how)
        others = {n: tuning["settings"] for n, tuning in tried.items()}
        file = f"tuning-{digest(others)}.json" if tried else "tuning.json"
        return self.folder / f"{name}-search-{own}" / file, config, data

    def _read(self, name: str, tried: Mapping[str, dict]) -> dict | None:
        path = self._file(name, tried)[0]
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(
                f"{path} is damaged ({error}): delete it, and the same command makes it anew from "
                "the trials beside it"
            ) from None


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
    found = search(
        config,
        load_space("", protocol.config),
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
    made = {"settings": found.settings, "at_edge": found.at_edge}
    if tried:
        whose = next(n for n, tuning in tried.items() if tuning["settings"] == found.settings)
        own = {"at_edge": tried[whose]["at_edge"]}
        own["transfer"] = {"from": whose, "examples": runs_of(protocol, len(tried)) * run}
        if protocol.given:
            own["transfer"]["given"] = [*protocol.given]
        return tried[name] | made | own
    steps = (min(n * times.eval_every, times.total_steps) for n in found.stretches.values())
    made |= {
        "examples": sum(steps) * config.data.batch_size,
        "run": run,
        "trials": len(found.stretches),  # one that died and was run again counts once
        "finalists": [one.values for one in found.finalists],
    }
    failed = found.budget.get("failed", 0)
    return made | ({"failed": failed} if failed else {})


def runs_of(protocol: Protocol, trials: int) -> int:
    """What trials to the end and the finalists among them cost, in runs."""
    again = min(protocol.finalists, trials)
    return trials + (again * protocol.finalist_seeds if again > 1 else 0)


def data_of(config: ConfigDict) -> Prepared:
    """A config's data set; prepared where it is not there."""
    source = config.data
    return catalog.load(source.dataset, source.options, source.data_dir, source.manual_dir)


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


def searched(protocol: Protocol) -> set[str]:
    """The options that the space of a protocol suggests."""
    return set(json.loads(asked(protocol.config))["options"])


@functools.cache
def asked(config: str) -> str:
    """What the space of a config file asks for."""
    return described(load_space("", config), load_config(config))

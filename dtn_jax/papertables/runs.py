"""The runs of a protocol's tables: where each one lies, what it found, and how the others are made.

    FOLDER/NAME-search-HASH/          an entry's search: tuning.json, and Optuna's trials
    FOLDER/ARCHITECTURE-seedN-HASH/   a final run: a run folder as `train` leaves it, and draws.npz

The hash is of what is computed: the options that are not as usual, and the data. So all tables that
want a run share it, and a table can be resumed or extended. A run folder is locked by its run, a
search by this module, so that several processes may share the work; a killed run resumes.

tuning.json holds {"settings", "at_edge": options at an end of their range, "examples" and "run":
those that the search trained on, and a run of full length, "trials", "finalists": the values of
each over seeds, and perhaps "failed" trials and "transfer"}. With `protocol.transfer` an entry's
trials of all others' settings are in a second such file, once all are searched.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dtn_jax import files
from dtn_jax.config import identity
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets.catalog import read_data
from dtn_jax.errors import disk_errors, reason
from dtn_jax.losses.sample_weights import with_sample_weights
from dtn_jax.metrics.scores import read_predictions
from dtn_jax.metrics.significance import resampled_aucs
from dtn_jax.models.flops import Size
from dtn_jax.papertables import tune
from dtn_jax.papertables.protocol import (
    Entry,
    Protocol,
    Settings,
    changed,
    configured,
    digest,
)
from dtn_jax.report import screen
from dtn_jax.run import outcome
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train
from dtn_jax.run.workdir import Busy, in_use
from dtn_jax.schema import Schema

LOOK = 2  # seconds between two looks at what another process does
DRAWN = "draws.npz"  # of a run: its AUCs under each draw of the test rows, and where it ran
DEVICE = "device"  # the part of that file that is no draw
Jobs = dict[str, Callable[..., None]]  # {what to say: what to do}


@dataclasses.dataclass(frozen=True)
class Found:
    """What a final run found.

    Attributes:
      name: of its folder.
      results: its results.json.
      config: its identity options, as text.
      draws: {task@space: `[R]`}, its AUC under each draw of the test rows.
      train_seconds: of training alone; None where no speed was measured.
      versions: of packages.
      device, date: on and at which it was trained.
    """

    name: str
    results: dict
    config: dict[str, str]
    draws: dict[str, np.ndarray]
    train_seconds: float | None
    versions: dict[str, str]
    device: str
    date: str


class Runs:
    """The runs of a protocol's entries.

    Args:
      protocol: says which data set; the entries of `divergence` are of others, made alike.
      folder: of the runs and searches.
      places: where the data lie.
    """

    def __init__(self, protocol: Protocol, folder: pathlib.Path, places: Settings):
        self.protocol, self.folder, self.places = protocol, folder, places
        self._known: dict[str, Any] = {}  # see `_once`
        config = configured(protocol, places)
        self.data = self.data_of(config)
        # Models from outside are measured without weights, so none stands in such a table.
        self.weighted = with_sample_weights(config, self.data).evaluate.sample_weights

    def data_of(self, config: ConfigDict) -> Prepared:
        """A config's data set; prepared where it is not there."""
        return self._once(f"data {config.data.options}", lambda: read_data(config))

    def size(self, entry: Entry) -> Size:
        """Of an entry's model, trained or not."""
        settings = (self.protocol.settings(entry.tuned_as), entry.settings)
        config = lambda: configured(self.protocol, *settings, self.places)  # noqa: E731
        return self._once(f"size {digest(*settings)}", lambda: build_run(config()).size)

    # ---------------------------------------------------------------- searches

    def tuning(self, name: str) -> dict | None:
        """An entry's tuning, after the transfer where the protocol has one; None: not yet."""
        if not self.protocol.trials:
            return tune.UNTUNED
        tried = self._tried(name)
        return None if tried is None else self._read(name, tried)

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

    def _search(self, name: str) -> tuple[pathlib.Path, ConfigDict, Prepared]:
        """The folder of an entry's search, what its trials start from, and their data."""
        protocol = self.protocol

        def located() -> tuple[pathlib.Path, ConfigDict, Prepared]:
            config, data = self._located(protocol.settings(name), {"seed": 0})
            how = (protocol.trials, protocol.finalists, protocol.finalist_seeds)
            beside = protocol.beside.get(protocol.entry_of(name))
            how += (tune.PRUNER, tune.space_of(protocol.config, beside))
            facts = digest(changed(config), data.fingerprint, how)
            return self.folder / f"{name}-search-{facts}", config, data

        return self._once(f"search {name}", located)

    def _file(self, name: str, tried: Mapping[str, dict]) -> pathlib.Path:
        """Where a tuning is kept."""
        others = {n: tuning["settings"] for n, tuning in tried.items()}
        file = f"tuning-{digest(others)}.json" if tried else "tuning.json"
        return self._search(name)[0] / file

    def _read(self, name: str, tried: Mapping[str, dict]) -> dict | None:
        path = self._file(name, tried)
        anew = "delete it, and the same command makes it anew from the trials beside it"
        return files.read_json(path, anew) if path.exists() else None

    def _tune(self, name: str, tried: Mapping[str, dict], label: str) -> None:
        """Searches an entry's settings or, then, tries those of the others, where it is not done;
        raises Busy where another process does it."""
        if self._read(name, tried) is not None:
            return
        folder, config, data = self._search(name)
        folder.mkdir(parents=True, exist_ok=True)
        held = files.locked(folder / "lock")
        if held is None:
            raise Busy(label)
        with held:
            screen.say(label, style="bold")
            tuning = tune.tune(self.protocol, name, config, data, folder, tried)
            files.write_whole(self._file(name, tried), json.dumps(tuning, indent=1) + "\n")

    # ---------------------------------------------------------------- final runs

    def run(self, entry: Entry, seed: int) -> tuple[ConfigDict, pathlib.Path] | None:
        """The config and the folder of a final run; None where its search is not done yet."""
        searches = self.protocol.searches_of(entry.tuned_as)
        tuning = self.tuning(searches[(seed - 1) % len(searches)])
        if tuning is None:
            return None
        own = self.protocol.settings(entry.tuned_as)
        settings = (own, tuning["settings"], entry.settings, {"seed": seed})

        def located() -> tuple[ConfigDict, pathlib.Path]:
            config, data = self._located(*settings)
            return config, self.folder / name_of(config, data.fingerprint)

        return self._once(f"run {digest(*settings)}", located)

    def seeds_of(self, entry: Entry) -> range:
        return range(1, self.protocol.runs_of(entry.tuned_as) + 1)

    def finished(self, entry: Entry) -> list[Found]:
        """What the finished runs of an entry found, by seed."""
        runs = [self.run(entry, seed) for seed in self.seeds_of(entry)]
        return [
            read(config, folder, self.protocol.draws)
            for config, folder in filter(None, runs)
            if ended(folder)
        ]

    def _train(self, config: ConfigDict, folder: pathlib.Path, label: str) -> None:
        """Trains a final run, where it is not done; raises Busy where another process does."""
        if ended(folder):
            return
        if in_use(folder):
            raise Busy(label)
        screen.say(label, style="bold")
        train(config, folder)
        draw(folder, self.protocol.draws)
        jax.clear_caches()  # of the many programs of a table each is wanted once

    def make(self, entries: Sequence[Entry]) -> Iterator[list[str]]:
        """Tunes the entries, then trains them seed by seed; yields what failed after each round.

        What another process does is left for later, and waited for when nothing else is left.
        Whatever one run dies of, the others are made; an entry whose tuning failed has no runs.
        """
        transfer, part = self.protocol.transfer, functools.partial
        tuned = dict.fromkeys(s for e in entries for s in self.protocol.searches_of(e.tuned_as))
        missing = [name for name in tuned if self.tuning(name) is None]
        searched = self.protocol.entries if missing and transfer else missing
        yield from self._do([{f"tuning {name}": part(self._tune, name, {}) for name in searched}])
        others = {n: self._tried(n) for n in missing} if transfer else {}
        failed = [name for name, tried in others.items() if tried is None]
        yield [f"{name}: it tries the settings of all, and a search failed" for name in failed]
        jobs = {
            f"{n}, settings of the others": part(self._tune, n, of)
            for n, of in others.items()
            if of is not None
        }
        yield from self._do([jobs])
        rounds: dict[int, Jobs] = {}
        for entry in entries:
            for seed in self.seeds_of(entry):
                if (run := self.run(entry, seed)) and not ended(run[1]):
                    jobs = rounds.setdefault(seed, {})
                    jobs[f"{entry.name}, seed {seed}"] = part(self._train, *run)
        yield from self._do([rounds[seed] for seed in sorted(rounds)])

    def _do(self, rounds: Sequence[Jobs]) -> Iterator[list[str]]:
        """Does all jobs; yields after each round what failed in it."""
        waits = False
        while left := sum(map(len, rounds)):
            for jobs in filter(None, rounds):
                yield self._round(jobs)
            if left == sum(map(len, rounds)):
                if not waits:
                    labels = ", ".join(label for jobs in rounds for label in jobs)
                    screen.say(f"another process does {labels}: waiting for it")
                waits = True
                time.sleep(LOOK)

    def _round(self, jobs: Jobs) -> list[str]:
        """Does what no other process does, and takes it off the jobs; returns what failed."""
        problems = []
        for label, job in [*jobs.items()]:
            try:
                with disk_errors(self.folder):
                    job(label=label)
            except Busy:
                continue
            except Exception as error:
                problems.append(f"  {label}: {reason(error)}")
            del jobs[label]
        return problems

    def _located(self, *settings: Settings) -> tuple[ConfigDict, Prepared]:
        """The config of these settings as its runs have it, and its data."""
        config = configured(self.protocol, *settings, self.places)
        data = self.data_of(config)
        return tune.validated(config, data), data

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` makes, which takes longer than all else that is done with runs."""
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]


def name_of(config: ConfigDict, fingerprint: str) -> str:
    """The name of a run's folder: readable, and of what it computes on these data alone."""
    facts = digest(changed(config), fingerprint)
    return f"{config.model.architecture}-seed{config.seed}-{facts}"


def ended(folder: pathlib.Path) -> bool:
    return (folder / outcome.RESULTS).exists()


def machine() -> str:
    return f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} cores"


def draw(folder: pathlib.Path, draws: int) -> None:
    """Leaves a finished run's AUCs under so many draws in its folder."""
    schema = Schema.load(folder / "schema.json")
    facts = outcome.run_facts(folder)
    scores = read_predictions(folder / outcome.PREDICTIONS, schema)
    weighted = bool(facts["config"]["evaluate"]["sample_weights"])
    aucs = resampled_aucs(scores, schema, weighted, draws)
    with files.replacing(folder / DRAWN) as temporary, temporary.open("wb") as file:
        np.savez(file, **{DEVICE: np.array(machine())}, **aucs)


def read(config: ConfigDict, folder: pathlib.Path, draws: int) -> Found:
    """What the finished run of a folder found.

    Args:
      config, folder: of the run.
      draws: of the test rows, where they were not drawn yet.

    Raises:
      UserError: results.json is damaged, or was changed.
    """
    results = outcome.read(folder)
    facts = outcome.run_facts(folder)
    if not (folder / DRAWN).exists():
        draw(folder, draws)
    with np.load(folder / DRAWN) as file:
        aucs = {key: file[key] for key in file.files}
    rate, examples = results["examples_per_second"], results["steps"] * config.data.batch_size
    return Found(
        name=folder.name,
        results=results,
        config={key: str(value) for key, value in identity(config).items()},
        device=str(aucs.pop(DEVICE)),
        draws=aucs,
        train_seconds=examples / rate if rate else None,
        versions=facts["versions"],
        date=datetime.date.fromtimestamp((folder / outcome.RESULTS).stat().st_mtime).isoformat(),
    )

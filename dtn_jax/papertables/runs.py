"""The runs of a protocol's tables: where each one lies, what it found, and how the others are made.

    FOLDER/NAME-search-HASH/          an entry's search: tuning.json, and Optuna's trials
    FOLDER/ARCHITECTURE-seedN-HASH/   a final run: a run folder as `train` leaves it, and draws.npz

The hash is of what is computed: the options that are not as usual, and the data. So all tables that
want a run share it, and a table can be resumed or extended. A run folder is locked by its run, a
search by this module, so that several processes may share the work; a killed run resumes.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
import pathlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dtn_jax import files
from dtn_jax.config import identity
from dtn_jax.data.prepared import Prepared
from dtn_jax.errors import UserError, disk_errors
from dtn_jax.losses.sample_weights import with_sample_weights
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
from dtn_jax.run.evaluate import read_predictions
from dtn_jax.run.replicas import train_replicas
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train
from dtn_jax.run.workdir import Busy, in_use
from dtn_jax.schema import Schema

LOOK = 2  # seconds between two looks at what another process does
DRAWS = "draws.npz"  # of a run: its AUCs under each draw of the test rows, and where it ran
DEVICE, TOGETHER = "device", "together"  # parts of that file that are no draws


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
      together: whether an entry's seeds are trained as replicas in one program.
    """

    def __init__(
        self, protocol: Protocol, folder: pathlib.Path, places: Settings, together: bool = False
    ):
        self.protocol, self.folder = protocol, folder
        self.places, self.together = places, together
        self.tunings = tune.Tunings(protocol, folder, self._located)
        self._known: dict[str, Any] = {}  # see `_once`
        config = configured(protocol, places)
        self.data = self.data_of(config)
        # Models from outside are measured without weights, so none stands in such a table.
        self.weighted = with_sample_weights(config, self.data).evaluate.sample_weights

    def data_of(self, config: ConfigDict) -> Prepared:
        """A config's data set; prepared where it is not there."""
        return self._once(f"data {config.data.options}", lambda: tune.data_of(config))

    def notes_of(self, entry: Entry) -> Mapping:
        """What is known of the data of an entry's runs, such as the best AUC."""
        return self.data_of(configured(self.protocol, entry.settings, self.places)).notes

    def size(self, entry: Entry) -> Size:
        """Of an entry's model, trained or not."""
        own = self.protocol.own(entry.tuned_as)
        config = lambda: configured(self.protocol, own, entry.settings, self.places)  # noqa: E731
        return self._once(f"size {digest(own, entry.settings)}", lambda: build_run(config()).size)

    def run(self, entry: Entry, seed: int) -> tuple[ConfigDict, pathlib.Path] | None:
        """The config and the folder of a final run; None where the entry is not tuned yet."""
        tuning = self.tunings.read(entry.tuned_as)
        if tuning is None:
            return None
        own = self.protocol.own(entry.tuned_as)
        config, data = self._located(own, tuning["settings"], entry.settings, {"seed": seed})
        return config, self.folder / name_of(config, data.fingerprint)

    def found(self, entry: Entry) -> list[Found]:
        """What the finished runs of an entry found, by seed."""
        runs = [self.run(entry, seed) for seed in range(1, self.protocol.seeds + 1)]
        return [read(config, folder) for config, folder in filter(None, runs) if ended(folder)]

    def make(self, entries: Sequence[Entry]) -> Iterator[list[str]]:
        """Tunes the entries, then trains them seed by seed; yields what failed after each round.

        What another process does is left for later, and waited for when nothing else is left.
        Whatever one run dies of, the others are made.
        """
        left = self._rounds(entries)
        told = False
        while left:
            later, problems = [], []
            for place, (round_, label, job) in enumerate(left):
                try:
                    with disk_errors(self.folder):
                        job(label)
                except Busy:
                    later.append(left[place])
                except UserError as error:
                    problems.append(f"  {label}: {error}")
                except Exception as error:
                    why = f"{type(error).__name__}: {error}"
                    if isinstance(error, OSError):
                        why = told(error)
                    else:
                        traceback.print_exc()
                    problems.append(f"  {label}: {why}")
                if place + 1 == len(left) or left[place + 1][0] != round_:
                    yield problems
                    problems = []
            if len(later) == len(left):
                if not told:
                    others = ", ".join(label for _, label, _ in left)
                    screen.say(f"another process does {others}: waiting for it")
                told = True
                time.sleep(LOOK)
            left = later

    def _rounds(self, entries: Sequence[Entry]) -> list[tuple[int, str, Callable[[str], None]]]:
        """(round, what to say, what to do) of all that is not done."""
        names = list(dict.fromkeys(entry.tuned_as for entry in entries))
        jobs = list(self.tunings.missing(names))
        seeds = tuple(range(1, self.protocol.seeds + 1))
        for some in [seeds] if self.together else [(seed,) for seed in seeds]:
            for entry in entries:
                runs = {seed: self.run(entry, seed) for seed in some}
                if lacking := tuple(s for s, run in runs.items() if not run or not ended(run[1])):
                    label = f"{entry.name}, seed {', '.join(map(str, lacking))}"
                    jobs.append(
                        (1 + some[0], label, functools.partial(self._train, entry, lacking))
                    )
        return jobs

    def _located(self, *settings: Settings) -> tuple[ConfigDict, Prepared]:
        """The config of these settings as its runs have it, and its data."""

        def made() -> tuple[ConfigDict, Prepared]:
            config = configured(self.protocol, *settings, self.places)
            data = self.data_of(config)
            return tune.validated(config, data), data

        return self._once(f"config {digest(*settings)}", made)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` makes, which takes longer than all else that is done with runs."""
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    def _train(self, entry: Entry, seeds: Sequence[int], label: str) -> None:
        """Trains an entry's seeds.

        Raises:
          Busy: another process does, or tunes the entry.
        """
        runs = [self.run(entry, seed) for seed in seeds]
        if None in runs:
            if self.tunings.is_lost(entry.tuned_as):
                return  # that was told
            raise Busy(f"{entry.tuned_as} is not tuned yet")
        left = [(config, folder) for config, folder in runs if not ended(folder)]
        if not left:
            return
        if any(in_use(folder) for _, folder in left):
            raise Busy(label)
        screen.say(label, style="bold")
        if len(left) > 1 and train_together(left):
            return
        problems = []
        for config, folder in left:
            try:
                train(config, folder)
                draw(folder)
            except Busy:
                raise
            except UserError as error:
                problems.append(f"seed {config.seed}: {error}")
            jax.clear_caches()  # of the many programs of a table each is wanted once
        if problems:
            raise UserError("; ".join(problems))


def train_together(runs: Sequence[tuple[ConfigDict, pathlib.Path]]) -> bool:
    """Trains runs that differ in their seeds alone in one program; whether that could be done: the
    fault of one is that of all."""
    first, alone = runs[0]
    together = ConfigDict(first.to_dict()).lock()
    together.replicas = "seed=" + ",".join(str(config.seed) for config, _ in runs)
    place = alone.with_name(f"{alone.name}-{len(runs)}-together")
    try:
        train_replicas(together, place)
    except Busy:
        raise
    except Exception as error:  # memory may run out for all, and do for one
        if not isinstance(error, UserError):
            traceback.print_exc()
        screen.say(f"{error}: one after another, then")
        return False
    finally:
        jax.clear_caches()
    for i, (_, folder) in enumerate(runs):
        draw(place / f"replica_{i}", len(runs))
        (place / f"replica_{i}").rename(folder)
    return True


def name_of(config: ConfigDict, fingerprint: str) -> str:
    """The name of a run's folder: readable, and of what it computes on these data alone."""
    own = digest(changed(config), fingerprint)
    return f"{config.model.architecture}-seed{config.seed}-{own}"


def ended(folder: pathlib.Path) -> bool:
    return (folder / outcome.RESULTS).exists()


def draw(folder: pathlib.Path, together: int = 1) -> None:
    """Leaves a finished run's draws in its folder; `together`: runs that shared its time."""
    schema = Schema.load(folder / "schema.json")
    facts = outcome.run_facts(folder)
    scores = read_predictions(folder / outcome.PREDICTIONS, schema)
    weighted = bool(facts["config"]["evaluate"]["sample_weights"])
    device = f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} cores"
    own = {DEVICE: np.array(device), TOGETHER: np.array(together)}
    with files.replacing(folder / DRAWS) as temporary, temporary.open("wb") as file:
        np.savez(file, **own, **resampled_aucs(scores, schema, weighted))


def read(config: ConfigDict, folder: pathlib.Path) -> Found:
    """What the finished run of a folder found.

    Raises:
      UserError: results.json is damaged, or was changed.
    """
    results = outcome.read(folder)
    facts = outcome.run_facts(folder)
    if not (folder / DRAWS).exists():
        draw(folder)
    with np.load(folder / DRAWS) as file:
        draws = {key: file[key] for key in file.files}
    device, together = str(draws.pop(DEVICE)), int(draws.pop(TOGETHER))
    rate, examples = results["examples_per_second"], results["steps"] * config.data.batch_size
    return Found(
        name=folder.name,
        results=results,
        config={key: str(value) for key, value in identity(config).items()},
        draws=draws,
        train_seconds=examples / rate / together if rate else None,
        versions=facts["versions"],
        device=device,
        date=datetime.date.fromtimestamp((folder / outcome.RESULTS).stat().st_mtime).isoformat(),
    )

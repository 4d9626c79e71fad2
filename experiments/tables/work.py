"""The runs of a protocol's tables: which there are, and how the others are done."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import traceback
from collections.abc import Callable, Iterator, Sequence

from ml_collections import ConfigDict

from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.models.flops import Size
from dtn_jax.report import screen
from dtn_jax.run import build_run

from . import cells, kept, tuning
from .jobs import share
from .protocol import Entry, Protocol, Settings, configured


class Work:
    """A protocol's runs.

    Args:
      protocol: says which data set; the entries of `divergence` are of others, made alike.
      folder: of tables, cells and tunings.
      runs: of the runs' own folders.
      places: where the data lie.
      together: whether an entry's seeds are replicas in one program.
    """

    def __init__(
        self,
        protocol: Protocol,
        folder: pathlib.Path,
        runs: pathlib.Path,
        places: Settings,
        together: bool,
    ):
        self.protocol, self.folder = protocol, folder
        self.runs, self.places = runs, places
        self.together = together
        self.sets: dict[str, Prepared] = {}  # see `data_at`
        self.data = self.data_at(configured(protocol, places))
        self.dataset = self.data.schema.name
        self.sizes: dict[str, Size] = {}
        self.untuned: set[str] = set()  # entries whose tuning failed here
        self.made: dict[str, tuple[ConfigDict, list[str]]] = {}  # see `named`

    def data_at(self, config: ConfigDict) -> Prepared:
        """The data set of a config of the protocol's; prepared where it is not there."""
        options = config.data.options
        if options not in self.sets:
            self.sets[options] = load(config)
        return self.sets[options]

    def data_of(self, entry: Entry) -> Prepared:
        """The data set of an entry's runs."""
        return self.data_at(configured(self.protocol, entry.settings, self.places))

    def size(self, entry: Entry) -> Size:
        """Of an entry's model, trained or not."""
        own = self.protocol.own(entry.tuned_as)
        key = cells.digest(own, entry.settings)
        if key not in self.sizes:
            config = configured(self.protocol, own, entry.settings, self.places)
            self.sizes[key] = build_run(config).size
        return self.sizes[key]

    # What there is.

    def named(
        self, name_of: Callable[..., str], what: str, *settings: Settings
    ) -> tuple[ConfigDict, list[str]]:
        """The config of these settings, and the names that what is kept of it may have.

        Made once: it takes longer than all else that is done with what is kept.
        """
        key = cells.digest(what, *settings)
        if key not in self.made:
            config = configured(self.protocol, *settings)
            data = self.data_at(config)
            config = tuning.validated(config, data)
            names = [name_of(config, data, changes) for changes in cells.NAMED_BY]
            self.made[key] = config, names
        return self.made[key]

    def tuning_file(self, name: str) -> tuple[pathlib.Path, ConfigDict]:
        """Where the tuning of an entry of `overall` is kept, and what its trials start from."""
        name_of = functools.partial(tuning.tuning_name, self.protocol, name)
        start = tuning.start(self.protocol, name, self.places)
        config, names = self.named(name_of, f"tuning {name}", *start)
        return cells.place(self.folder / "tuning", *names), config

    def tuning(self, name: str) -> dict | None:
        if not self.protocol.trials:
            return tuning.UNTUNED
        return self.kept(*self.tuning_file(name), cells.TUNING)

    def cell_file(self, entry: Entry, seed: int) -> tuple[pathlib.Path, ConfigDict]:
        """Where a final run's cell is kept, and the run's config; it must have been tuned."""
        own = self.protocol.own(entry.tuned_as)
        tuned = self.tuning(entry.tuned_as)["settings"]
        last = {"seed": seed, **self.places}
        config, names = self.named(cells.name_of, "cell", own, tuned, entry.settings, last)
        return cells.place(self.folder / "cells", *names), config

    def cell(self, entry: Entry, seed: int) -> dict | None:
        return self.kept(*self.cell_file(entry, seed), cells.CELL)

    def kept(self, path: pathlib.Path, config: ConfigDict, parts: Sequence[str]) -> dict | None:
        """What is kept of a config; a damaged one is set aside, so that its run is done again."""
        try:
            return cells.read_own(path, config, parts)
        except kept.Damaged as error:
            aside = kept.set_aside(path)
            screen.say(f"{error}: it is now {aside.name}, and what it held is computed anew")
            return None

    def cells(self, entry: Entry) -> list[dict]:
        """Those of an entry that there are."""
        if not self.tuning(entry.tuned_as):
            return []
        found = [self.cell(entry, seed) for seed in range(1, self.protocol.seeds + 1)]
        return [cell for cell in found if cell]

    # What is done.

    def do(self, entries: Sequence[Entry]) -> Iterator[list[str]]:
        """Tunes, then trains seed by seed; yields when all entries have one more, or all seeds.

        An entry that another process still tunes is left for later. What is yielded is what could
        not be done. Nothing is yielded where all is there.
        """
        self.untuned.clear()
        names = list(dict.fromkeys(e.tuned_as for e in entries))
        tunings = {
            f"tuning {n}": functools.partial(self.tune, n) for n in names if not self.tuning(n)
        }
        seeds = tuple(range(1, self.protocol.seeds + 1))
        rounds = [tunings]
        for some in [seeds] if self.together else [(seed,) for seed in seeds]:
            rounds.append({})
            for entry in entries:
                tuned = self.tuning(entry.tuned_as)
                missing = tuple(s for s in some if not tuned or not self.cell(entry, s))
                if missing:
                    label = f"{entry.name}, seed {', '.join(map(str, missing))}"
                    rounds[-1][label] = functools.partial(self.train, entry, missing)
        yield from share(rounds, self.runs)

    @contextlib.contextmanager
    def alone(self, names: Sequence[str]) -> Iterator[bool]:
        """Holds the locks of these names, or yields False where another process has one."""
        with contextlib.ExitStack() as stack:
            locks = [self.folder / "locks" / f"{name}.lock" for name in names]
            yield all(stack.enter_context(kept.alone(lock)) for lock in locks)

    def tune(self, name: str, label: str) -> bool | None:
        """Tunes an entry; a Job."""
        try:
            path, config = self.tuning_file(name)
            with self.alone([path.stem]) as held:
                if not held or self.tuning(name):
                    return None if held else False
                screen.say(label, style="bold")
                data = self.data_at(config)
                run = self.runs / f"{name}-{cells.run_name(config, data)}"
                kept.keep(path, tuning.tune(self.protocol, name, config, data, run))
        except Exception:
            self.untuned.add(name)
            raise
        return True

    def train(self, entry: Entry, seeds: Sequence[int], label: str) -> bool | None:
        """Trains an entry's seeds; a Job."""
        if not self.tuning(entry.tuned_as):
            return None if entry.tuned_as in self.untuned else False
        files = {seed: self.cell_file(entry, seed) for seed in seeds}
        with self.alone([path.stem for path, _ in files.values()]) as held:
            left = [seed for seed in seeds if not self.cell(entry, seed)]
            if not held or not left:
                return None if held else False
            screen.say(label, style="bold")
            if len(left) > 1 and self.train_together([files[seed] for seed in left]):
                return True
            problems = []
            for path, config in (files[seed] for seed in left):
                try:
                    data = self.data_at(config)
                    run = self.runs / cells.run_name(config, data)
                    kept.keep(path, cells.compute(config, data, run))
                except UserError as error:
                    problems.append(f"seed {config.seed}: {error}")
            if problems:
                raise UserError("; ".join(problems))
        return True

    def train_together(self, files: Sequence[tuple[pathlib.Path, ConfigDict]]) -> bool:
        """Trains the configs of these cells in one program; whether that could be done: the fault
        of one is that of all."""
        paths, configs = zip(*files)
        data = self.data_at(configs[0])
        alone = self.runs / cells.run_name(configs[0], data)
        run = alone.with_name(f"{alone.name}-{len(files)}-together")
        try:
            found = cells.compute_together(configs, data, run)
        except Exception as error:  # memory may run out for all, and do for one
            if not isinstance(error, UserError):
                traceback.print_exc()
            screen.say(f"{error}: one after another, then")
            return False
        for path, cell in zip(paths, found):
            kept.keep(path, cell)
        return True


def data_of(protocol: Protocol, places: Settings) -> Prepared:
    """The data set that a protocol compares on."""
    return load(configured(protocol, places))


def load(config: ConfigDict) -> Prepared:
    """A config's data set."""
    source = config.data
    return catalog.load(source.dataset, source.options, source.data_dir, source.manual_dir)

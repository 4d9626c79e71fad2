"""The runs of a protocol's tables: which there are, and how the others are done."""

from __future__ import annotations

import functools
import pathlib
import traceback
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from dtn_jax.data.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.losses.sample_weights import with_sample_weights
from dtn_jax.models.flops import Size
from dtn_jax.papertables import cells, kept
from dtn_jax.papertables.jobs import share
from dtn_jax.papertables.protocol import Entry, Protocol, Settings, configured
from dtn_jax.papertables.tunings import Tunings, load
from dtn_jax.report import screen
from dtn_jax.run import build_run


class Work(Tunings):
    """A protocol's runs, and its tunings.

    Args:
      protocol: says which data set; the entries of `divergence` are of others, made alike.
      folder, runs, places: as in Tunings.
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
        super().__init__(protocol, folder, runs, places)
        self.together = together
        config = configured(protocol, places)
        self.data = self.data_at(config)
        # Models from outside are measured without weights, so none stands in such a table.
        self.weighted = with_sample_weights(config, self.data).evaluate.sample_weights
        self.dataset = self.data.schema.name
        self.sizes: dict[str, Size] = {}

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

    def cell_file(self, entry: Entry, seed: int) -> tuple[pathlib.Path, ConfigDict]:
        """Where a final run's cell is kept, and the run's config; it must have been tuned."""
        own = self.protocol.own(entry.tuned_as)
        tuned = self.tuning(entry.tuned_as)["settings"]
        last = {"seed": seed, **self.places}
        config, names = self.named(cells.name_of, "cell", own, tuned, entry.settings, last)
        return cells.place(self.folder / "cells", *names), config

    def cell(self, entry: Entry, seed: int) -> dict | None:
        return self.kept(*self.cell_file(entry, seed), cells.CELL)

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
        self.untried.clear()
        rounds = self.jobs(list(dict.fromkeys(e.tuned_as for e in entries)))
        tunings, seeds = len(rounds), tuple(range(1, self.protocol.seeds + 1))
        for some in [seeds] if self.together else [(seed,) for seed in seeds]:
            rounds.append({})
            for entry in entries:
                tuned = self.tuning(entry.tuned_as)
                missing = tuple(s for s in some if not tuned or not self.cell(entry, s))
                if missing:
                    label = f"{entry.name}, seed {', '.join(map(str, missing))}"
                    rounds[-1][label] = functools.partial(self.train, entry, missing)
        yield from share(rounds, self.runs, tunings)

    def train(self, entry: Entry, seeds: Sequence[int], label: str) -> bool | None:
        """Trains an entry's seeds; a Job."""
        if not self.tuning(entry.tuned_as):
            return None if self.lost(entry.tuned_as) else False
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

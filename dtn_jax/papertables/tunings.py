"""The tunings of a protocol's entries: which there are, and how the others are done."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from ml_collections import ConfigDict

from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.papertables import cells, kept, tuning
from dtn_jax.papertables.jobs import Job
from dtn_jax.papertables.protocol import Protocol, Settings, configured
from dtn_jax.papertables.transfer import FEW, transfer
from dtn_jax.report import screen


class Tunings:
    """The tunings of a protocol's entries, kept in a folder.

    Args:
      protocol: says which data set, and how entries are tuned.
      folder: of tables, cells and tunings.
      runs: of the runs' own folders.
      places: where the data lie.
    """

    def __init__(
        self,
        protocol: Protocol,
        folder: pathlib.Path,
        runs: pathlib.Path,
        places: Settings,
    ):
        self.protocol, self.folder = protocol, folder
        self.runs, self.places = runs, places
        self.sets: dict[str, Prepared] = {}  # see `data_at`
        self.untuned: set[str] = set()  # entries whose search failed here
        self.untried: set[str] = set()  # entries that could not try the others' settings here
        self.found: dict[str, dict] = {}  # see `searches`
        self.made: dict[str, tuple[ConfigDict, list[str]]] = {}  # see `named`

    def data_at(self, config: ConfigDict) -> Prepared:
        """The data set of a config of the protocol's; prepared where it is not there."""
        options = config.data.options
        if options not in self.sets:
            self.sets[options] = load(config)
        return self.sets[options]

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

    def kept(self, path: pathlib.Path, config: ConfigDict, parts: Sequence[str]) -> dict | None:
        """What is kept of a config; a damaged one is set aside, so that its run is done again."""
        try:
            return cells.read_own(path, config, parts)
        except kept.Damaged as error:
            aside = kept.set_aside(path)
            screen.say(f"{error}: it is now {aside.name}, and what it held is computed anew")
            return None

    # What there is.

    def search_file(self, name: str) -> tuple[pathlib.Path, ConfigDict]:
        """Where the search of an entry of `overall` is kept, and what its trials start from."""
        name_of = functools.partial(tuning.tuning_name, self.protocol, name)
        start = tuning.start(self.protocol, name, self.places)
        config, names = self.named(name_of, f"tuning {name}", *start)
        return cells.place(self.folder / "tuning", *names), config

    def tuning(self, name: str) -> dict | None:
        """An entry's tuning, after the transfer where the protocol has one."""
        if not self.protocol.transfer:
            return self.search(name)
        others = self.searches()
        return self.kept(*self.transfer_file(name, others), cells.TUNING) if others else None

    def search(self, name: str) -> dict | None:
        """An entry's tuning as its own search found it."""
        if not self.protocol.trials:
            return tuning.UNTUNED
        return self.kept(*self.search_file(name), cells.TUNING)

    def searches(self) -> dict[str, dict] | None:
        """Those of all entries; None while one is missing."""
        for name in self.protocol.entries:
            if name not in self.found:
                found = self.search(name)
                if found is None:
                    return None
                self.found[name] = found
        return self.found

    def transfer_file(
        self, name: str, others: Mapping[str, dict]
    ) -> tuple[pathlib.Path, ConfigDict]:
        """Where an entry's tuning is kept after the transfer of these searches' settings."""
        path, config = self.search_file(name)
        # FEW stands for the rule of the transfer: what was found by another rule is not taken
        tried = {n: found["settings"] for n, found in others.items()} | self.protocol.given
        own = cells.digest(FEW, tried)
        return path.with_name(f"{path.stem}-transfer-{own}.json"), config

    # What is done.

    @contextlib.contextmanager
    def alone(self, names: Sequence[str]) -> Iterator[bool]:
        """Holds the locks of these names, or yields False where another process has one."""
        with contextlib.ExitStack() as stack:
            locks = [self.folder / "locks" / f"{name}.lock" for name in names]
            yield all(stack.enter_context(kept.alone(lock)) for lock in locks)

    def jobs(self, names: Sequence[str]) -> list[dict[str, Job]]:
        """What is left to do for the tunings of these entries, in rounds: the searches, those of
        all entries where they try each other's settings, and that."""
        left = [name for name in names if not self.tuning(name)]
        searched = self.protocol.entries if left and self.protocol.transfer else left
        searches = {
            f"tuning {n}": functools.partial(self.tune, n) for n in searched if not self.search(n)
        }
        if not self.protocol.transfer:
            return [searches]
        tried = {
            f"{n}, settings of the others": functools.partial(self.try_others, n) for n in left
        }
        return [searches, tried]

    def lost(self, name: str) -> bool:
        """Whether an entry's tuning failed here, or another's search, whose settings it tries."""
        return name in self.untuned | self.untried or bool(self.protocol.transfer and self.untuned)

    def tune(self, name: str, label: str) -> bool | None:
        """Tunes an entry; a Job."""
        try:
            path, config = self.search_file(name)
            with self.alone([path.stem]) as held:
                if not held or self.search(name):
                    return None if held else False
                screen.say(label, style="bold")
                data = self.data_at(config)
                run = self.runs / f"{name}-{cells.run_name(config, data)}"
                kept.keep(path, tuning.tune(self.protocol, name, config, data, run))
        except Exception:
            self.untuned.add(name)
            raise
        return True

    def try_others(self, name: str, label: str) -> bool | None:
        """Lets an entry try the settings of the others; a Job."""
        others = self.searches()
        if others is None and self.untuned:
            lost = ", ".join(sorted(self.untuned))
            raise UserError(
                f"not tuned: it tries the settings of all, and the search of {lost} failed"
            )
        if others is None:  # another process makes them
            return False
        try:
            path, config = self.transfer_file(name, others)
            with self.alone([path.stem]) as held:
                if not held or self.kept(path, config, cells.TUNING):
                    return None if held else False
                screen.say(label, style="bold")
                data = self.data_at(config)
                run = self.runs / f"{name}-{cells.run_name(config, data)}"
                found = transfer(self.protocol, name, others, config, data, run)
                kept.keep(path, found)
        except Exception:
            self.untried.add(name)
            raise
        return True


def load(config: ConfigDict) -> Prepared:
    """A config's data set."""
    source = config.data
    return catalog.load(source.dataset, source.options, source.data_dir, source.manual_dir)

"""The suite's cells: one fault in one command or kind of file each, and how many times."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping

from experiments.benchmarks.faults import damage, disk, kills, together
from experiments.benchmarks.faults.bench import Bench
from experiments.benchmarks.faults.tally import Tally

SEED = 0
QUICK_WORKS = ("train, device", "prepare")
PAIRS = ("train, device", "prepare")  # are called twice at once


@dataclasses.dataclass(frozen=True)
class Times:
    """How many faults a cell injects.

    Attributes:
      kills: of each command.
      disks: that get full, for each command.
      pairs: of calls at once, of each command.
      damages: of the files of each name.
      few: of those whose reading takes a second or more.
    """

    kills: int = 50
    disks: int = 7
    pairs: int = 5
    damages: int = 300
    few: int = 60


QUICK = Times(kills=2, disks=1, pairs=1, damages=1, few=1)
SLOW_TO_READ = ("finished run", "model")


def cells(bench: Bench, quick: bool) -> Mapping[str, Callable[[pathlib.Path], Tally]]:
    """{name: what injects the faults, in an empty folder}, those that take longest first."""
    times = QUICK if quick else Times()
    works = [bench.works[name] for name in (QUICK_WORKS if quick else bench.works)]
    pairs = [bench.works[name] for name in PAIRS]
    found: dict[str, Callable[[pathlib.Path], Tally]] = {}
    for work in works:
        found[f"killed, {work.name}"] = lambda place, work=work: kills.killed(
            bench.server, work, place, times.kills, SEED
        )
    for work in pairs:
        found[f"together, {work.name}"] = lambda place, work=work: together.two_at_once(
            (bench.server, bench.other_server), work, place, times.pairs
        )
    for work in works[:1] if quick else works:
        found[f"full disk, {work.name}"] = lambda place, work=work: disk.on_full_disks(
            bench.server, work, place, times.disks
        )
        found[f"read-only disk, {work.name}"] = lambda place, work=work: disk.on_shut_disk(
            bench.server, work, place
        )
    for kind in bench.kinds.values():
        each = times.few if kind.name in SLOW_TO_READ else times.damages
        for name in damage.files_by_name(kind):
            found[f"damaged, {kind.name}, {name}"] = functools.partial(
                damage.damaged, kind, name, times=each, seed=SEED
            )
    return found


@functools.lru_cache(1)
def bench_of(folder: pathlib.Path) -> Bench:
    """One a process, since its servers are."""
    return Bench(folder)


def run_cell(folder: pathlib.Path, quick: bool, name: str) -> Tally:
    """How its faults ended; kept in the folder, and read there by another call."""
    kept = folder / f"{name.replace('/', '|')}.json"
    if kept.exists():
        return Tally(**json.loads(kept.read_text()))
    inject = cells(bench_of(folder / "bench"), quick)[name]
    with tempfile.TemporaryDirectory(prefix="faults") as place:
        tally = inject(pathlib.Path(place))
    written = kept.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps(dataclasses.asdict(tally)))
    written.replace(kept)
    return tally

"""Faults that are injected, and how each ends: survived, named, lost, or wrong in silence.

Commands are killed at random moments, starved of disk, and called twice at once; files are damaged.
What comes out must be an undisturbed call's, bit by bit but for speeds, or an error that names the
fault and its remedy. results/benchmark/faults.md has the table of the last whole run.
"""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence

import rich.progress

from dtn_jax.report import screen
from experiments.benchmarks.faults.cells import bench_of, cells, run_cell
from experiments.benchmarks.faults.page import PAGE, page
from experiments.benchmarks.faults.tally import Tally
from experiments.benchmarks.kept import kept_folder
from experiments.benchmarks.measured import Goal, Measured, Options
from experiments.benchmarks.racers import ROOT

PROCESSES = 2
NOTES = [
    "survived: the numbers of an undisturbed call. named: an error that says what is wrong, and "
    "what to do. lost: a traceback, a hang, or work that cannot be gone on with. wrong: other "
    "numbers without a word.",
    "Kills come at moments that are uniform over the seconds of an uncut call; those that came "
    "after its end are not counted. Signals take turns. What an earlier call had done is not done "
    "again; the seconds are those of the last call.",
]


def measure(options: Options) -> Measured:
    code = [
        p for part in ("dtn_jax", "experiments", "configs") for p in (ROOT / part).rglob("*.py")
    ]
    quick = options.quick
    folder = kept_folder(
        pathlib.Path(options.out).absolute() / "faults_cells", sorted(code), ["quick"] * quick
    )
    bench = bench_of(folder / "bench")
    bench.make()
    tallies = list(run_all(folder, list(cells(bench, quick)), quick))
    lost, wrong = (sum(getattr(t, kind) for t in tallies) for kind in ("lost", "wrong"))
    goals = [
        Goal("faults injected", 1, sum(t.injected for t in tallies)),
        Goal("lost", 0, lost, False),
        Goal("wrong in silence", 0, wrong, False),
    ]
    notes = NOTES + [example for tally in tallies for example in tally.examples]
    found = Measured("faults, by how they ended", [t.row() for t in tallies], goals, notes)
    if not quick and not options.out.startswith(tempfile.gettempdir()):
        PAGE.write_text(page(found))
    return found


def run_all(folder: pathlib.Path, names: Sequence[str], quick: bool) -> Iterator[Tally]:
    """The cells' tallies, in order; a few processes share the cells of a whole run."""
    begun = time.monotonic()
    one = functools.partial(run_cell, folder, quick)
    with rich.progress.Progress(console=screen.console()) as progress:
        task = progress.add_task("injecting faults", total=len(names))

        def told(tally: Tally) -> Tally:
            progress.print(f"{time.monotonic() - begun:6.0f} s {dict(tally.row())}")
            progress.advance(task)
            return tally

        if quick:
            yield from (told(one(name)) for name in names)
            return
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
            futures = [pool.submit(one, name) for name in names]
            try:
                for future in concurrent.futures.as_completed(futures):
                    told(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            yield from (future.result() for future in futures)


__all__ = ["measure"]

"""Hours and memory of tables before they are made: `paper_tables --estimate`.

Each entry of `overall` trains for a few steps through `train`, without test; what a run takes is
multiplied by what the protocol asks for. So the estimate is of this machine, one run after another,
with nothing that is done already taken off.
"""

from __future__ import annotations

import datetime
import math
import pathlib
import tempfile
import time
from collections.abc import Mapping, Sequence

import jax
from ml_collections import ConfigDict

from dtn_jax.files import write_whole
from dtn_jax.papertables.protocol import Entry, Protocol, configured, digest
from dtn_jax.papertables.runs import Runs, machine
from dtn_jax.papertables.tune import runs_of, validated
from dtn_jax.parallel.fits import held
from dtn_jax.parallel.memory import OutOfMemory, size
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.markdown import prose
from dtn_jax.run.run import Run, build_run
from dtn_jax.run.train import train

NAME = "estimate.md"
STEPS = 40  # between two of the three validations of a measured run
HEADER = ("", "s / step", "min / run", "runs", "hours", "memory")
NOTE = (
    "Runs: of its search, of its finalists, and final ones; rows that vary an entry count among "
    "its final runs, by their FLOPs. Memory: what is held while it trains, without the compiler's "
    "temporaries. Assumed: one run after another, none stops early, nothing is done. Test is not "
    "counted."
)


def estimate(
    runs: Runs, tables: Mapping[str, Sequence[Entry]], names: Sequence[str], folder: pathlib.Path
) -> float:
    """Measures, shows and writes the estimate of these tables; returns their hours.

    Args:
      runs: of the protocol; none of them is made.
      tables: {table: its entries}.
      names: of the entries to estimate; empty is all.
      folder: for the estimate.
    """
    rows: dict[str, dict[str, Entry]] = {}  # {entry of `overall`: its rows, each once}
    for entry in (e for of in tables.values() for e in of if not names or e.name in names):
        rows.setdefault(entry.tuned_as, {})[digest(entry.settings)] = entry
    lines, total, (search, again) = [], 0.0, cost_of_tuning(runs.protocol)
    notes = [NOTE, f"Measured on {machine()}, jax {jax.__version__}, {datetime.date.today()}."]
    for name, varied in rows.items():
        screen.say(f"measuring {name}", style="dim")
        config = configured(runs.protocol, runs.protocol.settings(name), runs.places)
        try:
            run, step, seconds = measure(validated(config, runs.data), runs.folder)
        except OutOfMemory as error:
            notes.append(f"{name} is too large for this machine: {error}")
            continue
        finally:
            jax.clear_caches()
        flops = sum(runs.size(entry).flops_per_example for entry in varied.values())
        final = runs.protocol.seeds * flops / run.size.flops_per_example
        searches = len(runs.protocol.searches_of(name))
        final *= searches
        hours = (searches * (search + again) + final) * seconds / 3600
        counts = f"{searches * search} + {searches * again} + {final:.3g}"
        numbers = (f"{step:.3g}", f"{seconds / 60:,.1f}", counts)
        memory = size(sum(part.bytes for part in held(run)))
        lines.append((f"`{name}`", *numbers, f"{hours:,.2f}", memory))
        total += hours
    lines.append(("all", "", "", "", f"{total:,.2f}", ""))
    grid = Grid(HEADER, lines, "Estimate", rules=[len(lines) - 1], marked=True)
    title = prose(f"What {' and '.join(tables)} cost: {folder.name}")
    listed = "".join(f"- {prose(note)}\n" for note in notes)
    write_whole(folder / NAME, f"# {title}\n\n{grid.markdown()}\n{listed}")
    screen.show(grid.terminal())
    for note in notes:
        screen.say(note, style="dim", highlight=False)
    return total


def cost_of_tuning(protocol: Protocol) -> tuple[int, int]:
    """Runs of full length that an entry's trials may cost, and those trained again."""
    if not protocol.trials:
        return 0, 0
    others = len(protocol.entries) + len(protocol.given) if protocol.transfer else 0
    again = runs_of(protocol, protocol.finalists) - protocol.finalists
    return protocol.trials + others, again + (again if others else 0)


def measure(config: ConfigDict, folder: pathlib.Path) -> tuple[Run, float, float]:
    """A run, and the seconds of its steps and of the whole, from a short one.

    Raises:
      OutOfMemory: it does not fit this machine.
    """
    seen = []  # seconds since the start, at each validation but the last
    short = ConfigDict(config.to_dict()).lock()
    short.train.max_steps, short.train.eval_every = 3 * STEPS, STEPS
    short.train.epochs, short.train.log_every = 3 * STEPS, max(STEPS // 4, 1)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        start, where = time.monotonic(), pathlib.Path(place) / "run"
        report = lambda *_: seen.append(time.monotonic() - start)  # noqa: E731
        rate = train(short, where, test=False, after_validation=report)["examples_per_second"]
    run = build_run(config)
    step = config.data.batch_size / rate if rate else (seen[1] - seen[0]) / STEPS
    scored = max(seen[1] - seen[0] - STEPS * step, 0.0)
    begun = max(seen[0] - STEPS * step - scored, 0.0)
    validations = math.ceil(run.total_steps / run.at_steps.eval_every)
    return run, step, begun + run.total_steps * step + validations * scored

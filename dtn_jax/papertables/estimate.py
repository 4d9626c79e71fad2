"""Hours and memory of tables before they are made: `paper_tables --estimate`.

Each entry of `overall` trains twice for a few steps through `train`, without test: the second time
its programs are compiled already, as they are for most runs of a table. What a run takes is
multiplied by what the protocol asks for. So the estimate is of this machine, one run after another,
with nothing that is done already taken off.
"""

from __future__ import annotations

import dataclasses
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
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train

NAME = "estimate.md"
STEPS = 40  # between two of the three validations of a measured run
TRIALS_A_RUN = 4  # that a search begins for what a full run costs: 2.3 to 7 in committed tables
HEADER = ("", "compile s", "s / step", "min / run", "runs", "hours", "memory")
NOTE = (
    f"Runs: of its search ({TRIALS_A_RUN} trials begin for each, with --quick one), of its "
    "finalists, and final ones. Rows that vary an entry count among its final runs; their time is "
    "by FLOPs. A row's programs are compiled once. Memory: what is held while it trains, without "
    "the compiler's temporaries. "
    "Assumed: one run after another, none stops early, nothing is done. Test is not counted."
)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What an entry's runs take: seconds, FLOPs and bytes.

    Attributes:
      compiling: its programs.
      beginning: to begin and to end a run.
      step: of training.
      training: all steps and validations of a run.
      flops: of an example.
      memory: bytes that are held while it trains.
    """

    compiling: float
    beginning: float
    step: float
    training: float
    flops: int
    memory: int


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
    lines, total, (search, others, again) = [], 0.0, cost_of_tuning(runs.protocol)
    begin = 1 if runs.protocol.cut else TRIALS_A_RUN  # validated once, no trial ends early
    notes = [NOTE, f"Measured on {machine()}, jax {jax.__version__}, {datetime.date.today()}."]
    for name, varied in rows.items():
        screen.say(f"measuring {name}", style="dim")
        config = configured(runs.protocol, runs.protocol.settings(name), runs.places)
        try:
            cost = measure(validated(config, runs.data), runs.folder)
        except OutOfMemory as error:
            notes.append(f"{name} is too large for this machine: {error}")
            continue
        finally:
            jax.clear_caches()
        flops = sum(runs.size(entry).flops_per_example for entry in varied.values())
        searches = len(runs.protocol.searches_of(name))
        final = runs.protocol.runs_of(name)
        begun = searches * (begin * search + others + again) + final * len(varied)
        trained = searches * (search + others + again) + final * flops / cost.flops
        seconds = len(varied) * cost.compiling + begun * cost.beginning + trained * cost.training
        counts = f"{searches * (search + others)} + {searches * again} + {final * len(varied)}"
        minutes = f"{(cost.beginning + cost.training) / 60:,.1f}"
        numbers = (f"{cost.compiling:,.0f}", f"{cost.step:.3g}", minutes, counts)
        lines.append((f"`{name}`", *numbers, f"{seconds / 3600:,.2f}", size(cost.memory)))
        total += seconds / 3600
    lines.append(("all", "", "", "", "", f"{total:,.2f}", ""))
    grid = Grid(HEADER, lines, "Estimate", rules=[len(lines) - 1], marked=True)
    title = prose(f"What {' and '.join(tables)} cost: {folder.name}")
    listed = "".join(f"- {prose(note)}\n" for note in notes)
    write_whole(folder / NAME, f"# {title}\n\n{grid.markdown()}\n{listed}")
    screen.show(grid.terminal())
    for note in notes:
        screen.say(note, style="dim", highlight=False)
    return total


def cost_of_tuning(protocol: Protocol) -> tuple[int, int, int]:
    """Runs of full length that an entry's trials may cost, the settings of others that it tries to
    the end, and those trained again."""
    if not protocol.trials:
        return 0, 0, 0
    others = len(protocol.entries) + len(protocol.given) if protocol.transfer else 0
    again = runs_of(protocol, protocol.finalists) - protocol.finalists
    return protocol.trials, others, again + (again if others else 0)


def measure(config: ConfigDict, folder: pathlib.Path) -> Cost:
    """What a config's runs take, from two short ones, the first of which compiles.

    Raises:
      OutOfMemory: it does not fit this machine.
    """
    short = ConfigDict(config.to_dict()).lock()
    short.train.max_steps, short.train.eval_every = 3 * STEPS, STEPS
    short.train.epochs, short.train.log_every = 3 * STEPS, max(STEPS // 4, 1)
    short.train.patience = 0
    with tempfile.TemporaryDirectory(dir=folder) as place:
        first, _, _ = timed(short, pathlib.Path(place) / "first")
        whole, step, scored = timed(short, pathlib.Path(place) / "again")
    run = build_run(config)
    validations = math.ceil(run.total_steps / run.at_steps.eval_every)
    return Cost(
        compiling=max(first - whole, 0.0),
        beginning=max(whole - 3 * (STEPS * step + scored), 0.0),
        step=step,
        training=run.total_steps * step + validations * scored,
        flops=run.size.flops_per_example,
        memory=sum(part.bytes for part in held(run)),
    )


def timed(short: ConfigDict, folder: pathlib.Path) -> tuple[float, float, float]:
    """Seconds of a run of three validations: of all of it, of a step, of a validation."""
    start, seen = time.monotonic(), []  # seconds since then, at each validation but the last
    report = lambda *_: seen.append(time.monotonic() - start)  # noqa: E731
    rate = train(short, folder, test=False, after_validation=report)["examples_per_second"]
    whole, stretch = time.monotonic() - start, seen[1] - seen[0]
    step = short.data.batch_size / rate if rate else stretch / STEPS
    return whole, step, max(stretch - STEPS * step, 0.0)

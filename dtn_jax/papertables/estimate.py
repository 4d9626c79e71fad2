"""Hours and memory of tables before they are made: `paper_tables --estimate`.

Each entry of `overall` trains for a few steps through `train`, without test; what a run takes is
multiplied by what the protocol asks for. So the estimate is of this machine, one run after another,
with nothing that is done already taken off.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.errors import UserError
from dtn_jax.files import write_whole
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.significance import DRAWS, resampled_aucs
from dtn_jax.papertables.protocol import Entry, Protocol, configured
from dtn_jax.papertables.runs import Runs
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
FEW_DRAWS = 10  # that are timed
HEADER = ("", "s / step", "min / run", "runs", "hours", "memory")


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of a run, in seconds: until its first validation without its steps, of a step, to score
    validation and save the state, and of the draws of its test rows."""

    run: Run
    begun: float
    step: float
    scored: float
    drawn: float

    def seconds(self, test: bool) -> float:
        """Of the whole run, which scores `test` with its best state and each task's own best."""
        validations = math.ceil(self.run.total_steps / self.run.at_steps.eval_every)
        found = self.begun + self.run.total_steps * self.step + validations * self.scored
        states = min(validations, len(self.run.schema.tasks) + 1)
        rows = self.run.data.rows
        scored = states * self.scored * rows["test"] / rows["validation"]
        return found + (scored + self.drawn if test else 0.0)


def estimate(
    runs: Runs, tables: Mapping[str, Sequence[Entry]], names: Sequence[str], folder: pathlib.Path
) -> None:
    """Measures, shows and writes the estimate of these tables.

    Args:
      runs: of the protocol; none of them is made.
      tables: {table: its entries}.
      names: of the entries to estimate; empty is all.
      folder: for the estimate.

    Raises:
      UserError: nothing fits this machine.
    """
    entries = [e for own in tables.values() for e in own if not names or e.name in names]
    costs: dict[str, Cost] = {}
    lines, total, notes = [], 0.0, []
    drawn = seconds_of_draws(runs)
    for entry, (search, again, final), config in asked(runs, entries):
        if not entry.settings:
            screen.say(f"measuring {entry.name}", style="dim")
            try:
                costs[entry.tuned_as] = measure(config, runs.folder, drawn)
            except OutOfMemory as error:
                notes.append(f"{entry.name} is too large for this machine: {error}")
            jax.clear_caches()
        if entry.tuned_as not in costs:
            continue
        cost = costs[entry.tuned_as]
        if entry.settings:  # a variant of one that was measured: by its FLOPs
            share = runs.size(entry).flops_per_example / cost.run.size.flops_per_example
            cost = dataclasses.replace(cost, step=share * cost.step, scored=share * cost.scored)
        last = cost.seconds(test=True)
        hours = ((search + again) * cost.seconds(test=False) + final * last) / 3600
        memory = size(sum(part.bytes for part in held(cost.run)))
        numbers = (f"{cost.step:.3g}", f"{last / 60:,.1f}", f"{search} + {again} + {final}")
        lines.append((f"`{entry.name}`", *numbers, f"{hours:,.2f}", memory))
        total += hours
    if not lines:
        raise UserError("\n".join(["no estimate: none of the rows could be measured", *notes]))
    lines.append(("all", "", "", "", f"{total:,.2f}", ""))
    device = f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} cores"
    notes += [
        "Runs: search (and trial of others' settings) + finalists + final ones. A search has as "
        "many examples as so many full runs; only final runs read test. min / run: a final one's, "
        f"of which {drawn / 60:,.1f} min are for its draws of the test rows.",
        "Memory: what is held while it trains, without the compiler's temporaries.",
        "A row that varies an entry of `overall` is not measured: its steps cost what that one's "
        "do, by FLOPs. Assumed: one run after another, none stops early, nothing is done.",
        f"Measured on {device}, jax {jax.__version__}, {datetime.date.today().isoformat()}.",
    ]
    grid = Grid(HEADER, lines, "Estimate", rules=[len(lines) - 1], marked=True)
    title = prose(f"What {' and '.join(tables)} cost: {folder.name}")
    listed = "".join(f"- {prose(note)}\n" for note in notes)
    write_whole(folder / NAME, f"# {title}\n\n{grid.markdown()}\n{listed}")
    screen.show(grid.terminal())
    for note in notes:
        screen.say(note, style="dim", highlight=False)


def asked(
    runs: Runs, entries: Sequence[Entry]
) -> Iterator[tuple[Entry, tuple[int, int, int], ConfigDict]]:
    """Each row that has runs of its own; how many for its search, its finalists and the table; and
    the config of a run."""
    first = [Entry(name, name) for name in dict.fromkeys(e.tuned_as for e in entries)]
    known = set()
    for entry in [*first, *entries]:
        settings = (runs.protocol.own(entry.tuned_as), entry.settings, runs.places)
        config = configured(runs.protocol, *settings)
        if (key := (entry.tuned_as, config.to_json())) in known:
            continue
        known.add(key)
        search, again = (0, 0) if entry.settings else cost_of_tuning(runs.protocol)
        final = runs.protocol.seeds if entry in entries else 0
        yield entry, (search, again, final), validated(config, runs.data)


def cost_of_tuning(protocol: Protocol) -> tuple[int, int]:
    """Runs of full length that an entry's trials may cost, and those trained again."""
    if not protocol.trials:
        return 0, 0
    others = len(protocol.entries) + len(protocol.given) if protocol.transfer else 0
    again = runs_of(protocol, protocol.finalists) - protocol.finalists
    return protocol.trials + others, again + (again if others else 0)


def measure(config: ConfigDict, folder: pathlib.Path, drawn: float) -> Cost:
    """The cost of a run, from a short one.

    Raises:
      OutOfMemory: it does not fit this machine.
    """
    seconds = []  # since the start, at each validation but the last
    short = ConfigDict(config.to_dict()).lock()
    short.train.max_steps, short.train.eval_every = 3 * STEPS, STEPS
    short.train.epochs, short.train.log_every = 3 * STEPS, max(STEPS // 4, 1)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        start = time.monotonic()
        results = train(
            short,
            pathlib.Path(place) / "run",
            test=False,
            after_validation=lambda *_: seconds.append(time.monotonic() - start),
        )
    rate = results["examples_per_second"]
    step = config.data.batch_size / rate if rate else (seconds[1] - seconds[0]) / STEPS
    scored = max(seconds[1] - seconds[0] - STEPS * step, 0.0)
    begun = max(seconds[0] - STEPS * step - scored, 0.0)
    return Cost(build_run(config), begun, step, scored, drawn)


def seconds_of_draws(runs: Runs) -> float:
    """Seconds of the draws of a final run's test rows, by drawn scores of validation."""
    rows = SplitReader(runs.data, "validation").everything()
    logits = np.random.default_rng(0).normal(size=rows.labels.shape).astype(np.float32)
    groups = runs.data.groups("validation")
    scores = Scores(logits, rows.labels, rows.label_mask, rows.sample_weight, groups)
    start = time.monotonic()
    resampled_aucs(scores, runs.data.schema, runs.weighted, FEW_DRAWS)
    share = runs.data.rows["test"] / runs.data.rows["validation"]
    return (time.monotonic() - start) / FEW_DRAWS * DRAWS * share

"""Hours, memory and disk of tables before they are made: `paper_tables --estimate`.

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
from dtn_jax.data.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.significance import DRAWS, resampled_aucs
from dtn_jax.papertables.protocol import Entry, FullSize, Protocol, configured
from dtn_jax.papertables.runs import Runs
from dtn_jax.papertables.tune import runs_of, validated
from dtn_jax.parallel.fits import held
from dtn_jax.parallel.footprint import state_parts
from dtn_jax.parallel.memory import OutOfMemory, size
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.markdown import prose
from dtn_jax.run import Run, build_run
from dtn_jax.shared_files import write_whole
from dtn_jax.train import train

NAME = "estimate.md"
STEPS = 40  # between two of the three validations of a measured run
# Successive halving by thirds begins this many trials for each run of full length that it may
# cost: one in three goes on from a ninth of a run to a third, one in nine to the end.
BEGUN = 9 / (1 + 2 / 3 + 6 / 9)
LEFT = 3  # checkpoints that a run leaves: two last ones, and best states, which are smaller
FEW_DRAWS = 10  # that are timed
HEADER = ("", "s / step", "min / run", "runs", "hours", "memory", "disk")


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of a run at the full size of its data: seconds until its first validation without its steps,
    of a step, and to score validation and save the state."""

    run: Run
    begun: float
    step: float
    scored: float

    @property
    def validations(self) -> int:
        return math.ceil(self.run.total_steps / self.run.at_steps.eval_every)

    @property
    def seconds(self) -> float:
        """Of a run that does not read test."""
        steps = self.run.total_steps * self.step
        return self.begun + steps + self.validations * self.scored

    def of_test(self) -> float:
        """Seconds to score test with the best state, and with each task's own best one."""
        rows = self.run.data.rows
        states = min(self.validations, len(self.run.schema.tasks) + 1)
        return states * self.scored * rows["test"] / rows["validation"]


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
    full = as_large(runs.data, runs.protocol.full_size)
    drawn = seconds_of_draws(runs) * full.rows["test"]
    costs: dict[str, Cost] = {}
    lines, sums, large = [], np.zeros(2), []  # hours and bytes
    for entry, (search, again, final), config in asked(runs, entries, full):
        if not entry.settings:
            screen.say(f"measuring {entry.name}", style="dim")
            try:
                costs[entry.tuned_as] = measure(config, runs.data, full, runs.folder)
            except OutOfMemory as error:
                screen.say(f"{entry.name}: {error}")
                large.append(entry.name)
            jax.clear_caches()
        if entry.tuned_as not in costs:
            continue
        cost = costs[entry.tuned_as]
        if entry.settings:  # a variant of one that was measured: by its FLOPs
            share = runs.size(entry).flops_per_example / cost.run.size.flops_per_example
            cost = dataclasses.replace(cost, step=share * cost.step, scored=share * cost.scored)
        last = cost.seconds + cost.of_test() + drawn
        begun = (BEGUN - 1) * search * cost.begun  # by trials that do not reach the end
        hours = ((search + again) * cost.seconds + begun + final * last) / 3600
        parts = state_parts(cost.run.config, cost.run.state_places, cost.run.plan)
        left = LEFT * sum(part.bytes for part in parts) * (search * BEGUN + again + final)
        memory = sum(part.bytes for part in held(cost.run))
        texts = (f"{cost.step:.3g}", f"{last / 60:,.1f}", f"{search} + {again} + {final}")
        lines.append((f"`{entry.name}`", *texts, f"{hours:,.2f}", size(memory), size(round(left))))
        sums += (hours, left)
    if not lines:
        raise UserError("no estimate: none of the rows could be measured")
    lines.append(("all", "", "", "", f"{sums[0]:,.2f}", "", size(round(sums[1]))))
    grid = Grid(HEADER, lines, "Estimate", rules=[len(lines) - 1], marked=True)
    told = notes(runs, full, drawn, large)
    title = prose(f"What {' and '.join(tables)} cost: {folder.name}")
    listed = "".join(f"- {prose(note)}\n" for note in told)
    write_whole(folder / NAME, f"# {title}\n\n{grid.markdown()}\n{listed}")
    screen.show(grid.terminal())
    for note in told:
        screen.say(note, style="dim", highlight=False)


def asked(
    runs: Runs, entries: Sequence[Entry], full: Prepared
) -> Iterator[tuple[Entry, tuple[int, int, int], ConfigDict]]:
    """Each row that has runs of its own; how many for its search, its finalists and the table; and
    the config of a run on `full`."""
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
        yield entry, (search, again, final), validated(config, full)


def cost_of_tuning(protocol: Protocol) -> tuple[int, int]:
    """Runs of full length that an entry's trials may cost, and those trained again."""
    if not protocol.trials:
        return 0, 0
    others = len(protocol.entries) + len(protocol.given) if protocol.transfer else 0
    again = runs_of(protocol, protocol.finalists) - protocol.finalists
    return protocol.trials + others, again + (again if others else 0)


def measure(config: ConfigDict, here: Prepared, full: Prepared, folder: pathlib.Path) -> Cost:
    """The cost of a run on `full`, from a short one on the set at hand.

    Raises:
      OutOfMemory: it does not fit this machine.
    """
    whole, seconds = build_run(config, full), []  # since the start, at each validation
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
    scored *= full.rows["validation"] / here.rows["validation"]
    return Cost(whole, max(seconds[0] - STEPS * step - scored, 0.0), step, scored)


def as_large(data: Prepared, full: FullSize | None) -> Prepared:
    """The set as it is at its full size, with the held-out share of train that this one has; itself
    where it is no smaller. Its rows cannot be read."""
    own = data.rows["train"] + data.rows["validation"]
    if full is None or full.rows["train"] <= own:
        return data
    kept = round(full.rows["train"] * data.rows["train"] / own)
    rows = {"train": kept, "validation": full.rows["train"] - kept, "test": full.rows["test"]}
    fields = tuple(
        dataclasses.replace(f, rows=max(f.rows, full.ids.get(f.name, 0) + 1))
        for f in data.schema.fields
    )
    schema = dataclasses.replace(data.schema, fields=fields)
    return dataclasses.replace(data, rows=rows, schema=schema)


def seconds_of_draws(runs: Runs) -> float:
    """Seconds of a row of test in the draws of a final run, by drawn scores of validation."""
    rows = SplitReader(runs.data, "validation").everything()
    logits = np.random.default_rng(0).normal(size=rows.labels.shape).astype(np.float32)
    scores = Scores(
        logits, rows.labels, rows.label_mask, rows.sample_weight, runs.data.groups("validation")
    )
    start = time.monotonic()
    resampled_aucs(scores, runs.data.schema, runs.weighted, FEW_DRAWS)
    return (time.monotonic() - start) / FEW_DRAWS * DRAWS / len(logits)


def notes(runs: Runs, full: Prepared, drawn: float, large: Sequence[str]) -> list[str]:
    """What the table is of, and what it takes for granted."""
    counts = " + ".join(f"{full.rows[s]:,}" for s in ("train", "validation", "test"))
    at_hand = f"{runs.data.rows['train'] + runs.data.rows['validation']:,}"
    device = f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} cores"
    rows = f"Rows of train, validation and test: {counts}"
    if full is not runs.data:
        rows += f", by {runs.protocol.full_size.source}; measured on {at_hand} rows at hand, "
        rows += "memory with tables of the full size"
    return [
        *(f"{name} is too large for this machine, and not in the sum." for name in large),
        f"{rows}.",
        "Runs: search (and trial of others' settings) + finalists + final ones. A search has as "
        "many examples as so many full runs; only final runs read test. min / run: a final one's, "
        f"of which {drawn / 60:,.1f} min are for its draws of the test rows.",
        "Memory: what is held while it trains, without the compiler's temporaries. Disk: "
        f"{LEFT} checkpoints of each run.",
        "A row that varies an entry of `overall` is not measured: its steps cost what that one's "
        "do, by FLOPs.",
        "Assumed: one run after another, every run compiles, none stops early, nothing is done.",
        f"Measured on {device}, jax {jax.__version__}, {datetime.date.today().isoformat()}.",
    ]

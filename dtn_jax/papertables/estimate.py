"""Hours and memory of tables before they are made: `paper_tables --estimate`.

Each entry of `overall` trains for a few steps through `train`, without test; what a run takes is
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
from collections.abc import Iterator, Mapping, Sequence

import jax
from ml_collections import ConfigDict

from dtn_jax.errors import UserError
from dtn_jax.files import write_whole
from dtn_jax.papertables.protocol import Entry, Protocol, configured
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
NOTES = (
    "Runs: search (and trial of others' settings) + finalists + final ones. A search has as many "
    "examples as so many full runs; only final runs read test. min / run: a final one's, without "
    "its draws of the test rows.",
    "Memory: what is held while it trains, without the compiler's temporaries.",
    "A row that varies an entry of `overall` is not measured: its steps cost what that one's do, "
    "by FLOPs. Assumed: one run after another, none stops early, nothing is done.",
)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of a run, in seconds: until its first validation without its steps, of a step, and to score
    validation and save the state."""

    run: Run
    begun: float
    step: float
    scored: float

    def seconds(self, test: bool) -> float:
        """Of the whole run, which scores `test` with its best state and each task's own best."""
        validations = math.ceil(self.run.total_steps / self.run.at_steps.eval_every)
        rows = self.run.data.rows
        of_test = rows["test"] / rows["validation"] * test
        scored = validations + min(validations, len(self.run.schema.tasks) + 1) * of_test
        return self.begun + self.run.total_steps * self.step + scored * self.scored

    def of_size(self, share: float) -> Cost:
        """That of a model which takes so many times the FLOPs."""
        return dataclasses.replace(self, step=share * self.step, scored=share * self.scored)


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
    lines, total, notes = [], 0.0, [*NOTES]
    for entry, counts, config in asked(runs, entries):
        if not entry.settings:
            screen.say(f"measuring {entry.name}", style="dim")
            try:
                costs[entry.tuned_as] = measure(config, runs.folder)
            except OutOfMemory as error:
                notes.append(f"{entry.name} is too large for this machine: {error}")
            jax.clear_caches()
        if (cost := costs.get(entry.tuned_as)) is None:
            continue
        cost = cost.of_size(runs.size(entry).flops_per_example / cost.run.size.flops_per_example)
        last, (search, again, final) = cost.seconds(test=True), counts
        hours = ((search + again) * cost.seconds(test=False) + final * last) / 3600
        memory = size(sum(part.bytes for part in held(cost.run)))
        numbers = (f"{cost.step:.3g}", f"{last / 60:,.1f}", f"{search} + {again} + {final}")
        lines.append((f"`{entry.name}`", *numbers, f"{hours:,.2f}", memory))
        total += hours
    if not lines:
        raise UserError("\n".join(["no estimate: none of the rows could be measured", *notes]))
    lines.append(("all", "", "", "", f"{total:,.2f}", ""))
    today = datetime.date.today().isoformat()
    notes.append(f"Measured on {machine()}, jax {jax.__version__}, {today}.")
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
    tuned = {entry.tuned_as: Entry(entry.tuned_as, entry.tuned_as) for entry in entries}
    first = [*(tuned | {entry.name: entry for entry in entries if entry.name in tuned}).values()]
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


def measure(config: ConfigDict, folder: pathlib.Path) -> Cost:
    """The cost of a run, from a short one.

    Raises:
      OutOfMemory: it does not fit this machine.
    """
    seconds = []  # since the start, at each validation but the last
    short = ConfigDict(config.to_dict()).lock()
    short.train.max_steps, short.train.eval_every = 3 * STEPS, STEPS
    short.train.epochs, short.train.log_every = 3 * STEPS, max(STEPS // 4, 1)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        start, where = time.monotonic(), pathlib.Path(place) / "run"
        report = lambda *_: seconds.append(time.monotonic() - start)  # noqa: E731
        rate = train(short, where, test=False, after_validation=report)["examples_per_second"]
    step = config.data.batch_size / rate if rate else (seconds[1] - seconds[0]) / STEPS
    scored = max(seconds[1] - seconds[0] - STEPS * step, 0.0)
    begun = max(seconds[0] - STEPS * step - scored, 0.0)
    return Cost(build_run(config), begun, step, scored)

"""Hours, memory and disk of tables before they are made: `paper_tables --estimate`.

A short part of each row's run is measured here (run_cost.py), and multiplied by what the protocol
asks for. So the estimate is of this machine, one run after another, with nothing that is done
already taken off.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping, Sequence

import jax
import rich.box
import rich.table

from dtn_jax.data.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.papertables import cells, transfer, tuning
from dtn_jax.papertables.protocol import Entry, Protocol, configured
from dtn_jax.papertables.run_cost import RunCost, measure_run, seconds_of
from dtn_jax.papertables.set_cost import SetCost, as_large, measure_set
from dtn_jax.papertables.work import Work
from dtn_jax.parallel.memory import OutOfMemory, size
from dtn_jax.report import screen
from dtn_jax.report.markdown import prose, table
from dtn_jax.run import Run
from dtn_jax.shared_files import write_whole

NAME = "estimate.md"
# Successive halving by thirds begins this many trials for each run of full length that it may
# cost: one in three goes on from a ninth of a run to a third, one in nine to the end.
BEGUN = 9 / (1 + 2 / 3 + 6 / 9)
LEFT = 3  # checkpoints that a run leaves: two last ones, and best states, which are smaller
NARROW = 13  # letters of a name that stay on one line: "shared_bottom"
HEADER = ("", "s / step", "min / run", "runs", "hours", "memory", "disk")


@dataclasses.dataclass(frozen=True)
class Runs:
    """What is run for a row, in runs of full length.

    Attributes:
      search: the trials of its tuning, together.
      again: to choose among the best settings of the search.
      final: those of the table.
    """

    search: int
    again: int
    final: int

    @property
    def text(self) -> str:
        return " + ".join(str(n) for n in (self.search, self.again, self.final))

    @property
    def folders(self) -> float:
        """How many runs leave a folder."""
        return self.search * BEGUN + self.again + self.final


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the estimate."""

    name: str
    runs: Runs
    cost: RunCost
    run_seconds: float
    seconds: float
    disk: float


def estimate(work: Work, tables: Mapping[str, Sequence[Entry]], wanted: Sequence[str]) -> str:
    """Measures, shows and writes the estimate of these tables; returns it as Markdown.

    Args:
      work: of the protocol; none of it is done.
      tables: {table: its entries}.
      wanted: names of the entries to estimate; empty is all.
    """
    entries = [e for own in tables.values() for e in own if not wanted or e.name in wanted]
    full = as_large(work.data, work.protocol.full_size)
    shared, rows, large = None, [], []
    measured: dict[str, tuple[RunCost, Run]] = {}  # of the entries of `overall`
    for entry, runs, config in asked(work, entries, full):
        if entry.settings:  # a variant of one that was measured
            if entry.tuned_as in measured:
                cost, run = measured[entry.tuned_as]
                share = work.size(entry).flops_per_example / run.size.flops_per_example
                rows.append(row(entry.name, runs, scaled(cost, share), shared, run))
            continue
        screen.say(f"measuring {entry.name}", style="dim")
        try:
            cost, run, scores = measure_run(config, work.data, full, work.runs)
        except OutOfMemory as error:
            screen.say(f"{entry.name}: {error}")
            large.append(entry.name)
            continue
        shared = shared or measure_set(run, work.data, scores, work.runs)
        measured[entry.tuned_as] = cost, run
        rows.append(row(entry.name, runs, cost, shared, run))
        jax.clear_caches()
    if not rows:
        raise UserError("no estimate: none of the rows could be measured")
    told = notes(work, rows, shared, run)
    if large:
        told.insert(0, f"Too large for this machine, and not in the sum: {', '.join(large)}.")
    found = markdown(f"What {' and '.join(tables)} cost: {work.folder.name}", rows, told)
    write_whole(work.folder / NAME, found)
    show(rows, told)
    return found


def scaled(cost: RunCost, share: float) -> RunCost:
    """The cost of a run whose model has this share of the FLOPs of one that was measured."""
    return dataclasses.replace(cost, step=share * cost.step, scored=share * cost.scored)


def asked(work: Work, entries: Sequence[Entry], full: Prepared):
    """Each row that has runs of its own, what they are, and the config of a final one on `full`."""
    tuned, known = set(), set()
    first = [Entry(n, n) for n in dict.fromkeys(e.tuned_as for e in entries)]
    for entry in [*first, *entries]:
        own = tuning.start(work.protocol, entry.tuned_as, work.places)[0]
        last = {"seed": 1, **work.places}
        _, names = work.named(cells.name_of, "cell", own, {}, entry.settings, last)
        key = (entry.tuned_as, names[0])
        if key in known:
            continue
        known.add(key)
        search, again = (0, 0) if entry.tuned_as in tuned else searched(work.protocol)
        tuned.add(entry.tuned_as)
        final = work.protocol.seeds if entry.settings or entry in entries else 0
        # Anew: the one above validates when a run of the set at hand would.
        config = configured(work.protocol, own, entry.settings, last)
        yield entry, Runs(search, again, final), tuning.validated(config, full)


def searched(protocol: Protocol) -> tuple[int, int]:
    """Runs of full length that the search of an entry's settings may cost, and its finalists'."""
    if not protocol.trials:
        return 0, 0
    again = protocol.finalists * protocol.finalist_seeds
    trials = protocol.trials + transfer.runs(protocol)
    return trials, again if protocol.finalists > 1 else 0


def row(name: str, runs: Runs, cost: RunCost, shared: SetCost, run: Run) -> Row:
    one, tested = (seconds_of(cost, shared, run, test) for test in (False, True))
    begun = (BEGUN - 1) * runs.search * cost.begun  # by trials that do not reach the end
    disk = runs.folders * LEFT * cost.checkpoint
    disk += runs.final * run.data.rows["test"] * shared.predicted
    seconds = (runs.search + runs.again) * one + begun + runs.final * tested
    return Row(name, runs, cost, tested, seconds, disk)


def cell_texts(row: Row) -> tuple[str, ...]:
    return (
        f"`{row.name}`",
        f"{row.cost.step:.3g}",
        f"{row.run_seconds / 60:,.1f}",
        row.runs.text,
        hours(row.seconds),
        size(row.cost.memory),
        size(round(row.disk)),
    )


def hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f}" if seconds < 36_000 else f"{seconds / 3600:,.0f}"


def total(rows: Sequence[Row]) -> tuple[str, ...]:
    most = max(r.cost.memory for r in rows)
    disk = round(sum(r.disk for r in rows))
    taken = hours(sum(r.seconds for r in rows))
    return ("all", "", "", "", taken, size(most), size(disk))


def markdown(title: str, rows: Sequence[Row], told: Sequence[str]) -> str:
    """The estimate as a page."""
    body = table(HEADER, [*map(cell_texts, rows), total(rows)], cell=prose)
    listed = "".join(f"- {prose(note)}\n" for note in told)
    return f"# {prose(title)}\n\n{body}\n\n{listed}"


def notes(work: Work, rows: Sequence[Row], shared: SetCost, run: Run) -> list[str]:
    """What the table is of, its parts, and what it takes for granted."""
    here, full, protocol = work.data, run.data, work.protocol
    counts = " + ".join(f"{full.rows[s]:,}" for s in ("train", "validation", "test"))
    found = [f"Rows of train, validation and test: {counts}."]
    if full.rows["test"] > here.rows["test"]:
        own = here.rows["train"] + here.rows["validation"]
        found.append(
            f"Measured on {own:,} rows at hand, with tables of the full size; the counts are those "
            f"of {protocol.full_size.source}."
        )
    begun, scored = (middle(getattr(r.cost, n) for r in rows) for n in ("begun", "scored"))
    device = f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} cores"
    test = full.rows["test"]
    found += [
        "Runs: search (and trial of others' settings) + finalists + final ones. A search has as "
        "many examples as so many full runs; only final runs read test. min / run: a final one's.",
        f"Parts: {1 / shared.read:,.0f} examples of train read a second; scored "
        f"{1 / scored:,.0f} a second (median of the rows), metrics of "
        f"{1 / shared.judged:,.0f} a second; {test * shared.drawn / 60:,.1f} min for the "
        f"draws of test of a final run; {begun:.0f} s until a run's programs are compiled.",
        f"Disk: {size(round(shared.prepared * sum(full.rows.values())))} for the prepared set "
        f"({shared.prepared:,.0f} bytes a row here); in the table what runs leave: {LEFT} "
        "checkpoints each, and final runs their predictions.",
        "Memory: state, batches and the compiler's temporaries of a run that trains; scores of "
        f"test and their metrics hold another {size(test * held_a_row(run))}.",
        "On a CPU a part takes the time of the clock, or that of one busy core where this is less: "
        "what other work took from it is not counted.",
        "A row that varies an entry of `overall` is not measured: its steps cost what that one's "
        "do, by FLOPs.",
        "Assumed: one run after another, reading and training added up though they overlap, every "
        "run compiles, none stops early, and nothing is done yet.",
        f"Measured on {device}, jax {jax.__version__}, {datetime.date.today().isoformat()}.",
    ]
    return found


def held_a_row(run: Run) -> int:
    """Bytes of a test example while its metrics are computed (metrics/__init__.py, Scores)."""
    return 9 * len(run.schema.tasks) + 4 + 8 * bool(run.schema.group) + 32


def middle(values) -> float:
    found = sorted(values)
    return found[len(found) // 2]


def show(rows: Sequence[Row], listed: Sequence[str]) -> None:
    made = rich.table.Table(
        title="Estimate", box=rich.box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False
    )
    made.add_column(min_width=NARROW)
    for name in HEADER[1:]:
        made.add_column(name, justify="right", no_wrap=True)
    for texts in (*map(cell_texts, rows), total(rows)):
        made.add_row(*(text.strip("`") for text in texts))
    screen.show(made)
    for note in listed:
        screen.say(note, style="dim", highlight=False)

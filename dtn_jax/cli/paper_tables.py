"""Makes paper tables: tunes, trains over seeds, tests differences, writes tables and pictures.

  overall       all architectures, each tuned at the same cost
  ablation      DTN without its parts, and with its options
  interactions  every kind of expert in every routing
  matched       all architectures with DTN's parameters, and with DTN's FLOPs
  sensitivity   DTN at other sizes
  divergence    how far each model is from the best AUC, as the data's tasks differ more and more

A protocol fixes beforehand what is compared: --dataset names one of experiments/protocols,
--protocol your own file (copy one), and --config a config, such as that of your own logs, with
which DTN and the usual rivals are compared. Trials never open test; each final run reads it once.

A finished run is not run again. So you can stop the command, run it again, add seeds or tables, or
run it in several processes, which share the work.

It writes WORKDIR/NAME/TABLE.md, .tex, .csv and pictures (NAME is the protocol's, or the data set's
for --config), report.html with all tables, and the runs' folders in WORKDIR/NAME/runs. --quick
makes cheap tables (few trials, seeds, steps) in WORKDIR/NAME-shortened; --estimate tells what all
will cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import jax

from dtn_jax.cli import command, compile_cache, folders
from dtn_jax.errors import UserError, choose
from dtn_jax.options import pairs
from dtn_jax.papertables import references, written
from dtn_jax.papertables.entries import TABLES, named
from dtn_jax.papertables.estimate import estimate
from dtn_jax.papertables.numbers import DIVERGENCE, content
from dtn_jax.papertables.protocol import Entry, Protocol, configured
from dtn_jax.papertables.protocol_files import default_protocol, load, shipped
from dtn_jax.papertables.runs import Runs
from dtn_jax.papertables.shortened import SUFFIX, cut, quick, with_settings
from dtn_jax.papertables.tune import data_of
from dtn_jax.shared_files import disk_errors

RESUMES = True  # an interrupted call resumes from its last checkpoint
EXAMPLE = "dtn-jax paper_tables --dataset=adult --table=overall --seeds=3 --workdir=runs/paper"
MOST = 10_000  # seeds or trials
TOGETHER = ("auto", "always", "never")


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    tables = list(TABLES) if known.table == "all" else (known.table or "").split(",")
    for table in tables:
        choose("table", table, [*TABLES, "all (alone)"])
    choose("--together", known.together, TOGETHER)
    folders.check(known.workdir, "workdir")
    folders.check(known.runs or known.workdir, "--runs")
    name, protocol = read_protocol(known)
    if known.table == "all" and not protocol.dials:
        tables.remove(DIVERGENCE)
    folder = pathlib.Path(known.workdir) / name
    if (folder / "cells.jsonl.xz").exists():
        raise UserError(f"{folder} is of an earlier version, whose runs are not read: name another")
    place = pathlib.Path(known.runs) / name if known.runs else folder / "runs"
    compile_cache.use("none" if known.estimate else known.cache_dir)  # compiling is a part of it
    on_cpu = jax.default_backend() == "cpu"
    together = known.together == "always" or (known.together == "auto" and not on_cpu)
    for path in (folder, place):
        folders.make(path, "workdir")
    runs = Runs(protocol, place, places_of(known), together)
    rows = {table: TABLES[table](protocol, runs.data.schema, runs.size) for table in tables}
    names = named(known.entries, [entry.name for own in rows.values() for entry in own])
    with disk_errors(folder):
        if known.estimate:
            estimate(runs, rows, names, folder)
            return
        problems = make(runs, rows, names, folder, written.remade(arguments))
    if problems:
        raise UserError("\n".join(["some runs failed:", *problems]))


def make(
    runs: Runs,
    rows: Mapping[str, Sequence[Entry]],
    names: Sequence[str],
    folder: pathlib.Path,
    remade: str,
) -> list[str]:
    """Trains what the tables lack, writes and shows them; returns what failed."""
    problems = []
    for table, entries in rows.items():
        for failed in runs.make([e for e in entries if not names or e.name in names]):
            problems += failed
            written.write(made(runs, table, entries, remade), folder)
        # Again: meanwhile another process may have ended runs, or written over the table.
        content = made(runs, table, entries, remade)
        written.write(content, folder)
        written.show(content, folder / f"{table}.md")
    return problems


def made(runs: Runs, table: str, entries: Sequence[Entry], remade: str) -> dict:
    """The table's content, from the runs that are finished."""
    tunings = {n: runs.tunings.read(n) for n in dict.fromkeys(e.tuned_as for e in entries)}
    of_gaps = table == DIVERGENCE  # whose rows are on several sets of data
    found = content(
        runs.data.schema.name,
        table,
        runs.protocol,
        entries,
        {entry.name: runs.found(entry) for entry in entries},
        {name: tuning for name, tuning in tunings.items() if tuning},
        # Models from outside are measured without weights, so none stands in such a table.
        {} if runs.weighted or of_gaps else references.of_data(runs.data),
        {entry.name: runs.notes_of(entry) for entry in entries} if of_gaps else {},
    )
    return found | {"command": remade}


def read_protocol(known: argparse.Namespace) -> tuple[str, Protocol]:
    """The protocol that is asked for, and the name of its folder."""
    given = [f"--{name}" for name in ("dataset", "protocol", "config") if getattr(known, name)]
    if len(given) > 1:
        raise UserError(
            "--dataset names a shipped protocol, --protocol your own, --config what the default "
            f"one compares on: give only one, got {' and '.join(given)}"
        )
    if known.config:
        full = default_protocol(known.config)
        name = data_of(configured(full, places_of(known))).schema.name
    elif known.protocol:
        full, name = load(pathlib.Path(known.protocol)), pathlib.Path(known.protocol).stem
    else:
        files, name = shipped(), known.dataset or ""
        full = load(files[choose("dataset", name, files)])
    less = quick(full) if known.quick else full
    for count in ("seeds", "trials"):
        given = getattr(known, count)
        if given is not None and not 1 <= given <= MOST:
            raise UserError(f"--{count}={given}: expected at least 1 and at most {MOST:,}")
        less = dataclasses.replace(less, **{count: given or getattr(less, count)})
    less = with_settings(less, pairs(known.set, "--set"))
    less = dataclasses.replace(less, cut=cut(full, less, known.quick))
    return name + (SUFFIX if less.cut else ""), less


def places_of(known: argparse.Namespace) -> dict[str, str]:
    given = {key: getattr(known, name) for name, key in command.IN_CONFIG.items()}
    places = {key: value for key, value in given.items() if value}
    return places | ({"parallel.check_memory": "False"} if known.force else {})


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--dataset", help=f"a shipped protocol, one of {', '.join(shipped())}")
    parser.add_argument("--protocol", metavar="FILE", help="your own protocol file")
    parser.add_argument(
        "--config",
        metavar="FILE[:ARGUMENT]",
        help="no protocol, but a config to compare on, such as configs/logs.py:schema=shop.yaml",
    )
    parser.add_argument("--table", help=f"comma-separated: {', '.join(TABLES)}; or all")
    parser.add_argument(
        "--seeds", type=int, help="final runs of each entry (default: the protocol's)"
    )
    parser.add_argument("--trials", type=int, help="to tune each entry, in runs of full length")
    parser.add_argument("--workdir", default="runs/paper", help="for tables (default %(default)s)")
    parser.add_argument(
        "--runs", default="", help="for the runs' folders (default WORKDIR/NAME/runs)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="cheap tables, in a folder beside the full ones"
    )
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="train nothing: measure a part of each row, and write to estimate.md what all takes",
    )
    parser.add_argument(
        "--set",
        default="",
        metavar="KEY=VALUE,...",
        help="settings for all entries; put values with commas in brackets: "
        "model.mlp.hidden=(64,32)",
    )
    parser.add_argument(
        "--entries",
        default="",
        metavar="NAME,...",
        help="run only these rows; the table still shows every row that has runs (where entries "
        "try each other's settings, all are searched)",
    )
    parser.add_argument(
        "--together",
        default="auto",
        help="train an entry's seeds as replicas in one program: always, never, or auto (default: "
        "not on a CPU, where one after another is faster)",
    )
    command.add_shared(parser, *command.DATA, "cache_dir", "force")
    return parser

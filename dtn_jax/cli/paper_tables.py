"""Makes paper tables: tunes, trains over seeds, tests differences, writes tables and pictures.

  overall       all architectures, each tuned at the same cost
  ablation      DTN without its parts, and with its options
  interactions  every kind of expert in every routing
  matched       all architectures with DTN's parameters, and with DTN's FLOPs
  sensitivity   DTN at other sizes
  divergence    how far each model is from the best AUC, as the data's tasks differ more and more

A protocol fixes beforehand what is compared: --dataset names one of dtn_jax/papertables/protocols,
--protocol your own file (copy one), and --config a config, such as that of your own logs, with
which DTN and the usual rivals are compared. Trials never open test; each final run reads it once.

A finished run is a cell, and is not run again. So you can stop the command, run it again, add
seeds or tables, or run it in several processes, which share the work.

It writes WORKDIR/NAME/TABLE.md, .tex, .csv and pictures (NAME is the protocol's, or the data set's
for --config), report.html with all tables, and cells.jsonl.xz with the cells. --quick makes cheap
tables (few trials, seeds, steps) in WORKDIR/NAME-shortened; --estimate tells what all will cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence

import jax

from dtn_jax.cli import command, compile_cache, folders
from dtn_jax.errors import UserError, choose
from dtn_jax.options import pairs
from dtn_jax.papertables import csv as table_csv
from dtn_jax.papertables import estimate as table_estimate
from dtn_jax.papertables import kept
from dtn_jax.papertables import latex as table_latex
from dtn_jax.papertables import markdown as table_markdown
from dtn_jax.papertables import plots as table_plots
from dtn_jax.papertables import references as table_references
from dtn_jax.papertables import report as table_report
from dtn_jax.papertables import terminal as table_terminal
from dtn_jax.papertables.content import content
from dtn_jax.papertables.default_protocol import default_protocol
from dtn_jax.papertables.entries import TABLES, named
from dtn_jax.papertables.gaps import with_gaps
from dtn_jax.papertables.protocol import Entry, Protocol
from dtn_jax.papertables.protocol_files import load, shipped
from dtn_jax.papertables.remade import remade
from dtn_jax.papertables.shortened import SUFFIX, cut, quick, with_settings
from dtn_jax.papertables.work import Work, data_of
from dtn_jax.report import screen
from dtn_jax.shared_files import disk_errors, write_whole

RESUMES = True  # an interrupted call resumes from its last checkpoint
EXAMPLE = "dtn-jax paper_tables --dataset=adult --table=overall --seeds=3 --workdir=runs/paper"
MOST = 10_000  # seeds or trials
TOGETHER = ("auto", "always", "never")


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    named_tables = list(TABLES) if known.table == "all" else (known.table or "").split(",")
    for table in named_tables:
        choose("table", table, [*TABLES, "all (alone)"])
    choose("--together", known.together, TOGETHER)
    folders.check(known.workdir, "workdir")
    if known.runs:
        folders.check(known.runs, "--runs")
    name, protocol = read_protocol(known)
    has_dials = protocol.dials or known.table != "all"
    tables = [table for table in named_tables if table != "divergence" or has_dials]
    folder = pathlib.Path(known.workdir) / name
    runs = pathlib.Path(known.runs) / name if known.runs else folder / "runs"
    compile_cache.use("none" if known.estimate else known.cache_dir)  # compiling is a part of it
    on_cpu = jax.default_backend() == "cpu"
    together = known.together == "always" or (known.together == "auto" and not on_cpu)
    for made in (folder, runs):
        folders.make(made, "workdir")
    work = Work(protocol, folder, runs, places_of(known), together)
    with disk_errors(folder):
        if known.estimate:
            table_estimate.estimate(work, *rows_of(work, tables, known.entries))
            return
        problems = make(work, tables, known.entries, arguments)
    if problems:
        raise UserError("\n".join(["some runs failed:", *problems]))


def make(work: Work, tables: Sequence[str], only: str, arguments: Sequence[str]) -> list[str]:
    """Trains what the tables lack, writes and shows them; returns what failed."""
    folder, problems = work.folder, []
    rows, wanted = rows_of(work, tables, only)
    for table, own in rows.items():
        for failed in work.do([e for e in own if not wanted or e.name in wanted]):
            problems += failed
            write(work, table, own, arguments)
        kept.pack(folder)
        # Again: meanwhile another process may have added cells, or written over the table.
        show(write(work, table, own, arguments), folder / f"{table}.md")
    return problems


def rows_of(work: Work, tables: Sequence[str], only: str) -> tuple[dict, list[str]]:
    """The entries of each table, and the names of those that are asked for; all where empty."""
    rows = {t: TABLES[t](work.protocol, work.data.schema, work.size) for t in tables}
    return rows, named(only, [entry.name for entries in rows.values() for entry in entries])


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
        name = data_of(full, places_of(known)).schema.name
    elif known.protocol:
        full, name = load(pathlib.Path(known.protocol)), pathlib.Path(known.protocol).stem
    else:
        files, name = shipped(), known.dataset or ""
        full = load(files[choose("dataset", name, files)])
    made = quick(full) if known.quick else full
    for count in ("seeds", "trials"):
        given = getattr(known, count)
        if given is not None and not 1 <= given <= MOST:
            raise UserError(f"--{count}={given}: expected at least 1 and at most {MOST:,}")
        made = dataclasses.replace(made, **{count: given or getattr(made, count)})
    made = with_settings(made, pairs(known.set, "--set"))
    made = dataclasses.replace(made, cut=cut(full, made, known.quick))
    return name + (SUFFIX if made.cut else ""), made


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
    parser.add_argument(
        "--workdir", default="runs/paper", help="for tables and cells (default %(default)s)"
    )
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


def write(work: Work, table: str, entries: Sequence[Entry], arguments: Sequence[str]) -> dict:
    """Writes the table from the cells that exist; returns its content."""
    tunings = {n: work.tuning(n) for n in dict.fromkeys(e.tuned_as for e in entries)}
    cells = {e.name: work.cells(e) for e in entries}
    references = {} if work.weighted else table_references.of_data(work.data)
    found = content(
        work.dataset,
        table,
        work.protocol,
        entries,
        cells,
        {n: t for n, t in tunings.items() if t},
        references,
    )
    if table == "divergence":
        notes = {e.name: work.data_of(e).notes for e in entries}
        found = with_gaps(found, work.protocol, entries, cells, notes)
    found["command"] = remade(arguments)
    stem = work.folder / table
    kept.keep(stem.with_suffix(".json"), found)
    drawn = [path.name for path in table_plots.draw(found, stem)]
    write_whole(stem.with_suffix(".md"), table_markdown.markdown(found, drawn))
    write_whole(stem.with_suffix(".tex"), table_latex.latex(found))
    write_whole(stem.with_suffix(".csv"), table_csv.csv_text(found))
    pictures = {t: sorted(work.folder.glob(f"{t}_*.png")) for t in TABLES}
    table_report.write(
        work.folder / "report.html", table_report.made(work.folder, TABLES), pictures
    )
    return found


def show(found: dict, path: pathlib.Path) -> None:
    for table in table_terminal.tables(found, screen.console().width):
        screen.show(table)
    for note in table_terminal.notes(found):
        screen.say(note, style="dim", highlight=False)
    screen.say(f"{path}, .tex, .csv, pictures, and {path.with_name('report.html')}")

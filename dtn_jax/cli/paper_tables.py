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

A group of protocols, such as `first`, is made set by set; what they claim is then tested over all
sets, in WORKDIR/first.md.

A finished run is not run again. So you can stop the command, run it again, add seeds or tables, or
run it in several processes, which share the work.

It writes WORKDIR/NAME/TABLE.md, .tex, .csv and pictures (NAME is the protocol's, or the data set's
for --config), and the runs' folders in WORKDIR/NAME/runs. --quick
makes cheap tables (few trials, seeds, steps) in WORKDIR/NAME-shortened; --estimate tells what all
will cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import shlex
import tempfile
from collections.abc import Sequence

from dtn_jax.cli import command, compile_cache
from dtn_jax.places import protocol_groups, protocols

EXAMPLE = "dtn-jax paper_tables --dataset=adult --table=overall --seeds=3 --workdir=runs/paper"
ALL = "all"  # the tables
MODES = dict.fromkeys(("dataset", "protocol", "config"), ())
TABLES = command.constant("papertables.entries", "TABLES")
OPTIONS = {
    "dataset=NAME": f"a shipped protocol, one of {', '.join(protocols())}; or a group of them: "
    f"{', '.join(protocol_groups())}",
    "protocol=FILE": "your own protocol file, or such a name",
    "config=FILE[:ARGUMENT]": "no protocol, but a config to compare on, such as "
    "configs/logs.py:schema=shop.yaml",
    "table=NAMES": f"by comma: {', '.join(TABLES)}; or all",
    "seeds=N": "final runs of each entry's search (default: the protocol's)",
    "trials=N": "to tune each entry, in runs of full length (default: the protocol's)",
    "workdir=DIR": "for tables",
    "quick": "cheap tables, in a folder beside the full ones",
    "estimate": "train nothing: measure a part of each row, and write to estimate.md what all "
    "takes",
    "entries=NAME,...": "run only these rows; the table still shows every row that has runs "
    "(where entries try each other's settings, all are searched)",
}
SHARED = (*command.DATA, "cache_dir", "force")
DEFAULTS = {"seeds": int, "trials": int, "workdir": "runs/paper", "table": "overall"}
RANGES = dict.fromkeys(("seeds", "trials"), (1, 10_000))
CHOICES = {"dataset": [*protocols(), *protocol_groups()], "table": [*TABLES, ALL]}


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    with tempfile.TemporaryDirectory() as compiled:
        if known.estimate and known.cache_dir != compile_cache.OFF:
            compile_cache.use(compiled)  # as if nothing were compiled yet
        make(known, arguments)


def make(known: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Makes or estimates the tables of each set that the command names."""
    named = command.listed(known.table)
    tables = [*TABLES] if ALL in named else named
    counts = {n: getattr(known, n) for n in ("seeds", "trials") if getattr(known, n) is not None}
    places = command.shared_options(known)
    from dtn_jax.errors import UserError, disk_errors  # after --help
    from dtn_jax.papertables import entries, written
    from dtn_jax.papertables.estimate import estimate
    from dtn_jax.papertables.numbers import DIVERGENCE
    from dtn_jax.papertables.protocol import SHORTENED, quick, read_protocol
    from dtn_jax.papertables.runs import Runs
    from dtn_jax.report import screen

    groups, names = protocol_groups(), known.dataset or known.protocol
    shipped = groups.get(names) or ([names] if names in protocols() else [])
    call = shlex.join(["dtn-jax", "paper_tables", *arguments])
    sets, hours, problems = {}, {}, []
    for dataset in shipped or [""]:
        file = "" if shipped else known.protocol
        try:
            name, full = read_protocol(dataset, file, known.config, places)
            protocol = quick(full, **counts) if known.quick else dataclasses.replace(full, **counts)
            wanted = [t for t in tables if known.table != ALL or t != DIVERGENCE or protocol.dials]
            folder = pathlib.Path(known.workdir) / (name + SHORTENED * bool(protocol.cut))
            (folder / "runs").mkdir(parents=True, exist_ok=True)
            runs = Runs(protocol, folder / "runs", places)
            rows = {t: entries.TABLES[t](protocol, runs.data.schema, runs.size) for t in wanted}
            some = entries.named(known.entries, [row.name for of in rows.values() for row in of])
            sets[folder] = protocol
            with disk_errors(folder):
                if known.estimate:
                    hours[dataset] = estimate(runs, rows, some, folder)
                else:
                    written.make(runs, rows, some, folder, call)
        except UserError as error:  # the other sets are made
            problems.append(str(error) if names not in groups else f"{dataset}: {error}")
    if names in groups and known.estimate:
        each = ", ".join(f"{name} {of:,.2f}" for name, of in hours.items())
        screen.say(f"all of {names}: {sum(hours.values()):,.2f} hours ({each})")
    elif names in groups:
        written.write_verdicts(sets, pathlib.Path(known.workdir) / f"{names}.md")
    if problems:
        raise UserError("\n".join(problems))

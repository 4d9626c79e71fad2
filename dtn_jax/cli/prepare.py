"""Prepares a data set, and shows what it holds: one that is built in, or your own logs.

Your own logs take two commands. --infer writes a schema file from the columns of raw files, for you
to read and edit; --schema prepares what it describes:

  dtn-jax prepare --infer --input='logs/*.parquet' --out=shop.yaml
  dtn-jax prepare --schema=shop.yaml --input='logs/*.parquet' --data_dir=data

A set that is already prepared is only shown, and an interrupted command resumes. --describe
measures what a set holds: positive rates, suspects of leaks, drift from train to test; it needs no
--input where the set is prepared.

--extend prepares tomorrow's rows by the encoders of today's set, for a run that starts from today's
(--config.train.start_from). The set has the name of its schema file, which must be another:

  sed 's/^name: shop$/name: shop_2/' shop.yaml > shop_2.yaml
  dtn-jax prepare --schema=shop_2.yaml --input=day2 --data_dir=data --extend=shop
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
import textwrap
from collections.abc import Sequence

from dtn_jax.cli import command, description
from dtn_jax.config import plugins
from dtn_jax.data import prepare as logs
from dtn_jax.data.infer.infer import infer
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.schemas import key_models as keys
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.named_schema import quoted
from dtn_jax.data.sets import catalog
from dtn_jax.data.sets.catalog import DATASETS
from dtn_jax.errors import UserError
from dtn_jax.shared_files import check_place

CALL = "dtn-jax prepare"
RESUMES = True  # an interrupted call resumes where it was
EXAMPLE = "dtn-jax prepare --dataset=synthetic --options=rows=100000,seed=1"


OF_LOGS = ("processes", "memory_gb", "max_reject_rate", "engine", "master")
MODES = {  # {what is done: the options that it reads, beside --data_dir and --plugins}
    "infer": ("input", "out", "labels", "time", "group", "replace"),
    "schema": ("input", "extend", "describe", "html", "replace", *OF_LOGS),
    "dataset": ("options", "manual_dir", "describe", "html"),
}


def main(arguments: Sequence[str]) -> None:
    if "--help=schema" in arguments:
        print(keys.help_text())
        return
    parser = make_parser()
    known = parser.parse_args(arguments)
    modes = [name for name in MODES if getattr(known, name)]
    if len(modes) != 1:
        raise UserError("give one of --infer, --schema=FILE and --dataset=NAME. See --help.")
    every = {name for names in MODES.values() for name in names}
    for name in sorted(every - set(MODES[modes[0]])):
        if getattr(known, name) != parser.get_default(name):
            where = " or ".join(f"--{mode}" for mode, names in MODES.items() if name in names)
            raise UserError(f"--{name} goes with {where}, not with --{modes[0]}")
    if known.html and not known.describe:
        raise UserError("--html=FILE is the page of --describe: give both, or neither")
    if known.infer:
        infer_schema(known)
        return
    description.check(known.html)
    plugins.load(known.plugins)
    data = {"schema": own_logs, "dataset": built_in}[modes[0]](known)
    if known.describe:
        description.write(data[0], known.html)
    else:
        description.show(*data)


def built_in(known: argparse.Namespace) -> tuple[Prepared, bool]:
    """A data set by name, and whether its account is still to be shown."""
    source = (known.dataset, known.options, known.data_dir, known.manual_dir)
    fresh = not pathlib.Path(catalog.make_builder(*source).data_dir).exists()
    return catalog.load(*source), not fresh  # preparing it shows the account already


def own_logs(known: argparse.Namespace) -> tuple[Prepared, bool]:
    """The logs that a schema file describes."""
    root = catalog.data_root(known.data_dir)
    fresh = not logs.place(schema_file.load(known.schema), root).exists()
    if known.extend and not known.input:
        raise UserError("--extend=SET needs --input=FILES, the new rows")
    if not known.input and (known.describe or not fresh):
        return catalog.load("logs", f"schema={quoted(known.schema)}", known.data_dir), True
    if not known.input:
        raise UserError(
            f"--schema needs --input=FILES (a file, a glob or a folder, several by comma): no set "
            f"is prepared in {root}"
        )
    given = {name: getattr(known, name) for name in (*OF_LOGS, "replace", "extend")}
    data = logs.prepare(known.schema, _listed(known.input), root, **given)
    return data, not fresh  # preparing it shows the account already


def infer_schema(known: argparse.Namespace) -> None:
    """Writes a schema file from raw files, and says how to go on."""
    if not known.input or not known.out:
        missing = "--out=FILE" if known.input else "--input=FILES"
        raise UserError(f"--infer needs {missing}. See --help.")
    check_place(known.out, "--out", "a file")
    infer(
        _listed(known.input),
        known.out,
        labels=_listed(known.labels),
        time=known.time,
        group=known.group,
        replace=known.replace,
    )
    given = {"schema": known.out, "input": known.input, "data_dir": known.data_dir or "data"}
    options = " ".join(f"--{key}={shlex.quote(value)}" for key, value in given.items())
    print(f"\nWrote {known.out}: read it, edit it, then\n  {CALL} {options}")


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def make_parser() -> argparse.ArgumentParser:
    made = command.parser(__doc__, EXAMPLE)
    made.epilog = f"{options_help()}\n\n{made.epilog}"
    add = made.add_argument
    add("--dataset", default="", help=f"a built-in set: one of {', '.join(DATASETS)}")
    add("--options", default="", help="that set's own options, KEY=VALUE,...; see below")
    add(
        "--manual_dir",
        default="",
        help="where raw files are, one folder per data set (default $DTN_MANUAL_DIR)",
    )
    add(
        "--data_dir",
        default="",
        help="where prepared sets go (default $DTN_DATA_DIR, else ~/.cache/dtn_jax)",
    )
    add("--describe", action="store_true", help="measure what the set holds: rates, leaks, drift")
    add(
        "--html",
        default="",
        metavar="FILE",
        help="the page of --describe (default: beside the set)",
    )
    add("--plugins", default="", help="your own files with data sets, comma-separated")
    own = made.add_argument_group("your own logs")
    add = own.add_argument
    add("--schema", default="", metavar="FILE", help="a schema file; --help=schema lists its keys")
    add(
        "--input",
        default="",
        metavar="FILES",
        help="raw files: Parquet, CSV, JSON lines or Arrow; a file, a 'glob' or a folder, several "
        "by comma; also s3://..., gs://... (pip install -e '.[remote]')",
    )
    add(
        "--extend",
        default="",
        metavar="SET",
        help="a prepared set, its folder or its name in --data_dir, whose ids, buckets and scales "
        "these rows take; new ids come after its own. The schema file has the same fields and "
        "tasks, and another name; its split may be another",
    )
    add("--infer", action="store_true", help="write a schema file from the raw files")
    add("--out", default="", metavar="FILE", help="where --infer writes it")
    add("--labels", default="", help="columns that are labels, by comma; without, --infer guesses")
    add("--time", default="", help="the time column; without, --infer guesses")
    add("--group", default="", help="the column of the users or sessions; without, --infer guesses")
    add(
        "--processes",
        type=int,
        default=0,
        help="processes; 0 (default) is one a core, as far as --memory_gb goes",
    )
    add(
        "--memory_gb",
        type=float,
        default=logs.MEMORY_GB,
        help="gigabytes that all of them together may need (default %(default)s)",
    )
    add(
        "--engine",
        default="duckdb",
        help="duckdb (default): this machine; spark: a cluster that shares --data_dir, for a log "
        "that no machine can hold (pip install -e '.[spark]')",
    )
    add("--master", default="", metavar="URL", help="Spark's: spark://HOST:7077, yarn, local[2]")
    add(
        "--max_reject_rate",
        type=float,
        default=logs.MAX_REJECT_RATE,
        help="share of bad rows above which nothing is written (default %(default)s)",
    )
    add(
        "--replace",
        action="store_true",
        help="prepare the set again where it was made from something "
        "else; the old one is kept beside it",
    )
    return made


def options_help() -> str:
    """Each data set's own options, as --help shows them."""
    lines = ["the data sets' own options, with their defaults:"]
    for name, builder in DATASETS.items():
        lines.append(f"  {name}" + ("" if builder.OPTIONS else ": none"))
        for key, found in builder.OPTIONS.items():
            text = f"{key}={found.default}: {found.help} [{found.expected}]"
            lines += textwrap.wrap(
                text, 79, initial_indent="    ", subsequent_indent=" " * 8, break_on_hyphens=False
            )
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main, resumes=RESUMES)

"""Prepares a data set, and shows what it holds: one that is built in, or your own logs.

Your own logs take two commands. --infer writes a schema file from the columns of raw files, for you
to read and edit; --schema prepares what it describes:

  dtn-jax prepare --infer --input='logs/*.parquet' --out=shop.yaml
  dtn-jax prepare --schema=shop.yaml --input='logs/*.parquet' --data_dir=data

A set that is already prepared is only shown, and an interrupted command resumes. --describe
measures what a set holds: positive rates, suspects of leaks, drift from train to test; it needs no
--input where the set is prepared. --help=schema lists the keys of a schema file, --help=options the
options of the sets that are built in.

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
from typing import TYPE_CHECKING

from dtn_jax.cli import command
from dtn_jax.errors import UserError
from dtn_jax.places import full_path

if TYPE_CHECKING:
    from dtn_jax.data.prepared import Prepared

EXAMPLE = "dtn-jax prepare --dataset=synthetic --options=rows=100000,seed=1"
OF_LOGS = ("processes", "memory_gb", "max_reject_rate", "engine", "master")
FORMATS = ", ".join(command.constant("data.schemas.spec", "FORMATS"))
LOGS = {
    "schema=FILE": "a schema file; --help=schema lists its keys",
    "input=FILES": "raw files: Parquet, CSV, JSON lines or Arrow; a file, a 'glob' or a folder, "
    "several by comma; also s3://..., gs://... (pip install -e '.[remote]')",
    "extend=SET": "a prepared set, its folder or its name in --data_dir, whose ids, buckets and "
    "scales these rows take; new ids come after its own. The schema file has the same fields and "
    "tasks, and another name; its split may be another",
    "infer": "write a schema file from the raw files",
    "format=FORMAT": f"of --infer's input, if no suffix says it: {FORMATS}",
    "out=FILE": "where --infer writes it",
    "labels=COLUMNS": "columns that are labels, by comma; without, --infer guesses",
    "time=COLUMN": "the time column; without, --infer guesses",
    "group=COLUMN": "the column of the users or sessions; without, --infer guesses",
    "processes=N": "processes; 0 (default) is one per core, as far as --memory_gb goes",
    "memory_gb=GB": "gigabytes that all of them together may need",
    "engine=NAME": "duckdb: this machine; spark: a cluster that shares --data_dir, for a log that "
    "no machine can hold (pip install -e '.[spark]')",
    "master=URL": "Spark's: spark://HOST:7077, yarn, local[2]",
    "max_reject_rate=SHARE": "share of bad rows above which nothing is written",
    "replace": "prepare anew what was made from something else; the old set is kept beside it",
}
MODES = {  # {what is done: the options that it reads, beside --data_dir and --plugins}
    "infer": ("input", "format", "out", "labels", "time", "group", "replace"),
    "schema": ("input", "extend", "describe", "html", "replace", *OF_LOGS),
    "dataset": ("options", "manual_dir", "describe", "html"),
}
SETS = ", ".join(command.constant("data.sets.catalog", "DATASETS"))
OPTIONS = {
    "dataset=NAME": f"a built-in set: one of {SETS}",
    "options=KEY=VALUE,...": "that set's own options; --help=options lists them",
    "describe": "measure what the set holds: rates, leaks, drift",
    "html=FILE": "the page of --describe (default: beside the set)",
    "your own logs": LOGS,
}
DEFAULTS = {"processes": 0, "engine": "duckdb"}
DEFAULTS |= {
    name: command.constant("data.prepare", name.upper())
    for name in ("memory_gb", "max_reject_rate")
}
SHARED = command.DATA
USAGE = """%(prog)s --dataset NAME [--options KEY=VALUE,...]
       %(prog)s --infer --input FILES --out FILE
       %(prog)s --schema FILE --input FILES [more of the options below]"""


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    if known.infer:
        infer_schema(known)
        return
    if known.plugins:
        from dtn_jax.config import plugins

        plugins.load(known.plugins)
    data, is_new = prepared(known)
    from dtn_jax.cli import description  # after what may be refused

    if known.describe or known.html:
        description.write(data, known.html)
    else:
        description.show(data, account=not is_new)  # preparing it shows the account already


def prepared(known: argparse.Namespace) -> tuple[Prepared, bool]:
    """A data set by name, or the logs that a schema file describes, and whether this call prepared
    it."""
    from dtn_jax.data import prepare as logs
    from dtn_jax.data.schemas import schema_file
    from dtn_jax.data.sets import catalog

    if known.dataset:
        source = (known.dataset, known.options, known.data_dir, known.manual_dir)
        is_new = not pathlib.Path(catalog.make_builder(*source).data_dir).exists()
        return catalog.load(*source), is_new
    if known.extend and not known.input:
        raise UserError("--extend=SET needs --input=FILES, the new rows")
    if not known.input:
        return catalog.load("logs", f"schema={known.schema}", known.data_dir), False
    root = catalog.data_root(known.data_dir)
    is_new = not logs.place(schema_file.load(known.schema), root).exists()
    given = {name: getattr(known, name) for name in (*OF_LOGS, "replace", "extend")}
    return logs.prepare(known.schema, command.listed(known.input), root, **given), is_new


def infer_schema(known: argparse.Namespace) -> None:
    """Writes a schema file from raw files, and says how to go on."""
    command.require(known, "input", "out")
    full_path(known.out)  # which is no URL
    from dtn_jax.data.infer.infer import infer

    labels = command.listed(known.labels)
    given = {name: getattr(known, name) for name in ("format", "time", "group", "replace")}
    infer(command.listed(known.input), known.out, labels=labels, **given)
    schema, files, folder = map(shlex.quote, (known.out, known.input, known.data_dir or "data"))
    print(
        f"\nWrote {known.out}: read it, edit it, then\n"
        f"  dtn-jax prepare --schema={schema} --input={files} --data_dir={folder}\n"
        f"  dtn-jax train --schema={schema} --model=dtn --data_dir={folder}"
    )


def schema_help() -> str:
    """The keys of a schema file."""
    from dtn_jax.data.schemas import key_models

    return key_models.help_text()


def options_help() -> str:
    """Each data set's own options."""
    from dtn_jax.data.sets.catalog import DATASETS

    lines = ["the data sets' own options, with their defaults:"]
    for name, builder in DATASETS.items():
        lines.append(f"  {name}" + ("" if builder.OPTIONS else ": none"))
        for key, option in builder.OPTIONS.items():
            text = f"    {key}={option.default}: {option.help} [{option.expected}]"
            lines += textwrap.wrap(text, 79, subsequent_indent=" " * 8, break_on_hyphens=False)
    return "\n".join(lines)


TOPICS = {"schema": schema_help, "options": options_help}

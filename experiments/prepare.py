"""Prepares a data set from raw files, as the first training run would, and shows what it holds.

A set that is already prepared is only shown.
"""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Sequence

import rich
import rich.box
import rich.table

from dtn_jax.config import plugins
from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation.catalog import DATASETS
from dtn_jax.datasets.preparation.prepared import Prepared

from . import command

EXAMPLE = "python -m experiments.prepare --dataset=synthetic --options=rows=100000,seed=1"


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.epilog = f"{options_help()}\n\n{parser.epilog}"
    parser.add_argument("--dataset", default="", help=f"one of {', '.join(DATASETS)}")
    parser.add_argument(
        "--options", default="", help="the data set's own options, KEY=VALUE,...; see below"
    )
    parser.add_argument(
        "--manual_dir",
        default="",
        help="where raw files are, one folder per data set (default $DTN_MANUAL_DIR)",
    )
    parser.add_argument(
        "--data_dir",
        default="",
        help="where prepared sets go (default $DTN_DATA_DIR, else ~/.cache/dtn_jax)",
    )
    parser.add_argument(
        "--plugins", default="", help="your own files with data sets, comma-separated"
    )
    known = parser.parse_args(arguments)
    plugins.load(known.plugins)
    source = (known.dataset, known.options, known.data_dir, known.manual_dir)
    fresh = not pathlib.Path(catalog.make_builder(*source).data_dir).exists()
    show(catalog.load(*source), account=not fresh)  # preparing it shows the account already


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


def show(data: Prepared, account: bool) -> None:
    """Shows a prepared set's fields, tasks, splits and place, and its account if asked."""
    fields = rich.table.Table(box=rich.box.SIMPLE_HEAD, title=f"Fields of {data.schema.name}")
    for column in ("field", "kind", "table rows", "slots", "pooling", "unknown in train"):
        fields.add_column(column, justify="left" if column in ("field", "kind") else "right")
    unknown = data.unknown_values["train"]
    for field in data.schema.fields:
        pooling = f"weighted {field.pooling}" if field.weighted else field.pooling
        fields.add_row(
            field.name,
            f"{field.kind} of {field.length}" if field.length else field.kind,
            f"{field.rows:,}",
            str(field.slots),
            pooling if field.kind == "bag" else "",
            f"{unknown.get(field.name, 0):,}",
        )
    rich.print(fields)
    tasks = rich.table.Table(box=rich.box.SIMPLE_HEAD, title="Tasks")
    for column in ("task", "kind", "space of its loss", "also reported in", "upstream"):
        tasks.add_column(column)
    for task in data.schema.tasks:
        also = ", ".join(s for s in task.spaces if s != task.space)
        tasks.add_row(task.name, task.kind, task.space, also, ", ".join(task.upstream))
    rich.print(tasks)
    rows = ", ".join(f"{n:,} {split}" for split, n in data.rows.items())
    rich.print(f"{rows} rows; fingerprint {data.fingerprint[:16]}")
    for line in data.notes.get("account", ()) if account else ():
        print(line)
    print(f"In {data.folder}")


if __name__ == "__main__":
    command.run(main)

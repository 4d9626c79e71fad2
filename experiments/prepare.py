"""Prepares a data set: raw files to encoders and blocks of rows, as training would do it first.

What is there already is not done again. Shows what the set holds.
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
    parser.add_argument("--dataset", default="", help=f"one of: {', '.join(DATASETS)}")
    parser.add_argument(
        "--options", default="", help="the data set's own options, KEY=VALUE,...: see below"
    )
    parser.add_argument(
        "--manual_dir", default="", help="raw files, a folder a data set (default $DTN_MANUAL_DIR)"
    )
    parser.add_argument(
        "--data_dir", default="", help="prepared sets (default $DTN_DATA_DIR, else a cache folder)"
    )
    parser.add_argument("--plugins", default="", help="files of your own with data sets, by comma")
    known = parser.parse_args(arguments)
    plugins.load(known.plugins)
    source = (known.dataset, known.options, known.data_dir, known.manual_dir)
    told = not pathlib.Path(catalog.make_builder(*source).data_dir).exists()  # while it is prepared
    show(catalog.load(*source), account=not told)


def options_help() -> str:
    """Each data set's own options with their defaults, as --help shows them."""
    lines = ["the data sets' own options, with their defaults (what they mean: dtn_jax/datasets):"]
    for name, builder in DATASETS.items():
        words = []
        for key, default in builder.OPTIONS.items():
            default, *others = default if isinstance(default, tuple) else (default,)
            words.append(f"{key}={default}" + (f" (or {', '.join(others)})" if others else ""))
        text = f"  {name:<15}{', '.join(words) or 'none'}"
        lines += textwrap.wrap(text, 79, subsequent_indent=" " * 17, break_on_hyphens=False)
    return "\n".join(lines)


def show(data: Prepared, account: bool) -> None:
    """The fields, the tasks, the splits and the place of a prepared set; its account, if asked."""
    fields = rich.table.Table(box=rich.box.SIMPLE_HEAD, title=f"Fields of {data.schema.name}")
    for column in ("field", "kind", "table rows", "slots", "pooling", "unknown in train"):
        fields.add_column(column, justify="left" if column in ("field", "kind") else "right")
    unknown = data.unknown_values["train"]
    for field in data.schema.fields:
        pooling = f"weighted {field.pooling}" if field.weighted else field.pooling
        fields.add_row(
            field.name,
            field.kind,
            f"{field.rows:,}",
            str(field.slots),
            pooling if field.kind in ("bag", "sequence") else "",
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

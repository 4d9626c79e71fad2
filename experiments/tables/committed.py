"""What the repository keeps of a table: its Markdown, and in its JSON what pages are made from.

    python -m experiments.tables.committed runs/paper/kuairand experiments/results/paper/kuairand

Pictures, CSV, TeX, HTML, cells, and the metrics that no page prints stay in the first folder.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
from collections.abc import Mapping

from dtn_jax.metrics import METRICS
from dtn_jax.shared_files import write_whole

from .kept import read_json, sealed
from .text import printed

DIGITS = 8  # of a number
MEASURED = ("metrics", "test")  # where metrics stand, of a row and of a model from outside
PICTURE = re.compile(r"^!\[.*\]\(.*\)\n+", re.MULTILINE)


def slim(value: object, measured: bool = False) -> object:
    """A table's content without the metrics that are not printed, its numbers in few digits."""
    if isinstance(value, Mapping):
        return {
            key: slim(one, measured or key in MEASURED)
            for key, one in value.items()
            if not measured or key not in METRICS or printed(key)
        }
    if isinstance(value, list | tuple):
        return [slim(one, measured) for one in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def keep(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies the tables of one folder to another, as the repository keeps them."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.md")):
        write_whole(target / path.name, PICTURE.sub("", path.read_text()))
    for path in sorted(source.glob("*.json")):
        text = json.dumps(sealed(slim(read_json(path))), separators=(",", ":"))
        write_whole(target / path.name, text.replace('{"name"', '\n{"name"') + "\n")


if __name__ == "__main__":
    keep(*map(pathlib.Path, sys.argv[1:]))

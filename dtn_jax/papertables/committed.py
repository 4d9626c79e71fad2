"""What the repository keeps of a table: its Markdown, and in its JSON what pages are made from.

    python -m dtn_jax.papertables.committed runs/paper/kuairand experiments/results/paper/kuairand

Pictures, CSV, TeX, HTML, cells, and the metrics that no page prints stay in the first folder. What
the architectures of `overall` were tuned to becomes configs/tuned/NAME.json, if that is there.
"""

from __future__ import annotations

import ast
import json
import pathlib
import re
import sys
from collections.abc import Mapping

from dtn_jax.config import flatten, identity, load_config
from dtn_jax.config.files import TUNED
from dtn_jax.metrics import METRICS
from dtn_jax.papertables.cells import usual
from dtn_jax.papertables.kept import read_json, sealed
from dtn_jax.papertables.text import printed
from dtn_jax.shared_files import write_whole

DIGITS = 8  # of a number
MEASURED = ("metrics", "test")  # where metrics stand, of a row and of a model from outside
UNREAD = ("common", "t", "freedom")  # of a row and of a comparison, by what the pages show
OVERALL = "overall"  # the table whose rows' configs are read
PICTURE = re.compile(r"^!\[.*\]\(.*\)\n+", re.MULTILINE)


def slim(value: object, measured: bool = False) -> object:
    """A table's content without the metrics that are not printed, its numbers in few digits."""
    if isinstance(value, Mapping):
        return {
            key: slim(one, measured or key in MEASURED)
            for key, one in value.items()
            if key not in UNREAD and (not measured or key not in METRICS or printed(key))
        }
    if isinstance(value, list | tuple):
        return [slim(one, measured) for one in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def tuned(name: str, found: Mapping) -> dict[str, dict[str, object]]:
    """{architecture: {option: value}}: where the table's runs are not as configs/NAME.py alone."""
    settings, defaults = {}, usual()
    for row in (row for row in found["rows"] if row["name"] == row["architecture"]):
        alone = f"configs/{name}.py:model.architecture={row['architecture']}"
        values = flatten(load_config(alone))
        options = identity(load_config(f"{alone},model.experts={row['experts']}"))
        has = {key: row["config"].get(key, str(defaults[key])) for key in options}
        settings[row["architecture"]] = {
            key: literal(value) for key, value in has.items() if value != str(values[key])
        }
    return settings


def literal(text: str) -> object:
    """A setting's value: a number or a truth value, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def keep(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies the tables of one folder to another, as the repository keeps them."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.md")):
        write_whole(target / path.name, PICTURE.sub("", path.read_text()))
    settings = TUNED / f"{target.name}.json"
    if settings.exists() and (source / f"{OVERALL}.json").exists():
        found = tuned(target.name, read_json(source / f"{OVERALL}.json"))
        write_whole(settings, json.dumps(found, indent=1) + "\n")
    for path in sorted(source.glob("*.json")):
        found = slim(read_json(path))
        if path.stem != OVERALL:
            found["rows"] = [row | {"config": {}} for row in found["rows"]]
        text = json.dumps(sealed(found), separators=(",", ":"))
        write_whole(target / path.name, text.replace('{"name"', '\n{"name"') + "\n")


if __name__ == "__main__":
    keep(*map(pathlib.Path, sys.argv[1:]))

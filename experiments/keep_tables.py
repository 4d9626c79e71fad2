"""Keeps tables of papers in the repository: their Markdown, and in packed JSON what pages show.

Pictures, CSV, LaTeX, HTML and runs stay in the first folder, and so do the metrics that no page
prints; commands lose the options that name folders. What the architectures of `overall` were tuned
to becomes configs/tuned/NAME.json, if that is there. Of a group of protocols, such as `first`, the
page of all sets is kept, too.
"""

from __future__ import annotations

import ast
import gzip
import json
import pathlib
import re
from collections.abc import Mapping, Sequence

from dtn_jax.cli import command
from dtn_jax.config import flatten, identity, load_config
from dtn_jax.config.files import TUNED
from dtn_jax.files import write_whole
from dtn_jax.metrics import METRICS
from dtn_jax.papertables.grids import is_printed
from dtn_jax.papertables.protocol import usual

EXAMPLE = (
    "python -m experiments.keep_tables --source=runs/paper/kuairand "
    "--target=experiments/results/paper/kuairand"
)
OPTIONS = {"source=DIR": "a folder of tables", "target=DIR": "where they are kept"}
NEEDED = ("source", "target")
DIGITS = 8  # of a number
OVERALL = "overall"  # the table whose rows' configs are read
PLACE = r""" (?:'--\w*dir=[^']*'|--\w*dir[= ][^\s"`]+)"""  # of this machine, in a command
LEFT_OUT = re.compile(rf"^!\[.*\]\(.*\)\n+|{PLACE}", re.MULTILINE)  # pictures, too


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    source, target = pathlib.Path(known.source), pathlib.Path(known.target)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.md")):
        write_whole(target / path.name, LEFT_OUT.sub("", path.read_text()))
    group = f"{target.name.partition('_')[0]}.md"
    if (page := source.parent / group).exists():
        write_whole(target.parent / group, LEFT_OUT.sub("", page.read_text()))
    settings, overall = TUNED / f"{target.name}.json", source / f"{OVERALL}.json"
    if settings.exists() and overall.exists():
        content = tuned(target.name, json.loads(overall.read_text()))
        write_whole(settings, json.dumps(content, indent=1) + "\n")
    for path in sorted(source.glob("*.json")):
        content = slim(json.loads(path.read_text()))
        if path.stem != OVERALL:
            content["rows"] = [row | {"config": {}} for row in content["rows"]]
        text = LEFT_OUT.sub("", json.dumps(content, separators=(",", ":")))
        (target / f"{path.name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def slim(value: object, measured: bool = False) -> object:
    """A table's content without the metrics that are not printed, its numbers in few digits."""
    if isinstance(value, Mapping):
        return {
            key: slim(one, measured or key in ("metrics", "test"))
            for key, one in value.items()
            if not measured or key not in METRICS or is_printed(key)
        }
    if isinstance(value, list):
        return [slim(one, measured) for one in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def tuned(name: str, table: Mapping) -> dict[str, dict[str, object]]:
    """{architecture: {option: value}}: where the table's runs are not as configs/NAME.py alone."""
    settings, defaults = {}, usual()
    for row in (row for row in table["rows"] if row["name"] == row["architecture"]):
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


if __name__ == "__main__":
    command.run(main)

"""Writes into the shipped configs what the tables' entries were tuned to.

It reads experiments/results/paper/NAME/overall.json and edits configs/NAME.py, if that has TUNED.
TUNED becomes {architecture: the options in which its runs differ from the file alone}. The
paragraph of the docstring that begins with 'TUNED has' gets the command, seconds and test AUCs.
Then `configs/NAME.py:dtn` trains the table's row. --check writes nothing; its exit code says
whether the files are up to date.
"""

from __future__ import annotations

import ast
import json
import re
import statistics
import textwrap
from collections.abc import Mapping, Sequence

from dtn_jax.config import flatten, identity, load_config
from dtn_jax.config import shipped as shipped_files
from dtn_jax.errors import UserError
from dtn_jax.report import screen

from . import command
from .results_table import PAPER, RESULTS
from .tables.cells import usual
from .tables.numbers import fine, spread
from .tables.protocol import OURS
from .tables.protocol_files import shipped

EXAMPLE = "python -m experiments.tuned_configs"
CONFIGS = shipped_files.folder("configs")
DICTIONARY = re.compile(r"^TUNED = \{(?:\}|.*?^\})\n", re.DOTALL | re.MULTILINE)
PARAGRAPH = re.compile(r"^TUNED has .*?\n(?=\n|\"\"\")", re.DOTALL | re.MULTILINE)
WIDTH = 100


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    known = parser.parse_args(arguments)
    for name in shipped():
        config, table = CONFIGS / f"{name}.py", RESULTS / PAPER / name / "overall.json"
        text = config.read_text() if config.exists() and table.exists() else ""
        if "TUNED" not in text:
            continue
        new = written(text, name, json.loads(table.read_text()))
        if known.check and new != text:
            raise UserError(f"{config} is not what {EXAMPLE} writes; run it")
        if not known.check:
            config.write_text(new)
            screen.say(f"wrote {config}")


def written(text: str, name: str, found: Mapping) -> str:
    """A config file's text with today's TUNED and paragraph.

    Args:
      text: of the file.
      name: of the protocol and the file.
      found: the table's JSON.

    Raises:
      UserError: the file has no place for them.
    """
    published = [row for row in found["rows"] if row["name"] == row["architecture"]]
    tuned = {row["architecture"]: beyond(name, row) for row in published}
    for place, new in ((DICTIONARY, dictionary(tuned)), (PARAGRAPH, paragraph(name, found))):
        if not place.search(text):
            raise UserError(f"configs/{name}.py has no text like {place.pattern!r}")
        text = place.sub(lambda _, new=new: new, text, count=1)
    return text


def beyond(name: str, row: Mapping) -> dict[str, str]:
    """{option: value}, as text, of a row's runs where the config file alone has another."""
    alone = f"configs/{name}.py:model.architecture={row['architecture']}"
    values, defaults = flatten(load_config(alone)), usual()
    options = identity(load_config(f"{alone},model.experts={row['experts']}"))
    has = {key: row["config"].get(key, str(defaults[key])) for key in options}
    return {key: value for key, value in has.items() if value != str(values[key])}


def dictionary(tuned: Mapping[str, Mapping[str, str]]) -> str:
    """TUNED as Python, as the formatter would have it."""
    lines = ["TUNED = {"]
    for architecture, settings in tuned.items():
        lines.append(f'    "{architecture}": {{')
        lines += [f'        "{key}": {literal(value)},' for key, value in settings.items()]
        lines.append("    },")
    return "\n".join([*lines, "}"]) + "\n"


def literal(value: str) -> str:
    """A setting's text as Python: a number, a truth value or a tuple, else quoted."""
    try:
        return repr(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return json.dumps(value)


def paragraph(name: str, found: Mapping) -> str:
    """How TUNED was found, and what the protocol's own entry reaches with it, on the tasks of which
    test has enough examples."""
    row = next(r for r in found["rows"] if r["name"] == found.get("ours", OURS))
    seconds = statistics.median(row["train_seconds"])
    aucs = [
        f"{key} {spread(own['auc'], 5 if fine(found['rows'], key) else 4)}"
        for key, own in row["metrics"].items()
        if key not in row["few"]
    ]
    told = (
        f"TUNED has what `python -m experiments.paper_tables --dataset={name} --table=overall` "
        "chose on validation, for the architecture that the argument names. "
        f"With it, {row['name']} trains in {seconds:.0f} seconds ({'; '.join(found['devices'])}) "
        f"to these test AUCs, mean ± sd of {found['seeds']} seeds: {', '.join(aucs)}."
    )
    return textwrap.fill(told, WIDTH, break_on_hyphens=False, break_long_words=False) + "\n"


if __name__ == "__main__":
    command.run(main)

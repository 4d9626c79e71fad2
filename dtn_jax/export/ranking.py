"""One ranking score of several tasks: an expression such as `click * order@click**2`.

It is one of schema files (`dtn_jax.data.formula`), over a model's outputs in place of a log's
columns: a name is a task, in the space of its loss, or TASK@SPACE. Where its value is missing or
not finite, as the root of a negative prediction is, a row has no ranking score (NaN).
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.data import formula
from dtn_jax.data.formula import NAME, Expression
from dtn_jax.errors import UserError, choose
from dtn_jax.files import reading
from dtn_jax.shapes import Float

RANK = "rank"  # the output
RANK_FILE = "rank.json"  # of a workdir: what `dtn-jax rank` has found
PART = rf"(?:`[^`]+`|\b{NAME})"
IN_SPACE = re.compile(f"{PART}@{PART}")
Columns = Mapping[str, Float[np.ndarray, " B"]]


@dataclasses.dataclass(frozen=True)
class Ranking:
    """An expression whose names are known.

    Attributes:
      text: as it was written.
      expression: what it means.
      reads: {name in the expression: the column that this is}.
      gains: those for which `dtn-jax rank` has found it, by their texts.
    """

    text: str
    expression: Expression = dataclasses.field(repr=False)
    reads: Mapping[str, str]
    gains: Mapping[str, Ranking] = dataclasses.field(default_factory=dict)

    def score(self, columns: Columns) -> Float[np.ndarray, " B"]:
        """Its value in each row, NaN where there is none."""
        frame = pl.DataFrame({name: columns[column] for name, column in self.reads.items()})
        values, _ = self.expression.read(frame, "number")
        return values.cast(pl.Float64).fill_null(np.nan).to_numpy()


def parse(text: str, names: Mapping[str, str], what: str = "--rank") -> Ranking:
    """Reads an expression.

    Args:
      text: as a person wrote it.
      names: {name that it may have: the column that this is}.
      what: the text is, in messages.

    Raises:
      UserError: it is no expression of numbers, or reads nothing, or what is not in `names`.
    """
    text = " ".join(text.split())
    known = IN_SPACE.sub(lambda word: f"`{word[0].replace('`', '')}`", text)
    expression = formula.parse(known, what)
    reads = {name: names[choose(f"task in {what}", name, names)] for name in expression.columns}
    formula.check(expression, dict.fromkeys(reads, pl.Float64()), what, "number")
    return Ranking(text, expression, reads)


def read_option(option: str, outputs: Sequence[str]) -> Ranking | None:
    """An expression, or the path of a rank.json; None of ''.

    Args:
      option: as a person gave it.
      outputs: of the model.

    Raises:
      UserError: it is no expression of these, the file is missing or damaged, or a task has the
        name of the new output.
    """
    if not option:
        return None
    names, gains = names_of(outputs), {}
    if RANK in names:
        raise UserError(f"a task is called {RANK!r}, as the ranking score would be: rename it")
    if option.strip().endswith(".json"):
        with reading(pathlib.Path(option).expanduser(), "find it again: dtn-jax rank") as path:
            facts = json.loads(path.read_text())
            option, text = str(facts["expression"]), str(facts["gain"])
        tasks = {output.partition("@")[0] for output in outputs}
        gains = {text: parse(text, {task: task for task in tasks}, "gain")}
    return dataclasses.replace(parse(option, names), gains=gains)


def names_of(outputs: Sequence[str]) -> dict[str, str]:
    """{TASK@SPACE and TASK: the output}; a task alone is its first output, in its own space."""
    names: dict[str, str] = {}
    for output in outputs:
        names.setdefault(output.partition("@")[0], output)
    return names | {output: output for output in outputs}

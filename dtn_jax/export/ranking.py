"""One ranking score of several tasks: an expression such as `click * order@click**2`.

It is one of schema files (`dtn_jax.data.formula`), over a model's outputs in place of a log's
columns: a name is a task, in the space of its loss, or TASK@SPACE. All values are numbers, which
NumPy computes, since a server does so at every call; a comparison gives 1 or 0. Where a part is
missing or not finite, as the root of a negative prediction is, a row has no ranking score (NaN).
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.data import formula
from dtn_jax.data.formula import CONSTANTS, NAME, WORDS, Expression
from dtn_jax.errors import UserError, choose
from dtn_jax.files import reading
from dtn_jax.shapes import Float

RANK = "rank"  # the output
RANK_FILE = "rank.json"  # of a workdir: what `dtn-jax rank` has found
PART = rf"(?:`[^`]+`|\b{NAME})"
IN_SPACE = re.compile(f"{PART}@{PART}|`[^`]+`")  # or a name that may hold its space
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
        return self.expression.of_arrays({name: columns[self.reads[name]] for name in self.reads})


def parse(text: str, names: Mapping[str, str], what: str = "--rank") -> Ranking:
    """Reads an expression.

    Args:
      text: as a person wrote it.
      names: {name that it may have: the column that this is}.
      what: the text is, in messages.

    Raises:
      UserError: it is no expression of numbers, reads nothing, or what is not in `names`, or a name
        that is also a word of expressions is not in backquotes.
    """
    text = " ".join(text.split())
    known = IN_SPACE.sub(lambda word: f"`{word[0].replace('`', '')}`", text)
    where, choices = f"{what} {text[:80]!r}", ", ".join(names)
    for word in formula.WORD.finditer(known):
        if word[0] in (*WORDS, *CONSTANTS) and word[0] in names:
            raise UserError(f"{where}: if {word[0]} is the task, write `{word[0]}`, in backquotes")
    expression = formula.parse(known, what, needs=f"task, expected one of {choices}")
    reads = {name: names[choose(f"task in {what}", name, names)] for name in expression.columns}
    ranking = Ranking(text, expression, reads)
    try:
        ranking.score(dict.fromkeys(reads.values(), np.ones(1)))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return ranking


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

"""One ranking score of several tasks: an expression such as `click * order@click**2`.

    names                 a task, in the space of its loss, or TASK@SPACE; in backquotes if they
                          are no identifiers
    + - * / **, numbers   as in Python
    log(x), min(x, y, ...), max(x, y, ...), (x)

Python's `ast` reads the text and NumPy computes the values, by the nodes listed here and by no
others: nothing that is written is run. Where the result is not finite, as a root of a negative
prediction is, a row has no ranking score (NaN).
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.data.formula import LONGEST, NAME
from dtn_jax.errors import UserError, choose
from dtn_jax.files import reading
from dtn_jax.shapes import Float

RANK = "rank"  # the output
RANK_FILE = "rank.json"  # of a workdir: what `dtn-jax rank` has found
PART = rf"(?:`[^`]+`|{NAME})"
WORD = re.compile(rf"(?<!\w)(?:(?P<function>{NAME})(?=\s*\()|{PART}(?:@{PART})?)")
SIGNS: dict[type, np.ufunc] = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply}
SIGNS |= {ast.Div: np.divide, ast.Pow: np.power, ast.UAdd: np.positive, ast.USub: np.negative}
FUNCTIONS = {
    "log": lambda x: np.log(x),
    "min": lambda *parts: functools.reduce(np.minimum, parts),
    "max": lambda *parts: functools.reduce(np.maximum, parts),
}
NO_EXPRESSION = (SyntaxError, RecursionError, MemoryError, OverflowError, TypeError)
Columns = Mapping[str, Float[np.ndarray, " B"]]


@dataclasses.dataclass(frozen=True)
class Ranking:
    """An expression whose names are known.

    Attributes:
      text: as it was written.
      reads: the columns that it reads.
      tree: the expression; the name `_0` in it is the first of these columns.
      gains: those for which `dtn-jax rank` has found it, by their texts.
    """

    text: str
    reads: tuple[str, ...]
    tree: ast.expr = dataclasses.field(compare=False, repr=False)
    gains: Mapping[str, Ranking] = dataclasses.field(default_factory=dict)

    def score(self, columns: Columns) -> Float[np.ndarray, " B"]:
        """Its value in each row, NaN where that is not finite."""
        named = {f"_{n}": columns[name] for n, name in enumerate(self.reads)}
        with np.errstate(all="ignore"):
            values = _value(self.tree, named)
        return np.where(np.isfinite(values), values, np.nan)


def parse(text: str, names: Mapping[str, str], what: str = "--rank") -> Ranking:
    """Reads an expression.

    Args:
      text: as a person wrote it.
      names: {name that it may have: the column that this is}.
      what: the text is, in messages.

    Raises:
      UserError: it is no expression, or reads nothing, or what is not in `names`.
    """
    text, reads = " ".join(text.split()), {}

    def placed(word: re.Match) -> str:
        if word["function"]:
            return choose("function", word[0], FUNCTIONS)
        column = names[choose("task", word[0].replace("`", ""), names)]
        return f"_{reads.setdefault(column, len(reads))}"

    why = "expected an expression such as click * order**2"
    if len(text) <= LONGEST:
        try:
            tree = ast.parse(WORD.sub(placed, text), mode="eval").body
            ranking = Ranking(text, tuple(reads), tree)
            ranking.score({name: np.ones(1) for name in reads})
            if reads:
                return ranking
            why = f"it reads no task, expected one of {', '.join(names)}"
        except UserError as error:
            why = str(error)
        except NO_EXPRESSION:
            pass
    raise UserError(f"{what} {text[:80]!r}: {why}")


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The value of a part of a tree; raises TypeError where that is none of an expression."""
    match node:
        case ast.Constant(value=int() | float()) if type(node.value) is not bool:
            return np.float64(node.value)
        case ast.Name():
            return columns[node.id]
        case ast.BinOp() if type(node.op) in SIGNS:
            return SIGNS[type(node.op)](_value(node.left, columns), _value(node.right, columns))
        case ast.UnaryOp() if type(node.op) in SIGNS:
            return SIGNS[type(node.op)](_value(node.operand, columns))
        case ast.Call(func=ast.Name(), args=[_, *_], keywords=[]):
            return FUNCTIONS[node.func.id](*(_value(part, columns) for part in node.args))
    raise TypeError


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

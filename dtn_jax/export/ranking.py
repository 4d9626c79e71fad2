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
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dtn_jax.data.formula import DEEPEST, LONGEST, NAME, depth
from dtn_jax.errors import UserError, choose
from dtn_jax.shapes import Float

RANK = "rank"  # the output
RANK_FILE = "rank.json"  # of a workdir: what `dtn-jax rank` has found
PART = rf"(?:`[^`]+`|{NAME})"
WORD = re.compile(rf"(?<!\w){PART}(?:@{PART})?")
SIGNS: dict[type, np.ufunc] = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply}
SIGNS |= {ast.Div: np.divide, ast.Pow: np.power, ast.UAdd: np.positive, ast.USub: np.negative}
FUNCTIONS = {"log": np.log, "min": np.minimum, "max": np.maximum}
Columns = Mapping[str, Float[np.ndarray, " B"]]


@dataclasses.dataclass(frozen=True)
class Ranking:
    """An expression whose names are known.

    Attributes:
      text: as it was written.
      reads: the columns that it reads.
      value: of columns; see `score`.
    """

    text: str
    reads: tuple[str, ...]
    value: Callable[[Columns], np.ndarray] = dataclasses.field(compare=False, repr=False)

    def score(self, columns: Columns) -> Float[np.ndarray, " B"]:
        """Its value in each row, NaN where that is not finite."""
        with np.errstate(all="ignore"):
            values = self.value(columns)
        return np.where(np.isfinite(values), values, np.nan)


def parse(text: str, names: Mapping[str, str], what: str = "--rank") -> Ranking:
    """Reads an expression.

    Args:
      text: as a person wrote it.
      names: {name that it may have: the column that this is}.
      what: the text is, in messages.

    Raises:
      UserError: it is no expression, or reads nothing, or what is not in `names`; it says where.
    """
    text = re.sub(r"\s", " ", text.strip())
    try:
        if len(text) > LONGEST:
            raise UserError(f"it has {len(text)} characters, expected at most {LONGEST}")
        plain = WORD.sub(lambda word: "_" * len(word[0]), text)  # every name keeps its place
        if odd := re.search(r"[^ -~]", plain):
            raise misplaced(text, odd.start())
        tree, reads = ast.parse(plain, mode="eval").body, {}
        if depth(tree) > DEEPEST:
            raise RecursionError
        value = _read(tree, text, names, reads)
        if not reads:
            raise UserError(f"it reads no task, expected one of {', '.join(names)}")
        return Ranking(text, tuple(reads), value)
    except SyntaxError as error:
        why: object = misplaced(text, min(error.offset or len(text), len(text)) - 1)
    except (RecursionError, MemoryError):  # also of Python's parser
        why = f"it is more than {DEEPEST} operations deep"
    except (UserError, OverflowError) as error:
        why = error
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    raise UserError(f"{what} {shown!r}: {why}")


@dataclasses.dataclass(frozen=True)
class Ranked:
    """What `export --rank` says: the score; and the gain for which it was found, {} of tasks."""

    score: Ranking
    gain: dict[str, Ranking]


def read_option(option: str, outputs: Sequence[str]) -> Ranked | None:
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
    names, gain = names_of(outputs), {}
    if RANK in names:
        raise UserError(f"a task is called {RANK!r}, as the ranking score would be: rename it")
    if option.strip().endswith(".json"):
        try:
            facts = json.loads(pathlib.Path(option).expanduser().read_text())
            option, text = str(facts["expression"]), str(facts["gain"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            why = f"{type(error).__name__}: {error}"
            raise UserError(f"--rank={option} is missing or damaged ({why})") from None
        tasks = {output.partition("@")[0] for output in outputs}
        gain = {text: parse(text, {task: task for task in tasks}, "gain")}
    return Ranked(parse(option, names), gain)


def misplaced(text: str, at: int) -> UserError:
    """The error of an expression that cannot go on as it does from a character."""
    at += len(text[at:]) - len(text[at:].lstrip())
    got = f"{text[at : at + 10]!r} at character {at + 1}" if text else "nothing"
    return UserError(f"expected an expression such as click * order**2, got {got}")


def _read(
    node: ast.expr, text: str, names: Mapping[str, str], reads: dict[str, None]
) -> Callable[[Columns], np.ndarray]:
    """What computes a part of a tree; adds the columns that it reads to `reads`."""

    def word(what: str, name: ast.Name, known: Mapping[str, object]) -> str:
        given = text[name.col_offset : name.end_col_offset].replace("`", "")
        return choose(f"{what} at character {name.col_offset + 1},", given, known)

    match node:
        case ast.Constant(value=int() | float()) if type(node.value) is not bool:
            number = np.float64(node.value)
            return lambda columns: number
        case ast.Name():
            column = names[word("task", node, names)]
            reads[column] = None
            return lambda columns: columns[column]
        case ast.BinOp() | ast.UnaryOp() if type(node.op) in SIGNS:
            function = SIGNS[type(node.op)]
            given = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.operand]
            parts = [_read(part, text, names, reads) for part in given]
            return lambda columns: function(*(part(columns) for part in parts))
        case ast.Call(func=ast.Name(), args=[_, *more], keywords=[]):
            name = word("function", node.func, FUNCTIONS)
            if bool(more) is (name == "log"):
                few = "one value" if more else "several values"
                raise UserError(f"{name}() at character {node.col_offset + 1} takes {few}")
            function = FUNCTIONS[name]
            parts = [_read(part, text, names, reads) for part in node.args]
            if not more:
                return lambda columns: function(parts[0](columns))
            return lambda columns: functools.reduce(function, (part(columns) for part in parts))
    part = node.left if isinstance(node, ast.BinOp) else None
    raise misplaced(text, part.end_col_offset if part else node.col_offset)


def names_of(outputs: Sequence[str]) -> dict[str, str]:
    """{TASK@SPACE and TASK: the output}; a task alone is its first output, in its own space."""
    names: dict[str, str] = {}
    for output in outputs:
        names.setdefault(output.partition("@")[0], output)
    return names | {output: output for output in outputs}

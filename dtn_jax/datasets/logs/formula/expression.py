"""Small expressions over a log's columns, such as `watch_seconds > 30`, parsed here.

`formula/grammar.py` has the grammar and `formula/functions.py` the functions. What to know:

    missing       a comparison with a missing value is missing; `and` and `or` are Kleene's: false
                  and missing is false, true or missing is true
    division      by 0 it is missing, and so is every result that is not finite
    texts         '31' is a number where the expression needs one, as in files of CSV; a text that
                  is none is *wrong* (`Expression.wrong`), as an infinite number is; NaN is missing
    true, false   are 1 and 0 where a number is needed, and the other way round
    times         compare with texts such as '2026-03-05 12:00'; all are in UTC
    whole numbers stay whole but for `/`, to 64 bits; a result beyond is wrong
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.formula.evaluate import evaluate
from dtn_jax.datasets.logs.formula.functions import FUNCTIONS
from dtn_jax.datasets.logs.formula.grammar import tree_of
from dtn_jax.datasets.logs.formula.syntax import Node, written
from dtn_jax.datasets.logs.formula.times import Type
from dtn_jax.datasets.logs.formula.typed import (
    LIST,
    NUMBER,
    OTHER,
    READ_AS,
    TEXT,
    TIME,
    TRUTH,
    Typed,
)
from dtn_jax.errors import UserError, choose

KINDS = {"number": NUMBER, "truth": TRUTH, "text": TEXT, "time": TIME}


@dataclasses.dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes:
      text: as it was written.
      columns: the columns that it reads.
      tree: what it means.
      time: the log's time column; '' without.
      unit: of `time`, one of TIME_UNITS; '' where it is not known, or need not be.
    """

    text: str
    columns: tuple[str, ...]
    tree: Node
    time: str = ""
    unit: str = ""

    @property
    def column(self) -> str:
        """The column where it is nothing but one; else ''."""
        return self.columns[0] if self.tree.op == "column" else ""

    @property
    def meaning(self) -> str:
        """The same text for all ways in which the same expression is written."""
        return written(self.tree)

    def over(self, frame: pl.DataFrame) -> pl.Series:
        """Its value in each row; null where it depends on a missing or wrong value.

        A column alone is taken as it is, whatever its type.
        """
        if self.column:
            return frame[self.column]
        return frame.select(self._typed(frame).expr.alias(self.text)).to_series()

    def wrong(self, frame: pl.DataFrame) -> pl.Series:
        """True where a value is there but is none of the type that the expression needs.

        A column alone needs none.
        """
        parts = () if self.column else self._typed(frame).wrong
        if not parts:
            return pl.Series("wrong", np.zeros(frame.height, bool))
        return frame.select(_any(parts)).to_series()

    def both(self, frame: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """`over` and `wrong`, in one pass."""
        if self.column:
            return self.over(frame), self.wrong(frame)
        made = self._typed(frame)
        columns = frame.select(made.expr.alias("value"), _any(made.wrong))
        return columns["value"].alias(self.text), columns["wrong"]

    def read(self, frame: pl.DataFrame, kind: str) -> tuple[pl.Series, pl.Series]:
        """Its value in each row as one of KINDS, and where it is wrong.

        A column alone is read too: '1' in a text column is the number 1.
        """
        made = READ_AS[KINDS[kind]](self._typed(frame))
        columns = frame.select(made.expr.alias("value"), _any(made.wrong))
        return columns["value"].alias(self.text), columns["wrong"]

    def timed(self, time: str, unit: str) -> Expression:
        """The same expression of logs whose time column is `time`, in `unit`."""
        return dataclasses.replace(self, time=time, unit=unit)

    def _typed(self, frame: pl.DataFrame) -> Typed:
        types = frame.schema
        return compiled(self, tuple((name, types[name]) for name in self.columns))


def _any(parts: tuple[pl.Expr, ...]) -> pl.Expr:
    """Where one of `parts` is true; a value for each row even where none reads a column."""
    no = pl.repeat(False, pl.len())
    return pl.any_horizontal(no, *(part.fill_null(False) for part in parts)).alias("wrong")


@functools.lru_cache(maxsize=1024)  # of each expression, once for all chunks of a file
def compiled(expression: Expression, types: tuple[tuple[str, Type], ...]) -> Typed:
    units = {expression.time: expression.unit} if expression.unit else {}
    return evaluate(expression.tree, dict(types), units)


def of_column(name: str) -> Expression:
    """The expression that is the column `name`, whatever signs the name has."""
    return Expression(name, (name,), Node("column", (), name))


def parse(text: str, where: str, time: str = "", unit: str = "") -> Expression:
    """Reads an expression.

    Args:
      text: as a person wrote it.
      where: the place, before the text in messages: 'shop.yaml, line 12: label'.
      time, unit: see Expression.

    Raises:
      UserError: a text that is no expression, calls an unknown function, or reads no column.
    """
    try:
        tree = tree_of(text)
        for node in nodes(tree):
            if node.op == "call":
                check_call(node)
        names = [node.value for node in nodes(tree) if node.op == "column"]
        if not names:
            raise UserError("it reads no column")
    except UserError as error:
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise UserError(f"{where} {shown!r}: {error}") from None
    return Expression(text, tuple(dict.fromkeys(names)), tree, time, unit)


def nodes(tree: Node) -> Iterator[Node]:
    """All parts of a tree, from left to right."""
    yield tree
    for part in tree.parts:
        yield from nodes(part)


def check_call(node: Node) -> None:
    function = FUNCTIONS[choose("function", node.value, FUNCTIONS)]
    if not function.least <= len(node.parts) <= function.most:
        few = f"{function.least} to {function.most}" if function.most > 1 else "1"
        raise UserError(f"{node.value}() takes {few} values, got {len(node.parts)}")


def check(expression: Expression, columns: Mapping[str, Type], where: str, kind: str = "") -> None:
    """Raises UserError where the expression reads a column that is not there, or needs what the
    columns' types do not give.

    Args:
      columns: {name: type}.
      where: as of `parse`.
      kind: one of KINDS, as which it will be read; '' is any.
    """
    try:
        for name in expression.columns:
            choose("column", name, columns)
        if expression.column and not kind:
            return
        types = tuple((name, columns[name]) for name in expression.columns)
        made = compiled(expression, types)
        if kind:
            READ_AS[KINDS[kind]](made)
        elif made.kind in (LIST, OTHER):
            raise UserError(f"it gives {made.kind}")
    except UserError as error:
        hint = ""
        if expression.text in columns and not expression.column:
            hint = f" For the column of that name write `{expression.text}`, in backquotes."
        text = repr(expression.text)
        shown = where if where.endswith(text) else f"{where} {text}"  # field 'item' of 'item'
        raise UserError(f"{shown}: {error}{hint}") from None

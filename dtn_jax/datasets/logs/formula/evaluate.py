"""A tree becomes a polars expression, once the types of the columns are known."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from dtn_jax.datasets.logs.formula import typed
from dtn_jax.datasets.logs.formula.functions import FUNCTIONS, result
from dtn_jax.datasets.logs.formula.syntax import Node, written
from dtn_jax.datasets.logs.formula.times import Type
from dtn_jax.datasets.logs.formula.typed import NOTHING, NUMBER, TEXT, TIME, TRUTH, Typed
from dtn_jax.errors import UserError, choose

SIGNS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def evaluate(node: Node, types: Mapping[str, Type], units: Mapping[str, str]) -> Typed:
    """What `node` is.

    Args:
      node: a tree.
      types: {column: its type}.
      units: {column: one of TIME_UNITS}, of time columns.

    Raises:
      UserError: an unknown column, or types that do not work together.
    """
    inner = [evaluate(part, types, units) for part in node.parts]
    text = written(node)
    if node.op == "column":
        choose("column", node.value, types)
        made = typed.column(node.value, text, types[node.value], units.get(node.value, ""))
    elif node.op == "literal":
        made = typed.literal(node.value, text)
    elif node.op == "call":
        made = FUNCTIONS[node.value].made(*inner)
    elif node.op == "compare":
        pairs = [compare(*two, sign) for *two, sign in zip(inner, inner[1:], node.value)]
        made = pairs[0] if len(pairs) == 1 else logic(operator.and_, pairs)
    elif node.op == "in":
        made = member(inner[0], node.value)
    elif node.op in ("and", "or"):
        made = logic(operator.and_ if node.op == "and" else operator.or_, inner)
    elif node.op == "not":
        part = typed.as_truth(inner[0])
        made = result(TRUTH, ~part.expr, part)
    elif node.op == "negative":
        made = arithmetic("-", typed.literal(0, "0"), inner[0])
    else:
        made = arithmetic(node.op, *inner)
    return dataclasses.replace(made, text=text)


def logic(sign: Callable[[pl.Expr, pl.Expr], pl.Expr], parts: list[Typed]) -> Typed:
    """`and` or `or`, as Kleene has them: false and missing is false."""
    read = [typed.as_truth(part) for part in parts]
    return result(TRUTH, functools.reduce(sign, [part.expr for part in read]), *read)


def common(left: Typed, right: Typed, sign: str) -> str:
    """The type as which two parts are compared."""
    kinds = {left.kind, right.kind} - {NOTHING}
    for one, other in ((left, right), (right, left)):
        if one.kind == TIME or (one.unit not in ("", "number") and type(other.literal) is str):
            return TIME
    if kinds == {TEXT}:
        order = sign not in ("==", "!=")
        if order and left.literal is None and right.literal is None:
            raise UserError(
                f"{left.text} and {right.text} are texts, of which '9' is greater than '10': "
                f"write number({left.text}) {sign} number({right.text})"
            )
        return TEXT
    if TRUTH in kinds and NUMBER not in kinds and sign in ("==", "!="):
        return TRUTH
    return NUMBER


def compare(left: Typed, right: Typed, sign: str) -> Typed:
    read = typed.READ_AS[common(left, right, sign)]
    left, right = read(left), read(right)
    return result(TRUTH, SIGNS[sign](left.expr, right.expr), left, right)


def member(part: Typed, values: tuple[Any, ...]) -> Typed:
    """`part in [values]`."""
    listed = [typed.literal(value, repr(value)) for value in values]
    kinds = {common(part, value, "==") for value in listed}
    if len(kinds) > 1:
        raise UserError(f"the list after 'in' mixes {' and '.join(sorted(kinds))}")
    kind = kinds.pop()
    read = typed.READ_AS[kind]
    part = read(part)
    row = pl.select(read(value).expr.alias(str(i)) for i, value in enumerate(listed)).row(0)
    if kind == NUMBER and not (part.whole and all(type(value) is int for value in row)):
        return result(TRUTH, part.expr.cast(pl.Float64).is_in([float(v) for v in row]), part)
    return result(TRUTH, part.expr.is_in(list(row)), part)


def arithmetic(sign: str, left: Typed, right: Typed) -> Typed:
    """A number that is not finite, as after a division by 0, is missing; a whole number that
    needs more than 64 bits is wrong."""
    left, right = typed.as_number(left), typed.as_number(right)
    a, b = left.expr, right.expr
    whole = left.whole and right.whole and sign != "/"
    wide = pl.Int128 if whole else pl.Float64
    a, b = a.cast(wide), b.cast(wide)
    made = result(NUMBER, SIGNS[sign](a, b), left, right, whole=whole)
    if not whole:
        return dataclasses.replace(made, expr=typed.finite(made.expr))
    # Polars: a whole number divided by 0 is missing.
    return made.read_as(NUMBER, made.expr.cast(pl.Int64, strict=False))

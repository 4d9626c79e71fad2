"""Small expressions over a log's columns, such as `watch_seconds > 30`.

    or, and, not              from the loosest to the tightest
    x in [1, 2], x not in []  among numbers, texts, true and false
    < <= > >= == !=           0 < x < 5 is 0 < x and x < 5
    + -, then * / // %        + and - also before a value, looser than **
    **                        from the right; its result is no whole number
    log(x), (x + 1)           see FUNCTIONS

A column is an identifier, or any name in backquotes; a text stands in ' or ", and a backslash in
it is one. Python's `ast` reads the text, with `_` in the place of each name, number and text, so
that Python's own words mean nothing; Polars computes the values, and NumPy those of numbers alone
(`Expression.of_arrays`). What to know:

    missing       a comparison with a missing value is missing; `and` and `or` are Kleene's: false
                  and missing is false, true or missing is true
    division      by 0 it is missing, and so is every result that is not finite
    texts         '31' is a number where the expression needs one, as in files of CSV; a text that
                  is none is *wrong*, as an infinite number is; NaN is missing
    true, false   are 1 and 0 where a number is needed, and the other way round; the texts 'true',
                  'True' and 'TRUE' are equal, and equal to true; 'false' likewise
    times         compare with texts such as '2026-03-05 12:00'; all are in UTC
    whole numbers stay whole but for `/` and `**`, to 64 bits; a result beyond is wrong

A value is wrong where it is there but cannot be read as the expression needs it. The result is
missing there, and the row is rejected.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import math
import operator
import re
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from dtn_jax.data import keys, times
from dtn_jax.data.times import Type
from dtn_jax.errors import UserError, choose
from dtn_jax.shapes import Float

LONGEST = 1_000  # characters of an expression
DEEPEST = 50  # operations within each other

# A text to a tree of `ast`.

WORDS = ("and", "or", "not", "in")
CONSTANTS = {"true": True, "false": False, "True": True, "False": False}
NAME = r"[^\W\d]\w*"
WORD = re.compile(
    rf"""(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
  | (?P<function>{NAME}(?=\s*\())
  | (?P<column>{NAME}|`[^`]+`)
  | (?P<text>'[^']*'|"[^"]*")
  | (?P<sign>//|\*\*|<=|>=|==|!=|[-+*/%<>()\[\],])
  | (?P<other>\S)""",
    re.VERBOSE,
)
HINTS = {"=": "==", "&": "and", "|": "or", "!": "not", "~": "not"}
IN = "; 'in' takes numbers or texts, as in x in [1, 2], and stands in no chain of comparisons"


def not_understood(word: re.Match, hint: str = "") -> UserError:
    text, at = word.string, word.start()
    return UserError(f"{text[at : at + 10]!r} at character {at + 1} is not understood{hint}")


def value_of(word: re.Match) -> ast.Name | ast.Constant | None:
    """A column, a function or a literal; None of other words."""
    kind, text = word.lastgroup, word[0]
    if kind == "other":
        raise not_understood(word, f"; expected {HINTS[text]!r}" if text in HINTS else "")
    if kind == "sign" or text in WORDS:
        return None
    if kind == "number":
        whole = text.isdigit()
        if len(text) > 18 if whole else float(text) == float("inf"):
            raise UserError(f"the number {text} is too large")
        return ast.Constant(int(text) if whole else float(text))
    if kind == "text":
        return ast.Constant(text[1:-1])
    return ast.Constant(CONSTANTS[text]) if text in CONSTANTS else named(text.strip("`"))


def named(column: str) -> ast.Name:
    """A column, in backquotes where it needs them."""
    plain = re.fullmatch(NAME, column) and column not in WORDS and column not in CONSTANTS
    return ast.Name(column if plain else f"`{column}`")


class Filled(ast.NodeTransformer):
    """Puts columns and literals in the place of `_`, in one form for all texts that mean the same.

    Of what Python has and expressions have not, the words that there are leave tuples, lists,
    indices and stars: these are refused.
    """

    def __init__(self, words: list[re.Match], source: list[str]):
        self.words, self.source = words, " ".join(source)

    def word(self, node: ast.expr) -> re.Match:
        """The first of a node."""
        return self.words[self.source.count(" ", 0, node.col_offset)]

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.List | ast.Tuple | ast.Subscript | ast.Starred | ast.keyword):
            raise not_understood(self.word(node))
        return super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return value_of(self.word(node))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        part = self.generic_visit(node).operand
        number = isinstance(part, ast.Constant) and type(part.value) in (int, float)
        if isinstance(node.op, ast.USub) and number:
            return ast.Constant(-part.value)
        return part if isinstance(node.op, ast.UAdd) else node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        signs = [isinstance(sign, ast.In | ast.NotIn) for sign in node.ops]
        if not any(signs):
            return self.generic_visit(node)
        values = node.comparators[signs.index(True)]
        elements = [self.visit(value) for value in getattr(values, "elts", ())]
        literals = elements and all(isinstance(value, ast.Constant) for value in elements)
        if len(signs) > 1 or not isinstance(values, ast.List) or not literals:
            raise not_understood(self.word(values), IN)
        among = ast.Compare(self.visit(node.left), [ast.In()], [ast.List(elements)])
        return among if isinstance(node.ops[0], ast.In) else ast.UnaryOp(ast.Not(), among)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        values = (*node.args, *node.keywords)  # of which ** makes one
        name, parts = self.visit(node.func), [self.visit(value) for value in values]
        function = FUNCTIONS[choose("function", ast.unparse(name), FUNCTIONS)]
        if not function.least <= len(parts) <= function.most:
            few = f"{function.least} to {function.most}" if function.most > 1 else "1"
            raise UserError(f"{name.id}() takes {few} values, got {len(parts)}")
        return ast.Call(name, parts, [])


def depth(node: ast.AST) -> int:
    return 1 + max((depth(part) for part in ast.iter_child_nodes(node)), default=0)


def tree_of(words: list[re.Match]) -> ast.expr:
    """What words mean.

    Raises:
      UserError: they are no expression.
    """
    source = ["_" if value_of(word) else word[0] for word in words]
    try:
        tree = Filled(words, source).visit(ast.parse(" ".join(source), mode="eval").body)
        if depth(tree) > DEEPEST:
            raise RecursionError
    except SyntaxError as error:
        at = " ".join(source).count(" ", 0, max(error.offset or 1, 1) - 1)
        if not error.offset or at >= len(words) - 1 or "never closed" in error.msg:
            raise UserError("it breaks off, or its last word stands in the wrong place") from None
        raise not_understood(words[at]) from None
    except (RecursionError, MemoryError):  # also of Python's parser
        raise UserError(f"it is more than {DEEPEST} operations deep") from None
    return tree


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
    tree: ast.expr = dataclasses.field(compare=False, repr=False)  # the others say it
    time: str = ""
    unit: str = ""

    @property
    def column(self) -> str:
        """The column where it is nothing but one; else ''."""
        return self.columns[0] if isinstance(self.tree, ast.Name) else ""

    @property
    def meaning(self) -> str:
        """The same text for all ways in which the same expression is written."""
        return ast.unparse(self.tree)

    def read(self, frame: pl.DataFrame, kind: str = "") -> tuple[pl.Series, pl.Series]:
        """Its values, and where they are wrong.

        Args:
          frame: `[B]` rows of a log.
          kind: one of KINDS: '1' in a text column is the number 1. '' takes the values as they
            are, of a column alone whatever their type.

        Returns:
          `[B]` its value in each row, null where it depends on a missing or wrong value, and bool
          `[B]`, True where a value is wrong.

        Raises:
          UserError: the columns are of types that do not work together.
        """
        if self.column and not kind:
            return frame[self.column], nowhere(frame)
        evaluation = Evaluation(self, frame)
        values = evaluation.read(self.tree, KINDS[kind])
        return values.alias(self.text), evaluation.wrong

    def of_arrays(self, columns: Mapping[str, np.ndarray]) -> Float[np.ndarray, " B"]:
        """Its values where all are numbers: as `read`, in a hundredth of the time for a few rows.

        Args:
          columns: {name: `[B]`}, with NaN where a value is missing.

        Returns:
          `[B]`, NaN where it is missing.

        Raises:
          UserError: a part is not of numbers.
        """
        names = {named(name).id: np.asarray(columns[name], np.float64) for name in self.columns}
        with np.errstate(all="ignore"):
            return of_arrays(self.tree, names)

    def timed(self, time: str, unit: str) -> Expression:
        """The same expression of logs whose time column is `time`, in `unit`."""
        return dataclasses.replace(self, time=time, unit=unit)


def of_column(name: str) -> Expression:
    """The expression that is the column `name`, whatever signs the name has."""
    return Expression(name, (name,), named(name))


def parse(
    text: str, where: str, time: str = "", unit: str = "", needs: str = "column"
) -> Expression:
    """Reads an expression.

    Args:
      text: as a person wrote it.
      where: the place, before the text in messages: 'shop.yaml, line 12: label'.
      time, unit: see Expression.
      needs: what it must read at least one of, in messages.

    Raises:
      UserError: a text that is no expression, calls an unknown function, or reads no column.
    """
    try:
        if len(text) > LONGEST:
            raise UserError(f"it has {len(text)} characters, expected at most {LONGEST}")
        words = list(WORD.finditer(text))
        tree = tree_of(words)
        names = [word[0] for word in words if word.lastgroup == "column"]
        columns = [name.strip("`") for name in names if name not in (*WORDS, *CONSTANTS)]
        if not columns:
            raise UserError(f"it reads no {needs}")
    except UserError as error:
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise UserError(f"{where} {shown!r}: {error}") from None
    return Expression(text, tuple(dict.fromkeys(columns)), tree, time, unit)


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
        schema = {name: columns[name] for name in expression.columns}
        expression.read(pl.DataFrame(schema=schema), kind)
    except UserError as error:
        hint = ""
        if expression.text in columns and not expression.column:
            hint = f" For the column of that name write `{expression.text}`, in backquotes."
        text = repr(expression.text)
        shown = where if where.endswith(text) else f"{where} {text}"  # field 'item' of 'item'
        raise UserError(f"{shown}: {error}{hint}") from None


# A tree to its values.

NUMBER, TEXT, TRUTH, TIME = "a number", "a text", "true or false", "a time"
LIST, NOTHING, OTHER = "a list", "nothing", "another type"
ANY, SECONDS = "any type", "seconds"  # of arguments alone
KINDS = {"number": NUMBER, "truth": TRUTH, "": ANY}
TYPES = {NUMBER: pl.Int64, TEXT: pl.String, TRUTH: pl.Boolean, TIME: pl.Datetime("us")}
PLAIN = ((TRUTH, NUMBER), (TRUTH, TEXT), (NUMBER, TEXT), *((NOTHING, kind) for kind in TYPES))
OF_TYPE = {pl.String: TEXT, pl.Boolean: TRUTH, pl.Datetime: TIME, pl.List: LIST, pl.Null: NOTHING}
TRUTHS = {"true": True, "false": False, "1": True, "0": False}  # in texts, of any case
ORDER = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
SIGNS = (
    ORDER
    | {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.And: operator.and_, ast.Or: operator.or_}
    | {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
    | {ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod}
    | {ast.Pow: operator.pow}
)
FRACTIONS = (ast.Div, ast.Pow)  # whose results are no whole numbers
Part = tuple[ast.expr, pl.Series]  # of a tree, and its values


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def kind_of(values: pl.Series) -> str:
    return NUMBER if values.dtype.is_numeric() else OF_TYPE.get(values.dtype.base_type(), OTHER)


def nowhere(frame: pl.DataFrame) -> pl.Series:
    return pl.Series(np.zeros(frame.height, bool))


def wide(values: pl.Series) -> pl.Series:
    """Numbers as Int64, Int128 where that may be too small, or Float64, missing where not finite;
    times as Datetime("us"), texts as String, and lists as List."""
    kind = values.dtype
    if kind.is_integer():
        return values.cast(pl.Int128 if kind in (pl.UInt64, pl.Int128) else pl.Int64)
    if kind.is_numeric():
        values = values.cast(pl.Float64)
        return values.set(~values.is_finite(), None)
    if times.is_date(kind) or times.is_text(kind):
        return values.cast(TYPES[TIME if times.is_date(kind) else TEXT])
    return values.arr.to_list() if kind == pl.Array else values


class Evaluation:
    """Computes an expression's values over rows.

    Attributes:
      columns: by the names of the tree.
      units: {name: one of TIME_UNITS}, of the log's time column.
      wrong: bool `[B]`, where a value was wrong so far.
    """

    def __init__(self, expression: Expression, frame: pl.DataFrame):
        self.columns = {named(name).id: frame[name] for name in expression.columns}
        self.units = {named(expression.time).id: expression.unit}
        self.wrong = nowhere(frame)

    def values(self, node: ast.expr) -> pl.Series:
        """Those of a part of the tree, `[B]`; `[1]` where it reads no column."""
        match node:
            case ast.Constant():
                return pl.Series([node.value])
            case ast.Name():
                raw = self.columns[node.id]
                raw = raw.fill_nan(None) if raw.dtype.is_float() else raw  # missing, not wrong
                return self.kept(raw, wide(raw))
            case ast.Call():
                function = FUNCTIONS[node.func.id]
                return wide(function.value(*(self.read(part, function.of) for part in node.args)))
            case ast.Compare(ops=[ast.In()]):
                part, *listed = map(self.part, (node.left, *node.comparators[0].elts))
                return self.member(part, listed)
            case ast.Compare():
                parts = [self.part(part) for part in (node.left, *node.comparators)]
                return functools.reduce(
                    operator.and_, map(self.compare, node.ops, parts, parts[1:])
                )
            case ast.BoolOp():  # as Kleene has them: false and missing is false
                parts = [self.read(part, TRUTH) for part in node.values]
                return functools.reduce(SIGNS[type(node.op)], parts)
            case ast.UnaryOp(op=ast.Not()):
                return ~self.read(node.operand, TRUTH)
            case ast.UnaryOp():
                return self.arithmetic(ast.Sub(), ast.Constant(0), node.operand)
            case ast.BinOp():
                return self.arithmetic(node.op, node.left, node.right)

    def part(self, node: ast.expr) -> Part:
        return node, self.values(node)

    def read(self, node: ast.expr, kind: str) -> pl.Series:
        """The values of a part as those of a kind."""
        return self.cast(*self.part(node), kind)

    def kept(self, values: pl.Series, cast: pl.Series) -> pl.Series:
        """`cast`, as which `values` are read; those that it has not are wrong."""
        if cast.null_count() > values.null_count():
            self.wrong |= values.is_not_null() & cast.is_null()
        return cast

    def cast(self, node: ast.expr, values: pl.Series, kind: str) -> pl.Series:
        """`values`, of a node, as those of a kind: '31' as 31, 'true' and 1 as true, true as 1.

        Raises:
          UserError: their kind has none of these, or a literal is none.
        """
        of, literal, cast = kind_of(values), isinstance(node, ast.Constant), None
        kind = NUMBER if kind == SECONDS and of != TIME else kind
        pair = (of, kind)
        if kind in (of, ANY):
            return values
        if pair in PLAIN:
            cast = values.cast(TYPES[kind])
        elif pair == (TIME, SECONDS):
            cast = values.to_physical() / times.SECOND
        elif pair in ((TEXT, TIME), (NUMBER, TIME)):
            cast = self.times(node, values).cast(TYPES[TIME])
        elif pair == (TEXT, NUMBER):
            text = values.str.strip_chars()
            cast = wide(text.cast(pl.Float64, strict=False) if literal else keys.numbers(text))
        elif pair == (NUMBER, TRUTH) and not literal:
            cast = (values == 1).set((values != 0) & (values != 1), None)
        elif pair == (TEXT, TRUTH) and not literal:
            word = values.str.strip_chars().str.to_lowercase()
            cast = word.replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)
        if cast is None or (literal and cast.has_nulls()):
            hint = "; number(…) of a time is seconds since 1970" if pair == (TIME, NUMBER) else ""
            raise UserError(f"{ast.unparse(node)} is {of}, expected {kind}{hint}")
        return self.kept(values, cast)

    def unit(self, node: ast.expr) -> str:
        return self.units.get(node.id, "") if isinstance(node, ast.Name) else ""

    def times(self, node: ast.expr, values: pl.Series) -> pl.Series:
        """The times of texts in ISO 8601, and of the log's time column in its unit."""
        if is_text(node):
            return pl.Series([times.read(node.value, "date")])
        unit = self.unit(node) or ("date" if values.dtype == pl.String else "")
        if unit == "number":
            raise UserError(f"{ast.unparse(node)} holds plain numbers, not times")
        if not unit:
            raise UserError(
                f"{ast.unparse(node)} is a number whose time unit is not known: only the log's "
                "time column has one (time: {column: …, unit: …})"
            )
        return times.to_time(values, unit)

    def common(self, sign: ast.cmpop, *parts: Part) -> str:
        """The kind as which two parts are compared."""
        kinds = {kind_of(values) for _, values in parts} - {NOTHING}
        order, text = type(sign) in ORDER, any(is_text(node) for node, _ in parts)
        timed = any(self.unit(node) not in ("", "number") for node, _ in parts)
        if TIME in kinds or (text and timed):
            return TIME
        if kinds == {TEXT} and order and not text:
            left, right = (ast.unparse(node) for node, _ in parts)
            raise UserError(
                f"{left} and {right} are texts, of which '9' is greater than '10': "
                f"compare number({left}) with number({right})"
            )
        by_truth = TRUTH in kinds and NUMBER not in kinds and not order
        return TEXT if kinds == {TEXT} else TRUTH if by_truth else NUMBER

    def compared(self, node: ast.expr, values: pl.Series, kind: str) -> pl.Series:
        """`cast`, but 'True' and 'TRUE' are the text 'true', and a truth beside one."""
        if kind == TRUTH and is_text(node) and node.value in keys.TRUTHS:
            return pl.Series([keys.TRUTHS[node.value] == "1"])
        cast = self.cast(node, values, kind)
        return cast.replace(keys.WORDS) if kind == TEXT else cast

    def compare(self, sign: ast.cmpop, left: Part, right: Part) -> pl.Series:
        kind = self.common(sign, left, right)
        return SIGNS[type(sign)](self.compared(*left, kind), self.compared(*right, kind))

    def member(self, part: Part, listed: list[Part]) -> pl.Series:
        """`part in [listed]`."""
        kinds = {self.common(ast.Eq(), part, value) for value in listed}
        if len(kinds) > 1:
            raise UserError(f"the list after 'in' mixes {' and '.join(sorted(kinds))}")
        kind = kinds.pop()
        values = self.compared(*part, kind)
        row = [self.compared(*value, kind)[0] for value in listed]
        if kind == NUMBER and not (values.dtype.is_integer() and all(type(v) is int for v in row)):
            values, row = values.cast(pl.Float64), [float(value) for value in row]
        return values.is_in(row)

    def arithmetic(self, sign: ast.operator, left: ast.expr, right: ast.expr) -> pl.Series:
        """A whole number divided by 0 is missing, and one that needs more than 64 bits wrong."""
        a, b = self.read(left, NUMBER), self.read(right, NUMBER)
        whole = a.dtype.is_integer() and b.dtype.is_integer() and type(sign) not in FRACTIONS
        kind = pl.Int128 if whole else pl.Float64
        values = SIGNS[type(sign)](a.cast(kind), b.cast(kind))
        return self.kept(values, values.cast(pl.Int64, strict=False)) if whole else wide(values)


# The functions that an expression may call.


@dataclasses.dataclass(frozen=True)
class Function:
    """A function.

    Attributes:
      help: what it gives, in a line.
      of: the kind of its arguments.
      value: gives it, of their values.
      least, most: how many arguments it takes.
    """

    help: str
    of: str
    value: Callable[..., pl.Series]
    least: int = 1
    most: int = 1


def several(choice: Callable[..., pl.Expr]) -> Callable[..., pl.Series]:
    def value(*columns: pl.Series) -> pl.Series:
        missing = functools.reduce(operator.or_, (values.is_null() for values in columns))
        return pl.select(choice(*columns)).to_series().set(missing, None)

    return value


def nearest(x: pl.Series) -> pl.Series:
    return x.round(mode="half_to_even")


FUNCTIONS = {
    "log": Function("natural logarithm; missing where x <= 0", NUMBER, pl.Series.log),
    "log1p": Function("log(1 + x); missing where x <= -1", NUMBER, pl.Series.log1p),
    "sqrt": Function("square root; missing where x < 0", NUMBER, pl.Series.sqrt),
    "abs": Function("without the sign", NUMBER, pl.Series.abs),
    "round": Function("the nearest whole number; of two, the even one", NUMBER, nearest),
    "min": Function("the least of several numbers", NUMBER, several(pl.min_horizontal), 2, 20),
    "max": Function("the greatest of several numbers", NUMBER, several(pl.max_horizontal), 2, 20),
    "missing": Function("true where there is no value", ANY, pl.Series.is_null),
    "length": Function("how many values a list holds", LIST, lambda x: x.list.len()),
    "hour": Function("hour of a time in UTC, 0 to 23", TIME, lambda t: t.dt.hour()),
    "weekday": Function(
        "weekday of a time in UTC, 0 (Monday) to 6", TIME, lambda t: t.dt.weekday() - 1
    ),
    "day": Function("day of the month of a time in UTC, 1 to 31", TIME, lambda t: t.dt.day()),
    "lower": Function("a text in small letters", TEXT, lambda x: x.str.to_lowercase()),
    "text": Function("a number as a text", TEXT, lambda x: x),
    "number": Function("a text as a number; a time as seconds since 1970", SECONDS, lambda x: x),
}


# A tree of numbers to its values, by NumPy.

OF_NUMBERS: dict[str, Callable[..., np.ndarray]] = {
    **{name: getattr(np, name) for name in ("log", "log1p", "sqrt", "abs", "round")},
    "min": np.minimum,
    "max": np.maximum,
    "missing": np.isnan,
}


def of_arrays(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The values of a part, as of `Expression.of_arrays`."""

    def values(*nodes: ast.expr) -> list[np.ndarray]:
        return [of_arrays(part, columns) for part in nodes]

    match node:
        case ast.Constant(value=int() | float()):
            return np.float64(node.value)
        case ast.Name():
            result = columns[node.id]
        case ast.UnaryOp(op=ast.USub()):
            result = -of_arrays(node.operand, columns)
        case ast.BinOp():
            result = SIGNS[type(node.op)](*values(node.left, node.right))
        case ast.Compare() if all(type(sign) in SIGNS for sign in node.ops):
            parts = values(node.left, *node.comparators)
            pairs = zip(node.ops, parts, parts[1:])  # below, NaN of a missing part
            result = math.prod(SIGNS[type(sign)](a, b) + 0 * a + 0 * b for sign, a, b in pairs)
        case ast.Call():
            function = OF_NUMBERS[choose("function of numbers", node.func.id, OF_NUMBERS)]
            parts = values(*node.args)
            result = functools.reduce(function, parts) if parts[1:] else function(*parts)
        case _:
            known = ", ".join(OF_NUMBERS)
            raise UserError(
                f"{ast.unparse(node)} is none of numbers, names, + - * / // % **, comparisons and "
                f"functions of numbers: {known}"
            )
    return np.where(np.isfinite(result), result, np.nan)

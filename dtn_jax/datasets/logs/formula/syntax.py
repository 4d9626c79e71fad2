"""The grammar of expressions: a text becomes a small tree. Nothing is ever evaluated here.

    any      := all ("or" all)*
    all      := negation ("and" negation)*
    negation := "not" negation | test
    test     := sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum)*
              | sum ["not"] "in" "[" literal ("," literal)* "]"
    sum      := product (("+" | "-") product)*
    product  := sign (("*" | "/" | "//" | "%") sign)*
    sign     := ("-" | "+") sign | atom
    atom     := number | text | "true" | "false" | column | "(" any ")"
              | function "(" any ("," any)* ")"

A column is an identifier, or any name in backquotes. A text stands in ' or ". A chain such as
0 < x < 5 means 0 < x and x < 5.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from dtn_jax.errors import UserError

LONGEST = 1_000  # characters of an expression
DEEPEST = 50  # levels of its tree
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")

TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
  | (?P<name>[^\W\d]\w*)
  | `(?P<quoted>[^`]+)`
  | '(?P<single>[^']*)'
  | "(?P<double>[^"]*)"
  | (?P<symbol>//|<=|>=|==|!=|[-+*/%<>()\[\],])
  | (?P<end>$)
    )""",
    re.VERBOSE,
)
WORDS = ("and", "or", "not", "in")
ATOMS = ("column", "literal", "call")
CONSTANTS = {"true": True, "false": False, "True": True, "False": False}
HINTS = {  # what other languages write, and what is written here
    "=": "'=='",
    "&": "'and'",
    "|": "'or'",
    "!": "'not' or '!='",
    "~": "'not'",
    "^": "'*'",
    "'": "a second ' at the end of the text",
    '"': 'a second " at the end of the text',
    "`": "a second ` at the end of the column's name",
    ".": "a column's name with a dot in backquotes: `a.b`",
}


@dataclasses.dataclass(frozen=True)
class Node:
    """A part of an expression.

    Attributes:
      op: 'column', 'literal', 'call', 'compare', 'in', 'and', 'or', 'not', 'negative', or an
        arithmetic sign.
      parts: what it works on.
      value: the column's name, the literal, the function's name, the signs of a comparison, or
        the literals after `in`.
      depth: levels of the tree from here down.
    """

    op: str
    parts: tuple[Node, ...] = ()
    value: Any = None
    depth: int = dataclasses.field(default=1, compare=False, repr=False)


def written(node: Node) -> str:
    """A text that means `node`, the same for all texts that do."""
    inner = [written(part) for part in node.parts]
    inside = [f"({t})" if p.op not in ATOMS else t for t, p in zip(inner, node.parts)]
    if node.op == "column":
        return node.value if _plain(node.value) else f"`{node.value}`"
    if node.op == "literal":
        return _literal(node.value)
    if node.op == "call":
        return f"{node.value}({', '.join(inner)})"
    if node.op == "compare":
        signs = [f" {sign} {part}" for sign, part in zip(node.value, inside[1:])]
        return inside[0] + "".join(signs)
    if node.op == "in":
        return f"{inside[0]} in [{', '.join(_literal(value) for value in node.value)}]"
    if node.op in ("not", "negative"):
        return f"{'not ' if node.op == 'not' else '-'}{inside[0]}"
    return f" {node.op} ".join(inside)


def _plain(name: str) -> bool:
    """Whether a column's name needs no backquotes."""
    return name.isidentifier() and name not in WORDS and name not in CONSTANTS


def _literal(value: Any) -> str:
    if type(value) is bool:
        return str(value).lower()
    if type(value) is str:
        return f'"{value}"' if "'" in value else f"'{value}'"
    return repr(value)


@dataclasses.dataclass(frozen=True)
class Token:
    kind: str
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """Raises UserError at the first character that belongs to no word of the grammar."""
    found, at = [], 0
    while not found or found[-1].kind != "end":
        match = TOKEN.match(text, at)
        if match is None:
            at = at + len(text[at:]) - len(text[at:].lstrip())
            sign = text[at]
            hint = f"; expected {HINTS[sign]}" if sign in HINTS else ""
            raise UserError(f"{text[at : at + 10]!r} at character {at + 1} is not understood{hint}")
        kind = str(match.lastgroup)
        found.append(Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return found


class Parser:
    """Reads tokens from left to right; a method reads the rule of its name."""

    def __init__(self, text: str):
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0  # of brackets

    def node(self, op: str, parts: tuple[Node, ...] = (), value: Any = None) -> Node:
        depth = 1 + max((part.depth for part in parts), default=0)
        self.bound(depth)
        return Node(op, parts, value, depth)

    def bound(self, depth: int) -> None:
        if depth > DEEPEST:
            raise UserError(f"it is more than {DEEPEST} operations deep")

    def takes(self, *words: str) -> str:
        """The next symbol or word where it is one of `words`, which is then read; else ''."""
        token = self.tokens[self.at]
        if token.kind in ("symbol", "name") and token.text in words:
            self.at += 1
            return token.text
        return ""

    def needs(self, word: str) -> None:
        if not self.takes(word):
            raise self.unexpected(repr(word))

    def unexpected(self, expected: str) -> UserError:
        token = self.tokens[self.at]
        got = "its end" if token.kind == "end" else f"{token.text!r} at character {token.at + 1}"
        return UserError(f"expected {expected}, got {got}")

    def whole(self) -> Node:
        found = self.any()
        if self.tokens[self.at].kind != "end":
            raise self.unexpected("an operator such as '+', '>' or 'and'")
        return found

    def any(self) -> Node:
        self.depth += 1
        self.bound(self.depth)
        parts = [self.all()]
        while self.takes("or"):
            parts.append(self.all())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else self.node("or", tuple(parts))

    def all(self) -> Node:
        parts = [self.negation()]
        while self.takes("and"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else self.node("and", tuple(parts))

    def negation(self) -> Node:
        count = 0
        while self.takes("not"):
            count += 1
        found = self.test()
        for _ in range(count):
            found = self.node("not", (found,))
        return found

    def test(self) -> Node:
        parts, signs = [self.sum()], []
        negated = self.takes("not")
        if negated or self.tokens[self.at].text == "in":
            self.needs("in")
            found = self.node("in", (parts[0],), self.literals())
            return self.node("not", (found,)) if negated else found
        while sign := self.takes(*COMPARISONS):
            signs.append(sign)
            parts.append(self.sum())
        return self.node("compare", tuple(parts), tuple(signs)) if signs else parts[0]

    def literals(self) -> tuple[Any, ...]:
        self.needs("[")
        found = []
        while True:
            node = self.sign()
            if node.op != "literal":
                self.at -= 1
                raise self.unexpected("numbers or texts")
            found.append(node.value)
            if not self.takes(","):
                break
        self.needs("]")
        return tuple(found)

    def sum(self) -> Node:
        found = self.product()
        while sign := self.takes("+", "-"):
            found = self.node(sign, (found, self.product()))
        return found

    def product(self) -> Node:
        found = self.sign()
        while sign := self.takes("*", "/", "//", "%"):
            found = self.node(sign, (found, self.sign()))
        return found

    def sign(self) -> Node:
        signs = []
        while sign := self.takes("+", "-"):
            signs.append(sign)
        found = self.atom()
        for _ in range(signs.count("-")):
            if found.op == "literal" and type(found.value) in (int, float):
                found = self.node("literal", (), -found.value)
            else:
                found = self.node("negative", (found,))
        return found

    def atom(self) -> Node:
        if self.takes("("):
            found = self.any()
            self.needs(")")
            return found
        token = self.tokens[self.at]
        if token.kind in ("end", "symbol") or (token.text in WORDS and token.kind == "name"):
            raise self.unexpected("a column, a number, a 'text' or a function")
        self.at += 1
        if token.kind == "number":
            whole = token.text.isdigit()
            if len(token.text) > 18 if whole else math.isinf(float(token.text)):
                raise UserError(f"the number {token.text} is too large")
            return self.node("literal", (), int(token.text) if whole else float(token.text))
        if token.kind in ("single", "double"):
            return self.node("literal", (), token.text)
        if token.kind == "name" and token.text in CONSTANTS:
            return self.node("literal", (), CONSTANTS[token.text])
        if token.kind == "name" and self.takes("("):
            parts = [self.any()]
            while self.takes(","):
                parts.append(self.any())
            self.needs(")")
            return self.node("call", tuple(parts), token.text)
        return self.node("column", (), token.text)

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

import math
from typing import Any

from dtn_jax.datasets.logs.formula.syntax import CONSTANTS, WORDS, Node, tokens
from dtn_jax.errors import UserError

LONGEST = 1_000  # characters of an expression
DEEPEST = 50  # levels of its tree
BRACKETS = 20  # within each other
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


def tree_of(text: str) -> Node:
    """Raises UserError where `text` is no expression, too long or too deep."""
    if len(text) > LONGEST:
        raise UserError(f"it has {len(text)} characters, expected at most {LONGEST}")
    return Parser(text).whole()


class Parser:
    """Reads tokens from left to right; a method reads the rule of its name."""

    def __init__(self, text: str):
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0  # of brackets

    def node(self, op: str, parts: tuple[Node, ...] = (), value: Any = None) -> Node:
        depth = 1 + max((part.depth for part in parts), default=0)
        if depth > DEEPEST:
            raise UserError(f"it is more than {DEEPEST} operations deep")
        return Node(op, parts, value, depth)

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
        if self.depth > BRACKETS + 1:
            raise UserError(f"it has more than {BRACKETS} brackets within each other")
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

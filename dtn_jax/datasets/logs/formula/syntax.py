"""The parts of an expression: the words of its text, and the tree that they make."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from dtn_jax.errors import UserError

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

"""How the values of a schema file are written: a *form* each, and a function that reads it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from dtn_jax.datasets.logs.schema.yaml_lines import Node
from dtn_jax.errors import UserError, choose

NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?")
TRUTHS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of a mapping in a schema file.

    Attributes:
      form: one of READERS.
      help: what it means.
      default: as help_text shows it.
      words: that it may be; () is any.
      least: of a number; it may be as small.
      only: the kinds, encoders or splits that have it; () is all.
      most: of a whole number; it may be as large.
    """

    form: str
    help: str
    default: str = ""
    words: tuple[str, ...] = ()
    least: float | None = None
    only: tuple[str, ...] = ()
    most: int = 2**31 - 1


def text(node: Node, key: Key, what: str) -> str:
    if not isinstance(node.value, str) or not node.value:
        raise node.expected(what, f"one of {', '.join(key.words)}" if key.words else "a text")
    if key.words:
        chosen(node, what, node.value, key.words)
    return node.value


def chosen(node: Node, what: str, got: str, words: Any) -> str:
    """`got` where it is one of `words`; otherwise a UserError with the nearest, file and line."""
    try:
        return choose(f"{what}:" if what.endswith("'") else what, got, words)
    except UserError as error:
        raise node.error(str(error)) from None


def texts(node: Node, key: Key, what: str) -> tuple[str, ...]:
    """A list of texts; a single text is a list of one."""
    nodes = node.value if isinstance(node.value, list) else [node]
    for item in nodes:
        if not isinstance(item.value, str) or item.empty:
            raise item.expected(what, "a list of texts such as [a, b]")
    return tuple(item.value for item in nodes)


def number(node: Node, key: Key, what: str) -> float:
    shown = "a number" if key.least is None else f"a number, at least {key.least:g}"
    if not isinstance(node.value, str) or not NUMBER.fullmatch(node.value):
        raise node.expected(what, shown)
    value = float(node.value.replace("_", ""))
    if abs(value) == float("inf") or (key.least is not None and value < key.least):
        raise node.expected(what, shown)
    return value


def share(node: Node, key: Key, what: str) -> float:
    value = number(node, key, what)
    if not 0 <= value <= 1:
        raise node.expected(what, "a share, from 0 to 1")
    return value


def whole(node: Node, key: Key, what: str) -> int:
    """A whole number, 1e6 too."""
    shown = f"a whole number, at least {key.least:g}"
    if not isinstance(node.value, str) or not NUMBER.fullmatch(node.value):
        raise node.expected(what, shown)
    plain = node.value.replace("_", "")
    value = int(plain) if plain.lstrip("+-").isdigit() else float(plain)
    if value > key.most:
        raise node.expected(what, f"{shown}, at most {key.most:,}")
    if value != value // 1 or value < key.least:
        raise node.expected(what, shown)
    return int(value)


def truth(node: Node, key: Key, what: str) -> bool:
    value = TRUTHS.get(node.value.lower()) if isinstance(node.value, str) else None
    if value is None:
        raise node.expected(what, "true or false")
    return value


def span(node: Node, key: Key, what: str) -> tuple[float, float]:
    """[least, most]."""
    if not isinstance(node.value, list) or len(node.value) != 2:
        raise node.expected(what, "two numbers such as [0, 12]")
    least, most = (number(item, key, what) for item in node.value)
    if least >= most:
        raise node.error(f"{what}: expected the smaller number first, got [{least:g}, {most:g}]")
    return least, most


def part(node: Node, key: Key, what: str) -> float | str:
    """A share of the rows, a number of rows, or a time as text; split.py knows which it may be."""
    if not isinstance(node.value, str) or not node.value:
        raise node.expected(what, "a share such as 0.1, or a time such as 2026-03-05")
    return float(node.value) if NUMBER.fullmatch(node.value) and node.plain else node.value


def scalar(node: Node, key: Key, what: str) -> tuple[str | None]:
    """A single value as text, in a tuple of its own; None for null."""
    if not isinstance(node.value, str) or node.empty:
        raise node.expected(what, "a value such as 1, or null for the unknown id")
    return (None if node.null else node.value,)


def untouched(node: Node, key: Key, what: str) -> Node:
    return node


READERS: dict[str, Callable[[Node, Key, str], Any]] = {
    "text": text,
    "texts": texts,
    "number": number,
    "share": share,
    "whole number": whole,
    "true or false": truth,
    "range": span,
    "share or time": part,
    "value or null": scalar,
    "column": text,
    "expression": text,
    "mapping": untouched,
    "list or mapping": untouched,
    "column or mapping": untouched,
    "word or mapping": untouched,
}

"""YAML (and so JSON) with the line of each part, and every scalar as it was written.

YAML 1.1 makes a value of each plain scalar by its looks: `no` is false, 12:30 is 750, 2026-03-05 a
date. Here a scalar stays the text that a person wrote, and who asks for a number or for true or
false reads it. Tags mean nothing: nothing is built but texts, lists and mappings.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import yaml

from dtn_jax.errors import UserError, choose


class Null(str):
    """~ or null without quotes: a text in a list, and no value of a key."""


@dataclasses.dataclass(frozen=True)
class File:
    """A file's content.

    Attributes:
      path: of the file.
      data: texts, lists and mappings; None where nothing was written, as after `user_id:`.
      lines: {place: its line, from 1 on}; a place is the keys, and places in lists, that lead
        there, such as ("fields", "item", "cross", 1).
    """

    path: str
    data: Any
    lines: dict[tuple[str | int, ...], int]

    def error(self, problem: str, *place: str | int) -> UserError:
        """For a problem of a place, or in the smallest part of the file that has it."""
        what, line = label(place), place
        while line not in self.lines:
            line = line[:-1]
        return UserError(f"{self.path}, line {self.lines[line]}: {what}: {problem}")

    def choose(self, what: str, got: Any, words: Iterable[str], *place: str | int) -> None:
        """Raises UserError, with the nearest, where `got` is none of `words`."""
        try:
            choose(what, got, words)
        except UserError as error:
            raise self.error(str(error), *place) from None


def label(place: tuple[str | int, ...]) -> str:
    """A place's name in messages, such as "keep of field 'viewed'"."""
    *outer, last = [part for part in place if isinstance(part, str)] or ["the schema file"]
    if outer in (["fields"], ["tasks"]):
        return f"{outer[0][:-1]} {last!r}"
    return f"{last} of {label(tuple(outer))}" if outer else last


def shown(value: Any) -> str:
    """A part of a file, for messages."""
    if isinstance(value, str):
        return repr(str(value))
    return {type(None): "nothing", list: "a list"}.get(type(value), "a mapping")


def load(path: str) -> File:
    """Reads a file.

    Raises:
      UserError: a file that cannot be read, is not UTF-8 or not YAML, or has a second document, or
        a mapping with a key that is no text or is given twice.
    """
    try:
        return loads(pathlib.Path(path).read_text("utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def loads(text: str, path: str) -> File:
    """Reads a file's text; `path` is its name in messages. Raises as `load`."""
    if text.lstrip().startswith("{"):  # JSON may have tabs between its words, in no text
        text = text.replace("\t", " ")
    lines: dict[tuple[str | int, ...], int] = {}
    try:
        root = yaml.compose(text, yaml.BaseLoader)
        if root is None:
            raise UserError(f"{path} is empty")
        return File(path, plain(root, (), lines), lines)
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark or error.context_mark).line + 1
        problem = " ".join(filter(None, [error.context, error.problem]))
        if "'\\t'" in problem:
            problem = "a tab cannot indent; expected spaces"
        raise UserError(f"{path}, line {line}: cannot be read as YAML: {problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None


def refused(part: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=part.start_mark)


def plain(node: yaml.Node, place: tuple[str | int, ...], lines: dict[Any, int]) -> Any:
    """A node's texts, lists and mappings; puts their lines into `lines`."""
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and node.value in ("", "~", "null"):
            return Null(node.value) if node.value else None
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return [plain(item, (*place, n), lines) for n, item in enumerate(node.value)]
    values: dict[str, Any] = {}
    for key, inner in node.value:
        name = plain(key, (*place, None), {})
        if not isinstance(name, str):
            raise refused(key, f"a key must be a text, got {shown(name)}")
        if name in values:
            first = lines[*place, name]
            raise refused(key, f"the key {name!r} is given twice, first in line {first}")
        lines[*place, name] = key.start_mark.line + 1
        values[str(name)] = plain(inner, (*place, name), lines)
    return values

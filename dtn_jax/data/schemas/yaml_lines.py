"""YAML (and so JSON) with the line of each part, and every scalar as it was written.

YAML 1.1 makes a value of each plain scalar by its looks: `no` is false, 12:30 is 750, 2026-03-05 a
date. Here a scalar stays the text that a person wrote, and who asks for a number or for true or
false reads it. Tags, anchors and aliases are refused: nothing is built but texts, lists and
mappings, and no small file stands for a large one.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import yaml

from dtn_jax.errors import UserError, choose

LARGEST = 4_000_000  # bytes of a file
DEEPEST = 20  # levels of lists and mappings
TAB = re.compile(r"""("(?:[^"\\]|\\.)*"|'[^'\n]*')|\t""")  # outside of texts


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
      UserError: a file that cannot be read, is not UTF-8 or not YAML, has a tag, an anchor, an
        alias, a second document, or a mapping with a key that is no text or is given twice.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise UserError(f"{path} has {len(data):,} bytes, expected a schema file of a few lines")
    try:
        return loads(data.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: it is not UTF-8") from None


def loads(text: str, path: str) -> File:
    """Reads a file's text; `path` is its name in messages. Raises as `load`."""
    if text.lstrip().startswith("{"):  # JSON may have tabs between its words
        text = TAB.sub(lambda word: word[1] or " ", text)
    lines: dict[tuple[str | int, ...], int] = {}
    try:
        check(text)
        root = yaml.compose(text, yaml.BaseLoader)
        if root is None:
            raise UserError(f"{path} is empty")
        return File(path, plain(root, (), lines), lines)
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark or error.context_mark).line + 1
        problem = " ".join(filter(None, [error.context, error.problem]))
        if "'\\t'" in problem:
            problem = "a tab cannot indent; expected spaces"
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        problem = f"the character {chr(error.character)!r} is not allowed"
    raise UserError(f"{path}, line {line}: cannot be read as YAML: {problem}")


def check(text: str) -> None:
    """Refuses what is more than texts, lists and mappings."""
    depth = 0
    for part in yaml.parse(text, yaml.BaseLoader):
        if (anchor := getattr(part, "anchor", None)) is not None:
            raise refused(part, f"the anchor or alias {anchor!r}; expected the text itself")
        if (tag := getattr(part, "tag", None)) is not None:
            raise refused(part, f"a tag, {tag}; expected none")
        depth += isinstance(part, yaml.CollectionStartEvent)
        depth -= isinstance(part, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise refused(part, f"more than {DEEPEST} levels of lists and mappings")


def refused(part: yaml.Node | yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=part.start_mark)


def plain(node: yaml.Node, place: tuple[str | int, ...], lines: dict[Any, int]) -> Any:
    """A node's texts, lists and mappings; puts their lines into `lines`."""
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        # JSON writes signs beyond 16 bits as two.
        text = node.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if node.style is None and text in ("", "~", "null"):
            return Null(text) if text else None
        return text
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

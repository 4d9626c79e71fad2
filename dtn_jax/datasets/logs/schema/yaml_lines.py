"""YAML (and so JSON) as nodes that know their line, with every scalar as it was written.

YAML 1.1 makes a value of each plain scalar by its looks: `no` is false, 12:30 is 750, 2026-03-05 a
date. Here a scalar stays the text that a person wrote, and who asks for a number or for true or
false reads it. Tags, anchors and aliases are refused: nothing is built but texts, lists and
mappings, and no small file stands for a large one.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from dtn_jax.errors import UserError, choose

LARGEST = 4_000_000  # bytes of a file
DEEPEST = 20  # levels of lists and mappings
TAB = re.compile(r"""("(?:[^"\\]|\\.)*"|'[^'\n]*')|\t""")  # outside of texts


@dataclasses.dataclass(frozen=True)
class Node:
    """A part of a file.

    Attributes:
      value: a text, a list of nodes, or {key: node}.
      path: of the file.
      line: where it starts, from 1 on; of a mapping's value that of its key.
      null: nothing, ~ or null without quotes: it says that there is nothing.
    """

    value: str | list[Node] | dict[str, Node]
    path: str
    line: int
    null: bool = False

    @property
    def plain(self) -> Any:
        """Its texts, lists and mappings alone; None where nothing was written, as after `user:`."""
        if isinstance(self.value, dict):
            return {key: inner.plain for key, inner in self.value.items()}
        if isinstance(self.value, list):
            return [inner.plain for inner in self.value]
        return None if self.null and not self.value else self.value

    @property
    def shown(self) -> str:
        """What it is, for messages."""
        if isinstance(self.value, str):
            return "nothing" if self.plain is None else repr(self.value)
        return "a list" if isinstance(self.value, list) else "a mapping"

    @property
    def where(self) -> str:
        return f"{self.path}, line {self.line}"

    def at(self, *keys: str | int) -> Node:
        """The node within it at these keys, as far as there is one."""
        for key in keys:
            inside = dict(enumerate(self.value)) if isinstance(self.value, list) else self.value
            if not isinstance(inside, dict) or key not in inside:
                break
            self = inside[key]
        return self

    def under(self, key: str) -> Node:
        """{key: this} of a text; others as they are."""
        return dataclasses.replace(self, value={key: self}) if isinstance(self.value, str) else self

    def error(self, problem: str) -> UserError:
        return UserError(f"{self.where}: {problem}")

    def expected(self, what: str, expected: str) -> UserError:
        return self.error(f"{what}: expected {expected}, got {self.shown}")

    def choose(self, what: str, got: str, words: Iterable[str]) -> str:
        """`got` where it is one of `words`; otherwise a UserError with the nearest, file and line."""
        try:
            return choose(f"{what}:" if what.endswith("'") else what, got, words)
        except UserError as error:
            raise self.error(str(error)) from None


def load(path: str) -> Node:
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


def loads(text: str, path: str) -> Node:
    """Reads a file's text; `path` is its name in messages. Raises as `load`."""
    if text.lstrip().startswith("{"):  # JSON may have tabs between its words
        text = TAB.sub(lambda found: found[1] or " ", text)
    try:
        return whole(yaml.parse(text, Loader=yaml.SafeLoader), path)
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark or error.context_mark).line + 1
        problem = " ".join(filter(None, [error.context, error.problem]))
        if "'\\t'" in problem:
            problem = "a tab cannot indent; expected spaces"
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        problem = f"the character {chr(error.character)!r} is not allowed"
    raise UserError(f"{path}, line {line}: not YAML: {problem}")


def whole(events: Iterator[yaml.Event], path: str) -> Node:
    """The one document of a file."""
    next(events)  # the stream's start
    if isinstance(next(events), yaml.StreamEndEvent):
        raise UserError(f"{path} is empty")
    root = node(next(events), events, path, 1)
    next(events)  # the document's end
    if not isinstance(after := next(events), yaml.StreamEndEvent):
        line = after.start_mark.line + 1
        raise UserError(f"{path}, line {line}: a second document; expected one")
    return root


def node(event: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int) -> Node:
    """The node that starts with `event`."""
    here = Node("", path, event.start_mark.line + 1)
    if isinstance(event, yaml.AliasEvent):
        raise here.error(f"an alias, *{event.anchor}; expected the text itself")
    if event.anchor is not None:
        raise here.error(f"an anchor, &{event.anchor}; expected the text alone")
    if event.tag is not None:
        raise here.error(f"a tag, {event.tag}; expected none")
    if depth > DEEPEST:
        raise here.error(f"more than {DEEPEST} levels of lists and mappings")
    if isinstance(event, yaml.ScalarEvent):
        # JSON writes signs beyond 16 bits as two.
        value = event.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return Node(value, path, here.line, event.style is None and value in ("", "~", "null"))
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(node(event, events, path, depth + 1))
        return dataclasses.replace(here, value=items)
    values: dict[str, Node] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = node(event, events, path, depth + 1)
        if not isinstance(key.value, str) or key.plain is None:
            raise key.error(f"a key must be a text, got {key.shown}")
        if key.value in values:
            first = values[key.value].line
            raise key.error(f"the key {key.value!r} is given twice, first in line {first}")
        if key.value == "<<" and event.style is None:
            raise key.error("'<<' merges nothing here; expected a key")
        inner = node(next(events), events, path, depth + 1)
        values[key.value] = dataclasses.replace(inner, line=key.line)
    return dataclasses.replace(here, value=values)

"""YAML (and so JSON) as nodes that know their line, with every scalar as it was written.

YAML 1.1 makes a value of each plain scalar by its looks: `no` is false, 12:30 is 750, 2026-03-05 a
date. Here a scalar stays the text that a person wrote, and who asks for a number or for true or
false reads it. Tags, anchors and aliases are refused: nothing is built but texts, lists and
mappings, and no small file stands for a large one.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator

import yaml

from dtn_jax.errors import UserError

LARGEST = 4_000_000  # bytes of a file
DEEPEST = 20  # levels of lists and mappings


@dataclasses.dataclass(frozen=True)
class Node:
    """A part of a file.

    Attributes:
      value: a text, a list of nodes, or {key: node}.
      where: 'shop.yaml, line 12'.
      line: from 1 on.
      plain: a text without quotes.
      keys: of a mapping, {key: its line}.
    """

    value: str | list[Node] | dict[str, Node]
    path: str
    line: int
    plain: bool = False
    keys: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def where(self) -> str:
        return f"{self.path}, line {self.line}"

    @property
    def empty(self) -> bool:
        """Nothing was written, as after `user_id:`."""
        return self.plain and self.value == ""

    @property
    def null(self) -> bool:
        """It says that there is nothing."""
        return self.plain and self.value in ("", "~", "null")

    @property
    def shown(self) -> str:
        """What it is, for messages."""
        if isinstance(self.value, str):
            return "nothing" if self.empty else repr(self.value)
        return "a list" if isinstance(self.value, list) else "a mapping"

    def error(self, problem: str) -> UserError:
        return UserError(f"{self.where}: {problem}")

    def expected(self, what: str, expected: str) -> UserError:
        return self.error(f"{what}: expected {expected}, got {self.shown}")


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
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: it is not UTF-8") from None
    return loads(text, path)


def loads(text: str, path: str) -> Node:
    """Reads a file's text; `path` is its name in messages. Raises as `load`."""
    if is_json(text):
        text = text.replace("\t", " ")  # between its words: JSON has no bare tab within a text
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    try:
        return whole(events, path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        told = " ".join(filter(None, [error.context, error.problem]))
        if "'\\t'" in told:
            told = "a tab cannot indent; expected spaces"
        raise UserError(f"{path}, line {line}: not YAML: {told}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise UserError(
            f"{path}, line {line}: not YAML: the character {chr(error.character)!r} is not allowed"
        ) from None


def is_json(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def whole(events: Iterator[yaml.Event], path: str) -> Node:
    """The one document of a file."""
    next(events)  # the stream's start
    first = next(events)
    if isinstance(first, yaml.StreamEndEvent):
        raise UserError(f"{path} is empty")
    root = node(next(events), events, path, 1)
    next(events)  # the document's end
    after = next(events)
    if not isinstance(after, yaml.StreamEndEvent):
        line = after.start_mark.line + 1
        raise UserError(f"{path}, line {line}: a second document; expected one")
    return root


def node(event: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int) -> Node:
    """The node that starts with `event`."""
    line = event.start_mark.line + 1
    where = f"{path}, line {line}"
    if isinstance(event, yaml.AliasEvent):
        raise UserError(f"{where}: an alias, *{event.anchor}; expected the text itself")
    if event.anchor is not None:
        raise UserError(f"{where}: an anchor, &{event.anchor}; expected the text alone")
    if event.tag is not None:
        raise UserError(f"{where}: a tag, {event.tag}; expected none")
    if depth > DEEPEST:
        raise UserError(f"{where}: more than {DEEPEST} levels of lists and mappings")
    if isinstance(event, yaml.ScalarEvent):
        value = event.value
        if not value.isascii():  # JSON writes signs beyond 16 bits as two
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return Node(value, path, line, plain=event.style is None)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(node(event, events, path, depth + 1))
        return Node(items, path, line)
    values: dict[str, Node] = {}
    keys: dict[str, int] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = node(event, events, path, depth + 1)
        if not isinstance(key.value, str) or key.empty:
            raise key.error(f"a key must be a text, got {key.shown}")
        if key.value in values:
            first = keys[key.value]
            raise key.error(f"the key {key.value!r} is given twice, first in line {first}")
        if key.value == "<<" and key.plain:
            raise key.error("'<<' merges nothing here; expected a key")
        keys[key.value] = key.line
        values[key.value] = node(next(events), events, path, depth + 1)
    return Node(values, path, line, keys=keys)

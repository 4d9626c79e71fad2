"""What a declared option is, and the checks that follow from its declaration.

An option is declared once, by its owner: as a field of a dataclass (a linen module is one) with
`option(default, help, ...)`. Config sections, checks, messages and `--help` come from there.

    class GDCN(nn.Module):
        width: int
        layers: int = option(2, "gated cross layers", least=1)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from dtn_jax.errors import UserError, choose

SMALLEST, LARGEST = 1e-9, 1e9  # of a weight: beyond, float32 loses what it is added to


@dataclasses.dataclass(frozen=True)
class Option:
    """A declaration.

    Attributes:
      default: of the type that all its values have: bool, int, float, str, or a tuple.
      help: what it means, with its unit and the reason to turn it; one line, no full stop.
      choices: the words that it may be, or a function that lists them when a value is checked.
      least, most: a number's bounds, both allowed.
      above, below: a number's bounds, neither allowed.
      items: what a tuple holds: int (each at least 1) or str.
      runtime: it says where and how a run happens, not what it computes; it may change between two
        calls on one workdir.
      key: the full key, where it does not stand in its owner's section.
      role: of a tuple of fields' names, the role in the schema of those that () stands for.
      needs: {full key of another option: what it must be one of, where this is not the default}.
    """

    default: Any
    help: str
    choices: Iterable[str] | Callable[[], Iterable[str]] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    items: type = int
    runtime: bool = False
    key: str = ""
    role: str = ""
    needs: Mapping[str, tuple] = dataclasses.field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """The choices, as they are now."""
        return tuple(self.choices() if callable(self.choices) else self.choices)

    @property
    def expected(self) -> str:
        """What a value must be, for messages and --help."""
        kind = type(self.default)
        if self.choices:
            return f"one of {', '.join(self.words)}"
        if kind is tuple:
            return "names such as a,b" if self.items is str else "whole numbers such as 128,64"
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        bounds = [
            f"{word} {bound}"
            for word, bound in (
                ("at least", self.least),
                ("above", self.above),
                ("at most", self.most),
                ("below", self.below),
            )
            if bound is not None
        ]
        return f"{words.get(kind, 'a default of these types')} {' and '.join(bounds)}".strip()

    def check(self, key: str, value: Any) -> None:
        """Raises UserError where `value` is none that the option `key` may have."""
        if self.choices and isinstance(value, str):
            choose(key, value, self.words)
        if not self.allows(value):
            raise UserError(f"{key}={value}: expected {self.expected}")

    def allows(self, value: Any) -> bool:
        """Whether the option may have this value."""
        kind = type(self.default)
        if kind is tuple:
            if not isinstance(value, tuple | list):
                return False
            good = [isinstance(v, self.items) and (self.items is str or v >= 1) for v in value]
            return all(good)
        if kind in (bool, str) or isinstance(value, bool | str):
            return type(value) is kind  # True is no number
        if not isinstance(value, (int, float) if kind is float else int):
            return False
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def cast(self, key: str, text: str) -> Any:
        """The value that `text` says; raises UserError where it says none of the option's type."""
        text, kind = text.strip(), type(self.default)
        try:
            if kind is str:
                return text
            if kind is bool:
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            if kind is tuple:
                inner = text[1:-1] if text[:1] + text[-1:] in ("()", "[]") else text
                values = [v for v in (v.strip().strip("'\"") for v in inner.split(",")) if v]
                return tuple(self.items(v) for v in values)
            if kind is int and "e" in text and (number := float(text)) == int(number):  # 1e6
                return int(number)
            return kind(text)
        except (KeyError, ValueError, OverflowError):
            raise UserError(f"{key} expects {self.expected}, got {text!r}") from None


def option(default: Any, help: str, **rules: Any) -> Any:
    """A dataclass field that declares an option; `rules` are further attributes of Option."""
    return dataclasses.field(default=default, metadata={"option": Option(default, help, **rules)})


def declared(owner: type) -> dict[str, Option]:
    """{field: its declaration}, of the fields of a dataclass that are options."""
    fields = dataclasses.fields(owner) if dataclasses.is_dataclass(owner) else ()
    return {f.name: f.metadata["option"] for f in fields if "option" in f.metadata}


def split_outside_brackets(text: str, separators: str = ",") -> list[str]:
    """The parts between separators that stand in no brackets or quotes; none is empty."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += 0 if quote else (letter in "([{") - (letter in ")]}")
        if letter in separators and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def lists(text: str, what: str, form: str = "KEY=VALUE") -> dict[str, list[str]]:
    """Reads 'key=value,value,key=value' into {key: [values]}; a part without '=' goes on with the
    list before it. ';' separates as ',' does; a value with either in it stands in brackets or
    quotes: hidden=(64,),(128,64).

    Args:
      text: the lists; '' is none.
      what: the option's name, for messages.
      form: what a part looks like, for messages.

    Raises:
      UserError: a part without a key, or a key that is given twice.
    """
    by_key: dict[str, list[str]] = {}
    for part in split_outside_brackets(text, ",;"):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or set(key) & set("([{'\""):  # the '=' is inside of brackets
            if not by_key:
                raise UserError(f"{what}: expected {form}, got {part!r}")
            by_key[next(reversed(by_key))].append(part)
            continue
        if not (key and value):
            raise UserError(f"{what}: expected {form}, got {part!r}")
        if key in by_key:
            raise UserError(f"{what}: {key!r} is given twice in {text!r}")
        by_key[key] = [value]
    return by_key


def pairs(text: str, what: str, form: str = "KEY=VALUE") -> dict[str, str]:
    """Reads 'key=value,key=value', as `lists`; each key has one value."""
    by_key = lists(text, what, form)
    for values in by_key.values():
        if len(values) > 1:
            raise UserError(f"{what}: expected {form}, got {values[1]!r}")
    return {key: value for key, (value,) in by_key.items()}


def made(owner: type, section: Mapping[str, Any] | ConfigDict, key: str) -> Any:
    """An `owner` with its options from a config's section; an absent one has its default.

    Args:
      owner: a dataclass whose fields are options.
      section: of the config, {option: value}.
      key: the section's full key, for messages.

    Raises:
      UserError: a value that an option may not have.
    """
    options = declared(owner)
    values = {name: section[name] for name in options if name in section}
    for name, value in values.items():
        options[name].check(f"{key}.{name}", value)
    return owner(**values)


def per_task(text: str, tasks: tuple[str, ...], what: str, default: float) -> dict[str, float]:
    """Reads 'click=200,order=3000' into one number a task; tasks not named get `default`."""
    values = {}
    for name, value in pairs(text, what, "task=number").items():
        choose(f"task in {what}", name, tasks)
        try:
            values[name] = float(value)
        except ValueError:
            raise UserError(f"{what}: expected task=number, got '{name}={value}'") from None
        if values[name] and not SMALLEST <= values[name] <= LARGEST:
            raise UserError(
                f"{what}: expected 0 or a number from {SMALLEST:g} to {LARGEST:g}, got "
                f"'{name}={value}'"
            )
    return {task: values.get(task, default) for task in tasks}

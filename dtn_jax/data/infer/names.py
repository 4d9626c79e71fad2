"""A column's name: what it tells (an id, a quantity, a time, a user, an outcome), and how a schema
file writes it.
"""

from __future__ import annotations

import json
import pathlib
import re
import tomllib
from collections.abc import Iterable

from dtn_jax.data import formula

PLAIN = r"[A-Za-z_][A-Za-z0-9_]*"
FORMULA = r"[A-Za-z_][A-Za-z0-9_ ()<>=.+*-]*[A-Za-z0-9_)]"  # plain in YAML, too
YAML_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # of YAML 1.1, too


WORDS = tomllib.loads(pathlib.Path(__file__).with_name("words.toml").read_text())
WORDS = {kind: frozenset(text.split()) for kind, text in WORDS.items()}
# The first are the most telling.
TIMES = ("timestamp", "ts", "t", "time", "datetime", "dt", "date", "day")
TIME_ENDS = {*TIMES, "at", "unix", "epoch"}
TIME_UNITS = ("s", "sec", "seconds", "ms", "millis", "us", "ns")
USERS = ["user", "uid", "member", "visitor", "customer", "client", "account", "viewer"]
USERS += ["buyer", "person", "session", "cookie", "device"]


def has(words: Iterable[str], kind: str) -> bool:
    """Whether one of the words is of a kind, such as entities; words.toml has them."""
    return not WORDS[kind].isdisjoint(words)


def words(name: str) -> list[str]:
    """Its words in small letters: 'userId' and 'user_id' have user and id."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word.lower() for word in re.findall(r"[^\W_]+", parted)]


def singular(name: str) -> set[str]:
    """Its words, and the same without an s at their end."""
    return {form for word in words(name) for form in (word, word.removesuffix("s"))}


def is_id(name: str) -> bool:
    """Ends in id, key, code, …; `userid` too."""
    last = (words(name) or [""])[-1]
    return last in WORDS["ids"] or last.removesuffix("id") in WORDS["entities"]


def is_entity(name: str) -> bool:
    """An id of users, items or the like, which a large log has many of."""
    parts = words(name)
    stems = {*parts, *(word.removesuffix("id") for word in parts)}
    return has(stems, "entities") and not has(stems, "unique")


def is_quantity(name: str) -> bool:
    return has(singular(name), "quantities") and not is_id(name)


def is_outcome(name: str) -> bool:
    """Of a 0/1 column: what a person did once the row was shown."""
    parts = words(name)
    stems = {word.removesuffix(end) for word in parts for end in ("", "s", "d", "ed")}
    return has(stems, "outcomes") and not has(parts, "history")


def is_place(name: str) -> bool:
    """Where a row was shown, which is not known before it is scored: position, page_no."""
    first, *_, last = words(name) * 2 or ["", ""]
    return has([last], "places") or (has([first], "places") and has([last], "number"))


def is_value(name: str) -> bool:
    """Of a number: an outcome that is measured, as a watch time or a rating."""
    parts = words(name)
    if not parts or has({*parts} - {"rate"}, "history"):
        return False
    spent = has(parts, "spent") and has(parts[-1:], "amounts")
    return spent or has(parts[-1:], "values") or parts == ["y"]


def time_rank(name: str) -> tuple[bool, int] | None:
    """The smallest is the most telling name of the time of an event; None is no such name.

    Times of what the event is about come last: published_at, click_ts.
    """
    parts = words(name)
    if parts[1:] and parts[-1] in TIME_UNITS:
        parts.pop()
    if not parts or parts[-1] not in TIME_ENDS:
        return None
    before, exact = set(parts[:-1]), [*TIMES, "".join(parts)].index("".join(parts))
    other = any(has(before, kind) for kind in ("about", "outcomes", "entities"))
    return other or is_outcome(" ".join(before)), exact


def user_rank(name: str) -> int:
    """0 is the most telling name of the users' column; -1 is no such name."""
    parts = words(name)
    if parts[1:] not in ([], ["id"], ["key"], ["hash"]) or not parts:
        return -1
    stem = parts[0] if parts[0] == "uid" else parts[0].removesuffix("id")
    return USERS.index(stem) if stem in USERS else -1


def quoted(text: str, plain: str = PLAIN) -> str:
    """A text as YAML has it: plain where all readers of YAML see a text in it."""
    if re.fullmatch(plain, text) and text.lower() not in YAML_WORDS:
        return text
    signs = json.dumps(text, ensure_ascii=False)
    return "".join(s if s.isprintable() else s.encode("unicode_escape").decode() for s in signs)


def expression(column: str) -> str:
    """A column's name in an expression; '' where none can have it."""
    return "" if "`" in column else formula.named(column).id

"""A column's name: what it tells (an id, a quantity, a time, a user, an outcome), and how a schema
file writes it.
"""

from __future__ import annotations

import json
import re

from dtn_jax.data import formula

PLAIN = r"[A-Za-z_][A-Za-z0-9_]*"
FORMULA = r"[A-Za-z_][A-Za-z0-9_ ()<>=.+*-]*[A-Za-z0-9_)]"  # plain in YAML, too
YAML_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # of YAML 1.1, too


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENTITIES = _words(
    "user member visitor customer client account viewer buyer person session device cookie uid "
    "item product sku video ad article photo song movie post goods author seller shop store brand "
    "creative campaign query category city page"
)
IDS = _words(
    "id ids key keys code uid gid pid vid sid idx index hash zip postcode type cat category class "
    "hour weekday dow month year day week gender level status flag version slot position"
)
UNIQUE = _words(
    "request req impression imp trace event log row record uuid guid transaction message span"
)
QUANTITIES = _words(
    "n views visits impressions exposures clicks orders likes hours days ms us sec second min mins "
    "minute duration price cost amount count cnt num number qty quantity age size length len width "
    "height score rate ratio ctr cvr pct percent percentage avg mean median sum total distance km "
    "meters income salary revenue gmv budget bid balance weight temperature"
)
TIMES = ("timestamp", "ts", "t", "time", "datetime", "dt", "date", "day")
TIME_ENDS = {*TIMES, "at", "unix", "epoch"}
TIME_UNITS = ("s", "sec", "seconds", "ms", "millis", "us", "ns")
USERS = ["user", "uid", "member", "visitor", "customer", "client", "account", "viewer"]
USERS += ["buyer", "person", "session", "cookie", "device"]
EVENTS = _words("event log logged request impression show exposure action server")
ABOUT = _words(  # times of things that are older or younger than the event
    "publish published release released birth registration joined update updated modified start "
    "end expire expires expiry first last previous create upload uploaded launch install deleted"
)
OUTCOMES = _words(  # and with s, d or ed
    "click cart addtocart order buy bought purchase pay paid payment like dislike share follow "
    "conversion convert watch view favorite favourite fav faved comment install download save "
    "subscribe subscription hide hidden hate report skip skipped complete finish book booking "
    "apply applied reply replied forward signup register engage engagement label target churn "
    "response enter"
)
SPENT = _words("watch play dwell view viewing stay read reading listen")
AMOUNTS = _words("time seconds second sec secs s ms minutes duration length")
PLACES = _words("position pos page slot rank")
NUMBER = _words("no num number index idx id")
VALUES = _words("rating ratings stars label target revenue gmv")
HISTORY = _words(  # what a feature about the past is called: never an outcome
    "avg mean hist history past last prev previous recent count counts cnt num rate ratio ctr cvr "
    "total sum days 1d 3d 7d 14d 30d 90d ago since before score pred predicted price id ids key "
    "type category list"
)
WEIGHTS = _words("weight score prob probability strength")


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
    return last in IDS or last.removesuffix("id") in ENTITIES


def is_entity(name: str) -> bool:
    """An id of users, items or the like, which a large log has many of."""
    parts = words(name)
    stems = {*parts, *(word.removesuffix("id") for word in parts)}
    return bool(stems & ENTITIES) and not stems & UNIQUE


def is_quantity(name: str) -> bool:
    return bool(singular(name) & QUANTITIES) and not is_id(name)


def is_outcome(name: str) -> bool:
    """Of a 0/1 column: what a person did once the row was shown."""
    parts = words(name)
    stems = {word.removesuffix(end) for word in parts for end in ("", "s", "d", "ed")}
    return bool(stems & OUTCOMES) and HISTORY.isdisjoint(parts)


def is_place(name: str) -> bool:
    """Where a row was shown, which is not known before it is scored: position, page_no."""
    first, *_, last = words(name) * 2 or ["", ""]
    return last in PLACES or (first in PLACES and last in NUMBER)


def is_value(name: str) -> bool:
    """Of a number: an outcome that is measured, as a watch time or a rating."""
    parts = words(name)
    if not parts or set(parts) & (HISTORY - {"rate"}):
        return False
    spent = not SPENT.isdisjoint(parts) and parts[-1] in AMOUNTS
    return spent or parts[-1] in VALUES or parts == ["y"]


def time_rank(name: str) -> tuple[bool, bool, int] | None:
    """The smallest is the most telling name of the time of an event; None is no such name.

    Times of what the event is about come last: published_at, click_ts.
    """
    parts = words(name)
    if parts[1:] and parts[-1] in TIME_UNITS:
        parts.pop()
    if not parts or parts[-1] not in TIME_ENDS:
        return None
    exact, before = "".join(parts) in TIMES, set(parts[:-1])
    other = bool(before & (ABOUT | OUTCOMES | ENTITIES) or is_outcome(" ".join(before)))
    place = TIMES.index("".join(parts)) if exact else len(TIMES)
    return other, not (exact or before & EVENTS), place


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

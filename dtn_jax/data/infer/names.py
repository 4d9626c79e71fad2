"""What a column's name tells: an id, a quantity, a time, a user, an outcome."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENTITIES = _words(
    "user member visitor customer client account viewer buyer person session device cookie "
    "item product sku video ad article photo song movie post goods author seller shop store "
    "brand creative campaign query category city page"
)
IDS = _words(
    "id ids key keys code uid gid pid vid sid idx index hash zip postcode type cat category "
    "class hour weekday dow month year day week gender level status flag version slot "
    "position"
)
UNIQUE = _words(
    "request req impression imp trace event log row record uuid guid transaction message span"
)
QUANTITIES = _words(
    "n views visits impressions exposures clicks orders likes ms us sec secs second seconds "
    "min mins minute minutes hours days duration price prices cost amount count counts cnt "
    "num number qty quantity age ages size length len width height score scores rate ratio "
    "ctr cvr pct percent percentage avg mean median sum total distance km meters income "
    "salary revenue gmv budget bid balance weight temperature"
)
TIMES = ("timestamp", "ts", "t", "time", "datetime", "dt", "date", "day")
TIME_ENDS = frozenset([*TIMES, "at", "unix", "epoch"])
TIME_UNITS = ("s", "sec", "seconds", "ms", "millis", "us", "ns")
USERS = ["user", "uid", "member", "visitor", "customer", "client", "account", "viewer"]
USERS += ["buyer", "person", "session", "cookie", "device"]
EVENTS = _words("event log logged request impression show exposure action server")
ABOUT = _words(  # times of things that are older or younger than the event
    "publish published release released birth registration joined update updated modified "
    "start end expire expires expiry first last previous create upload uploaded launch "
    "install deleted"
)
OUTCOMES = _words(
    "click clicks clicked cart addtocart order orders ordered buy bought purchase purchased "
    "pay paid payment like liked dislike disliked share shared follow followed conversion "
    "convert converted watch watched view viewed favorite favourite fav faved comment "
    "commented install installed download downloaded save saved subscribe subscribed "
    "subscription hide hidden hate report reported skip skipped complete completed finish "
    "finished book booked booking apply applied reply replied forward forwarded signup "
    "register registered engaged engagement label labels target churn response enter entered"
)
SPENT = _words("watch play dwell view viewing stay read reading listen")
AMOUNTS = _words("time seconds second sec secs s ms minutes duration length")
PLACES = _words("position pos page slot rank")
NUMBER = _words("no num number index idx id")
VALUES = _words("rating ratings stars label target revenue gmv")
HISTORY = _words(  # what a feature about the past is called: never an outcome
    "avg mean hist history past last prev previous recent count counts cnt num rate ratio ctr "
    "cvr total sum days 1d 3d 7d 14d 30d 90d ago since before score pred predicted price id "
    "ids key type category list"
)


def words(name: str) -> list[str]:
    """Its words in small letters: 'userId' and 'user_id' have user and id."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word.lower() for word in re.findall(r"[^\W_]+", parted)]


def is_id(name: str) -> bool:
    """Ends in id, key, code, …; `userid` too."""
    found = words(name)
    return bool(found) and (found[-1] in IDS or found[-1].removesuffix("id") in ENTITIES)


def is_entity(name: str) -> bool:
    """An id of users, items or the like, which a large log has many of."""
    found = {word.removesuffix("id") for word in words(name)} | set(words(name))
    return bool(found & ENTITIES or "uid" in found) and not found & UNIQUE


def is_quantity(name: str) -> bool:
    return bool(set(words(name)) & QUANTITIES) and not is_id(name)


def is_outcome(name: str) -> bool:
    """Of a 0/1 column: what a person did once the row was shown."""
    found = set(words(name))
    return bool(found & OUTCOMES) and not found & HISTORY


def is_yes_or_no(name: str) -> bool:
    return words(name)[:1] == ["is"]


def is_place(name: str) -> bool:
    """Where a row was shown, which is not known before it is scored: position, page_no."""
    found = words(name)
    return bool(set(found[-1:]) & PLACES or (set(found[:1]) & PLACES and set(found[1:]) <= NUMBER))


def is_value(name: str) -> bool:
    """Of a number: an outcome that is measured, as a watch time or a rating."""
    found = words(name)
    if set(found) & (HISTORY - {"rate"}):
        return False
    spent = bool(set(found) & SPENT) and bool(found) and found[-1] in AMOUNTS
    return spent or bool(found and found[-1] in VALUES) or found == ["y"]


def time_rank(name: str) -> tuple[bool, bool, int] | None:
    """The smallest is the most telling name of the time of an event; None is no such name.

    Times of what the event is about come last: published_at, click_ts.
    """
    found = words(name)
    if found[1:] and found[-1] in TIME_UNITS:
        found.pop()
    if not found or found[-1] not in TIME_ENDS:
        return None
    exact = "".join(found) in TIMES
    telling = exact or bool(set(found[:-1]) & EVENTS)
    other = bool(set(found[:-1]) & (ABOUT | OUTCOMES | ENTITIES))
    return other, not telling, TIMES.index("".join(found)) if exact else len(TIMES)


def user_rank(name: str) -> int:
    """0 is the most telling name of the users' column; -1 is no such name."""
    found = words(name)
    if not found or len(found) > 2 or (len(found) == 2 and found[-1] not in ("id", "key", "hash")):
        return -1
    stem = found[0] if found[0] == "uid" else found[0].removesuffix("id")
    return USERS.index(stem) if stem in USERS else -1

"""The URLs of a sweep's storages: of a file, checked, and shown without their passwords."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from urllib.parse import unquote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from dtn_jax.errors import UserError

JOURNAL = "journal:"
HIDDEN = "***"
PLAIN = re.compile(r"[\w.+-]*")  # a user's name in which no password can hide
SHORTEST = 3  # letters of a secret that is looked for in messages


def of_file(path: pathlib.Path) -> str:
    """The URL of an SQLite file, whatever letters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def check(url: str) -> None:
    """Raises UserError where a URL names no storage that several threads can share."""
    if url.startswith(JOURNAL):
        return
    try:
        found = make_url(url)
        found.get_dialect()
    except ValueError as error:  # of a port
        raise UserError(f"storage {shown(url)!r}: expected a whole number as its port") from error
    except ArgumentError as error:
        raise UserError(
            f"storage {shown(url)!r} cannot be opened: expected sqlite:///FILE, the URL of a "
            "database server, or journal:FILE"
        ) from error
    if found.port is not None and not 0 < found.port < 2**16:
        raise UserError(f"storage {shown(url)!r}: expected a port from 1 to 65535")
    inside = found.database in (None, "", ":memory:") or found.query.get("mode") == "memory"
    if found.get_backend_name() == "sqlite" and (inside or ":memory:" in found.database):
        raise UserError(
            f"storage {shown(url)!r} is in memory, where threads cannot share it and the search "
            "is lost at its end; give sqlite:///FILE"
        )


def shown(url: str) -> str:
    """A storage's URL without the passwords that it may hold, before its host or in its query."""
    scheme, sep, rest = url.partition("://")
    if not sep:
        return url
    if rest.startswith("/") and "@" not in rest:  # a file's
        return f"{scheme}://{unquote(rest)}"
    before, at, after = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    if at:
        before = (user if PLAIN.fullmatch(user) else HIDDEN) + (f":{HIDDEN}" if colon else "")
    place, mark, query = after.partition("?")
    return f"{scheme}://{before}{at}{place}{mark}{re.sub('=[^&]*', f'={HIDDEN}', query)}"


def without_secrets(text: str, url: str) -> str:
    """A message about a storage, without what `shown` hides of its URL."""
    for secret in sorted(set(secrets(url)), key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def secrets(url: str) -> Iterator[str]:
    """The parts of a URL that may be passwords or parts of them, as written and decoded."""
    rest = url.partition("://")[2]
    before, _, after = rest.rpartition("@")
    password = before.partition(":")[2]
    values = re.findall("=([^&]*)", after.partition("?")[2])
    for found in (password, *re.split("[@/?:]", password), *values):
        yield found
        yield unquote(found)

"""The one exception for wrong input, and how the most common one is worded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """The input is wrong, not the program: shown without a traceback."""


LONG, MANY = 60, 40  # characters of a name, and names, that a message shows


def listed(names: Iterable[str]) -> str:
    """Names for a message: long ones cut, and of many the first."""
    names = list(names)
    shown = [name if len(name) <= LONG else f"{name[:LONG]}…" for name in names[:MANY]]
    return ", ".join(shown) + (f", … ({len(names) - MANY:,} more)" if len(names) > MANY else "")


def choose(what: str, got: str, choices: Iterable[str], between: str = ", ") -> str:
    """Returns `got` when it is one of `choices`; otherwise raises a UserError that lists them."""
    choices = list(choices)
    if got in choices:
        return got
    near = difflib.get_close_matches(str(got), choices, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"unknown {what} {got!r}.{hint} The choices are: {between.join(choices)}.")

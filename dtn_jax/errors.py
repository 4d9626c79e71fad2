"""The one exception for wrong input, and how the most common one is worded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """The input is wrong, not the program: shown without a traceback."""


def choose(what: str, got: str, choices: Iterable[str], between: str = ", ") -> str:
    """Returns `got` when it is one of `choices`; otherwise raises a UserError that lists them."""
    choices = list(choices)
    if got in choices:
        return got
    near = difflib.get_close_matches(str(got), choices, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"unknown {what} {got!r}.{hint} The choices are: {between.join(choices)}.")

"""How a request is refused: a status, and a message that says what to send instead."""

from __future__ import annotations

import json
from collections.abc import Mapping

LONGEST = 200  # characters of a client's text that are sent back
CLOSE = {"connection": "close"}  # a header


class Refused(Exception):
    """A request that is not answered with scores.

    Attributes:
      status: of HTTP: 4xx is the request's fault, 503 says to come again.
      message: what was got, what was expected, the remedy.
      details: the same for programs: row, column, got, expected.
      headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        details: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message = status, message
        self.details, self.headers = dict(details or {}), dict(headers or {})

    @property
    def body(self) -> bytes:
        return json.dumps({"error": self.message, **self.details}).encode()


def bad_value(
    where: str, column: str, got: str, expected: str, row: int | None = None, reason: str = ""
) -> Refused:
    """Refuses a value of one row.

    Args:
      where: which row, in words: `row 3`, `candidate 3`, `user`.
      column: whose value it is; '' if it is the row.
      got: what is there, as JSON or in words.
      expected: what should be.
      row: its number, counted from 1; None of what all rows share.
      reason: why it is refused, where `expected` does not say it; in the message alone.
    """
    what = f"{where}, column {column!r}" if column else where
    details: dict[str, object] = {"row": row, "column": column or None}
    details |= {"got": shown(got), "expected": expected}
    why = f" ({reason})" if reason else ""
    return Refused(422, f"{what}: got {shown(got)}{why}, expected {expected}", details)


def shown(text: str) -> str:
    """A client's text, cut, and in characters that every log and terminal can show."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return cut.encode("utf-8", "replace").decode()

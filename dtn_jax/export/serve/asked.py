"""What a request asks for, once its body is read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import polars as pl

from dtn_jax.data.cast import of_values
from dtn_jax.data.raw.types import Reject, Types
from dtn_jax.export.encoded import Bad
from dtn_jax.export.serve.json_text import written
from dtn_jax.export.serve.refused import Refused, bad_value

WIDE = 4096  # values of a user, in all rows, from which on it pays to encode them once


@dataclasses.dataclass(frozen=True)
class Asked:
    """Rows to score.

    Attributes:
      rows: how many.
      outputs: those that the answer has.
      ignored: names of fields that the model does not read.
      frame: of Arrow, the model's columns in their types; None of JSON.
      values: of JSON, {name: its values} of the model's columns; one value of those of `shared`.
      body: of JSON, as it came.
      what: a row's name in messages: `row` or `candidate`.
      shared: the columns that the request has once, as its user's.
    """

    rows: int
    outputs: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    frame: pl.DataFrame | None = None
    values: Mapping[str, list] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    what: str = "row"
    shared: frozenset[str] = frozenset()

    @property
    def wide(self) -> bool:
        """Whether the user's values are many enough, with all rows, to be encoded once."""
        values = (self.values[name][0] for name in self.shared)
        sizes = (len(value) if isinstance(value, list) else 1 for value in values)
        return self.rows > 1 and sum(sizes) * self.rows >= WIDE

    def refused(self, reject: Reject, row: int, expected: str) -> Refused:
        """How a value is refused.

        Args:
          reject: its column, and why; of Arrow, the value, too.
          row: its row, counted from 0.
          expected: what should be there, unless the reason says it.
        """
        reason = reject.reason
        if reason.startswith("expected "):
            expected, reason = reason.removeprefix("expected "), ""
        shared = reject.column in self.shared
        where, got = "user" if shared else f"{self.what} {row + 1}", reject.value
        if reject.column in self.values:
            place = ("user",) if shared else (f"{self.what}s", row)
            value = self.values[reject.column][0 if shared else row]
            got = written(self.body, (*place, reject.column), value)
        number = None if shared else row + 1
        return bad_value(
            where, reject.column, got or reason, expected, number, reason if got else ""
        )


def table(asked: Sequence[Asked], types: Types, bad: Bad) -> pl.DataFrame:
    """These columns of all rows of requests, which are all of JSON, or all of Arrow."""
    frames = [one.frame for one in asked if one.frame is not None]
    if frames:
        return pl.concat(frames)

    def values(one: Asked, name: str) -> list:
        return one.values[name] * (one.rows if name in one.shared else 1)

    columns = {
        name: list(itertools.chain.from_iterable(values(one, name) for one in asked))
        for name in types
    }
    return pl.DataFrame([of_values(n, columns[n], kind, bad) for n, kind in types.items()])

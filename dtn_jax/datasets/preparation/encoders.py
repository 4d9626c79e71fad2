"""Encoders turn column values into table rows; fitted on train, saved with the data, and reused.

Row 0 of every table is the unknown id: missing values, values listed as unknown, and values not
seen in train. An encoder is fitted from the counts of a column's values, so one streaming pass over
train fits them all, in memory bounded by the number of distinct values.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation import bags, numbers
from dtn_jax.datasets.preparation.bags import Bag
from dtn_jax.datasets.preparation.numbers import (
    Binned,
    BinnedLogarithms,
    QuantileBuckets,
    Standardise,
)
from dtn_jax.datasets.preparation.vocabulary import Counter, Vocabulary
from dtn_jax.errors import UserError, choose
from dtn_jax.schema import Field


@dataclasses.dataclass(frozen=True)
class Identity:
    """The column already holds rows 1 ... `size`; anything else is unknown."""

    kind: ClassVar[str] = "identity"
    size: int = 1

    @property
    def rows(self) -> int:
        """Rows of the table, with that of the unknown id."""
        return 1 + self.size

    def fit(self, counts: pl.DataFrame) -> Identity:
        """Itself: train teaches it nothing."""
        return self

    def encode(self, column: pl.Series) -> np.ndarray:
        """Returns the row of each value, int32 `[B]`."""
        ids = column.fill_null(0).to_numpy()
        return np.where((ids >= 1) & (ids <= self.size), ids, 0).astype(np.int32)


Encoder = Vocabulary | Bag | QuantileBuckets | Standardise | Binned | BinnedLogarithms | Identity
ENCODERS = {e.kind: e for e in Encoder.__args__}
NUMERIC = (QuantileBuckets, Standardise)
WITH_NUMBERS = Standardise  # an example holds a number beside the id


def needs_fitting(encoder: Encoder) -> bool:
    """Whether the encoder learns anything from train rows."""
    return not isinstance(encoder, Identity)


def fit(encoders: Mapping[str, Encoder], frames: Iterable[pl.DataFrame]) -> dict[str, Encoder]:
    """Fits every encoder, by column name, in one pass over the train rows in `frames`."""
    wanted = {name: encoder for name, encoder in encoders.items() if needs_fitting(encoder)}
    if not wanted:
        return dict(encoders)
    counted: dict[str, pl.DataFrame] = {}
    counted_as_text = {n: e for n, e in wanted.items() if not isinstance(e, NUMERIC)}
    counters = {name: Counter() for name in counted_as_text}
    longest = {n: 0 for n, e in wanted.items() if isinstance(e, Bag)}
    empty = True
    for frame in frames:
        empty = False
        for name, encoder in wanted.items():
            if isinstance(encoder, NUMERIC):
                counted[name] = numbers.add(counted.get(name), frame[name])
            elif isinstance(encoder, Bag):
                counters[name].add(encoder.kept(frame[name]))
                longest[name] = max(longest[name], bags.lengths(frame[name]).max(initial=0))
            else:
                counters[name].add(frame[name])
    if empty:
        raise UserError("the train split is empty: nothing to fit the encoders on")
    known = counted | {name: counter.counts() for name, counter in counters.items()}
    sizes = {name: {"longest": int(most)} for name, most in longest.items()}
    fitted = {n: e.fit(known[n], **sizes.get(n, {})) for n, e in wanted.items()}
    return {name: fitted.get(name, encoder) for name, encoder in encoders.items()}


@dataclasses.dataclass
class Encoded:
    """A field's slots of B rows.

    Attributes:
      ids: int32 `[B, S]`; -1 pads, 0 is the unknown id.
      weights: float32 `[B, S]` of a weighted bag, else None.
      cut: number of values that did not fit into the slots.
    """

    ids: np.ndarray
    weights: np.ndarray | None = None
    cut: int = 0


def encode(name: str, encoder: Encoder, frame: pl.DataFrame) -> Encoded:
    """The slots of one field; `encoder` is fitted."""
    ids = encoder.encode(frame[name])
    if not isinstance(encoder, Bag):
        return Encoded(ids[:, None])
    weights = encoder.encode_weights(frame[encoder.weights]) if encoder.weights else None
    return Encoded(ids, weights, encoder.cut(frame[name]))


def field(name: str, encoder: Encoder) -> Field:
    """The schema's field of a fitted encoder."""
    if isinstance(encoder, Bag):
        return Field(
            name,
            kind="bag",
            rows=encoder.rows,
            slots=encoder.slots,
            pooling=encoder.pooling,
            weighted=bool(encoder.weights),
        )
    numeric = isinstance(encoder, NUMERIC)
    return Field(
        name,
        kind="numeric" if numeric else "categorical",
        rows=encoder.rows,
        standardised=isinstance(encoder, Standardise),
        edges=encoder.edges if isinstance(encoder, Binned) else (),
    )


def to_json(encoders: Mapping[str, Encoder]) -> str:
    """Encoders by column, as text that `from_json` reads."""

    def options(encoder: Encoder) -> dict:  # not asdict, which copies millions of values
        return {f.name: getattr(encoder, f.name) for f in dataclasses.fields(encoder)}

    return json.dumps({n: {"kind": e.kind, **options(e)} for n, e in encoders.items()}, indent=1)


def from_json(text: str) -> dict[str, Encoder]:
    """Reads what `to_json` wrote; raises UserError on an unknown encoder."""
    encoders = {}
    for name, options in json.loads(text).items():
        kind = choose(f"encoder of field {name!r}", options.pop("kind"), ENCODERS)
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        encoders[name] = ENCODERS[kind](**options)
    return encoders

"""Joins Ali-CCP's impressions with the common features that they point to.

Common features are read once and kept in memory, at 8 bytes per value. Impressions stream through
in chunks and point to them by number, so memory does not grow with the impressions. Values are
counted and encoded once per line of common features, not once per impression.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.datasets.ali_ccp.text import FIELDS, TWICE, USER, common_rows
from dtn_jax.datasets.preparation.encoders import Bag, Encoded, Encoder
from dtn_jax.datasets.preparation.ragged import Ragged, pad
from dtn_jax.datasets.preparation.text_lines import NUMBER, Damage, read_lines
from dtn_jax.datasets.preparation.vocabulary import Counter, Vocabulary
from dtn_jax.errors import UserError
from dtn_jax.shapes import Int

NOBODY = -1  # the user of a line without field 101
PART = 100_000  # lines of common features whose values are counted at once


class Common:
    """C lines of common features, and an empty one at the end: number -1 is none.

    An index is stored as 64 bits of a hash: of a million indices, two share theirs in 1 of 37
    million data sets.

    Attributes:
      features: of each field the values kept, `[C + 1]` rows; raw ids until `encode`.
      sizes: of each field how many values a line has, kept or not, `[C + 1]`.
      users: the first value of field 101, or NOBODY, `[C + 1]`.
    """

    def __init__(
        self, index: pa.Array, sizes: Sequence[list[np.ndarray]], parts: Sequence[list[Ragged]]
    ):
        keys = pl.from_arrow(index).hash().to_numpy()
        self._keys, self._lines = np.unique(keys, return_index=True)
        self.repeated = np.ones(len(keys), bool)
        self.repeated[self._lines] = False
        self.features, self.sizes = [], []
        for f in range(len(FIELDS)):
            self.features.append(Ragged.join([*(part[f] for part in parts), Ragged.empty(1)]))
            self.sizes.append(np.concatenate([*(size[f] for size in sizes), [0]]))
            for part in parts:  # a field at a time, lest all be held twice
                part[f] = None
        users = self.features[USER]
        self.users = pad(users.ids.astype(np.int64), users.lengths, 1, NOBODY)[:, 0]
        self._encoded = False

    def __len__(self) -> int:
        return len(self.users)

    def find(self, index: pa.Array) -> Int[np.ndarray, " B"]:
        """The number of each index's line, -1 where there is none, `[B]`."""
        if not len(self._keys):
            return np.full(len(index), -1)
        keys = pl.from_arrow(index).hash().to_numpy()
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._lines[at], -1)

    def encode(self, fitted: Mapping[str, Encoder]) -> None:
        """Puts rows of the fields' tables in the place of raw ids, once."""
        if not self._encoded:
            for values, encoder in zip(self.features, fitted.values(), strict=True):
                values.ids = vocabulary(encoder).rows_of(values.ids)
        self._encoded = True


def nothing() -> Common:
    """No line but the empty one."""
    return Common(pa.array([], pa.string()), [], [])


def read_common(path: pathlib.Path, encoders: Mapping[str, Encoder], damage: Damage) -> Common:
    """Reads a file of common features: of each field the values that its encoder keeps.

    If several lines have the same index, the first one counts.
    """
    index, numbers, sizes, parts = [], [], [], []
    caps = [cap(encoder) for encoder in encoders.values()]
    for lines in read_lines(path, damage):
        rows, features = common_rows(lines, damage)
        index.append(rows["common_index"])
        numbers.append(rows[NUMBER].to_numpy())
        sizes.append([values.lengths for values in features])
        parts.append([values.head(most) for values, most in zip(features, caps, strict=True)])
    index = pa.chunked_array(index, pa.string()).combine_chunks()
    common = Common(index, sizes, parts)
    repeated = common.repeated
    numbers = np.concatenate([np.empty(0, np.int64), *numbers])
    damage.add(TWICE, numbers[repeated], index.filter(pa.array(repeated)))
    return common


@dataclasses.dataclass
class Impressions:
    """B rows. To the builder they look like a frame of their labels and group.

    Attributes:
      columns: `click` and `conversion`, bool `[B]`, and the group, int64 `[B]`.
      own: of each field the values of the skeleton's line, raw ids.
      at: the number of the line of common features, -1 for none, `[B]`.
      common: those lines. A field that both have holds the own values first.
    """

    columns: dict[str, np.ndarray]
    own: list[Ragged]
    at: np.ndarray
    common: Common

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, name: str) -> pl.Series:
        return pl.Series(name, self.columns[name])

    def filter(self, mask: np.ndarray) -> Impressions:
        columns = {name: values[mask] for name, values in self.columns.items()}
        return Impressions(columns, [v.take(mask) for v in self.own], self.at[mask], self.common)

    def sizes(self, field: int) -> Int[np.ndarray, " B"]:
        """How many values of a field each row has, `[B]`."""
        return self.own[field].lengths + self.common.sizes[field][self.at]

    def split(self, field: int, own: Ragged) -> tuple[Ragged, np.ndarray | None]:
        """A field's values by where they are: in the row, or `[B]` in which common line.

        A row that has some in both gets them all, the own first. `own` are the own values, raw
        or encoded as those of `common` are. None: no row has any in a common line.
        """
        theirs = self.common.features[field]
        if not len(theirs.ids):
            return own, None
        if not len(own.ids):
            return own, self.at
        some = own.lengths > 0
        both = some & (theirs.lengths[self.at] > 0)
        if both.any():
            own = own.followed_by(theirs.take(np.where(both, self.at, -1)))
        return own, np.where(some, -1, self.at)

    @functools.cached_property
    def lines(self) -> tuple[np.ndarray, np.ndarray]:
        """The lines that `at` names, each once, and where in them each row's is."""
        return np.unique(self.at, return_inverse=True)


def cap(encoder: Encoder) -> int:
    """The values that a field keeps."""
    return encoder.max_values if isinstance(encoder, Bag) else 1


def vocabulary(encoder: Encoder) -> Vocabulary:
    return encoder.vocabulary if isinstance(encoder, Bag) else encoder


def fit(encoders: Mapping[str, Encoder], chunks: Iterator[Impressions]) -> dict[str, Encoder]:
    """Fits every encoder on the values that it keeps: as `encoders.fit` would on joined rows."""
    counters, longest = [Counter() for _ in FIELDS], [0] * len(FIELDS)
    uses, common = None, None
    for rows in chunks:
        if uses is None:
            common, uses = rows.common, np.zeros((len(FIELDS), len(rows.common)), np.int64)
        counted = _uses(rows.at, common)
        for f, encoder in enumerate(encoders.values()):
            own, at = rows.split(f, rows.own[f])
            if len(own.ids):
                counters[f].add(pl.Series(own.head(cap(encoder)).ids))
            if at is not None:
                uses[f] += counted if at is rows.at else _uses(at, common)
            longest[f] = max(longest[f], rows.sizes(f).max(initial=0))
    if common is None:
        raise UserError("the train split is empty: nothing to fit the encoders on")
    for f, values in enumerate(common.features):
        for start in range(0, len(common), PART if len(values.ids) else len(common)):
            lengths = values.lengths[start : start + PART]
            first = values.starts[start]
            ids = values.ids[first : first + lengths.sum()]
            times = np.repeat(uses[f][start : start + PART], lengths)
            counters[f].add(pl.Series(ids[times > 0]), pl.Series(times[times > 0]))
    fitted = {}
    for f, (name, encoder) in enumerate(encoders.items()):
        sizes = {"longest": int(longest[f])} if isinstance(encoder, Bag) else {}
        fitted[name] = encoder.fit(counters[f].counts(), **sizes)
    return fitted


def _uses(at: Int[np.ndarray, " B"], common: Common) -> Int[np.ndarray, " C"]:
    """How often each line of `common` is named."""
    return np.bincount(at % len(common), minlength=len(common))


def encode(fitted: Mapping[str, Encoder], rows: Impressions) -> dict[str, Encoded]:
    """The slots of each field: as `encoders.encode` would give them for joined rows."""
    rows.common.encode(fitted)
    encoded = {}
    for f, (name, encoder) in enumerate(fitted.items()):
        bag = isinstance(encoder, Bag)
        slots, weighted = (encoder.slots, bool(encoder.weights)) if bag else (1, False)
        ids = vocabulary(encoder).rows_of(rows.own[f].ids)
        own, at = rows.split(f, dataclasses.replace(rows.own[f], ids=ids))
        if at is None:
            ids, weights = own.padded(slots, weighted)
        else:
            lines, where = rows.lines if at is rows.at else np.unique(at, return_inverse=True)
            ids, weights = rows.common.features[f].take(lines).padded(slots, weighted)
            ids, weights = ids[where], weights[where] if weighted else None
            some = own.lengths > 0
            if some.any():
                ids[some], found = own.take(some).padded(slots, weighted)
                if weighted:
                    weights[some] = found
        cut = int(np.maximum(rows.sizes(f) - slots, 0).sum())
        encoded[name] = Encoded(ids if bag else np.maximum(ids, 0), weights, cut)
    return encoded

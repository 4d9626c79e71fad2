"""What is fitted on train: vocabularies, buckets, bins, scales, and how long lists are.

`count_unit` leaves counts of a unit's values in the database, `fit` makes of them what `encode`
reads. Whatever depends on sums of floats is added unit by unit, in their order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import encode, keys, vocabulary
from dtn_jax.data.encode import Fitted, vectors
from dtn_jax.data.quantiles import QuantileBuckets, quantiles, standardised_edges
from dtn_jax.data.rows import BESIDE, EVENT, VALUE, Rows, Values, kept, lengths
from dtn_jax.data.schemas.spec import FieldSpec, Spec
from dtn_jax.data.stages.split import TRAIN, SplitRows
from dtn_jax.data.stages.work import Work
from dtn_jax.field import SEVERAL
from dtn_jax.shapes import Float64

MOST_NUMBERS = 1_000_000  # different numbers that are looked at; of more, neighbours are merged


def tables(spec: Spec) -> list[str]:
    """The tables that have a vocabulary."""
    return list(dict.fromkeys(f.table for f in spec.fields if f.encoder == "vocabulary"))


def counted_numbers(spec: Spec) -> list[str]:
    """The fields whose numbers are counted."""
    return [f.name for f in spec.fields if f.encoder == "buckets" or f.bins]


@dataclasses.dataclass
class Moments:
    """Count, mean and sum of squared deviations of numbers, or of each place of a vector.

    Parts are joined as Chan, Golub and LeVeque (1979) do, so that nothing cancels.
    """

    count: int = 0
    mean: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0

    def add(self, numbers: Float64[np.ndarray, "B ..."]) -> None:
        if len(numbers):
            mean = numbers.mean(axis=0)
            self.include(Moments(len(numbers), mean, ((numbers - mean) ** 2).sum(axis=0)))

    def include(self, other: Moments) -> None:
        """Adds the moments of numbers that follow."""
        if not other.count:
            return
        total = self.count + other.count
        apart = other.mean - self.mean
        self.squares = self.squares + other.squares + apart**2 * (self.count * other.count / total)
        self.mean = self.mean + apart * (other.count / total)
        self.count = total

    def to_json(self) -> list:
        return [self.count, np.asarray(self.mean).tolist(), np.asarray(self.squares).tolist()]

    @classmethod
    def from_json(cls, facts: list) -> Moments:
        count, *rest = facts
        mean, squares = (np.asarray(part, np.float64) for part in rest)
        return cls(count, mean, squares)


class Counts:
    """The statistics of a unit's train rows.

    Attributes:
      longest: {bag: the most values that it keeps of a row}.
      moments: of standardised numbers and vectors.
    """

    def __init__(self, spec: Spec):
        self.specs = {field.name: field for field in spec.fields}
        self.ids = {table: [] for table in tables(spec)}
        self.numbers = {name: [] for name in counted_numbers(spec)}
        standard = [f.name for f in spec.fields if f.encoder == "standardise"]
        self.moments = {name: Moments() for name in standard}
        self.longest = {f.name: 0 for f in spec.fields if f.kind in SEVERAL}

    def add(self, split: SplitRows) -> None:
        """Counts the train rows of a chunk, whose crosses and histories have columns."""
        rows = split.rows.take(split.split == TRAIN)
        if not len(rows):
            return
        for name, spec in self.specs.items():
            column = rows.column(VALUE + name)
            if spec.kind in SEVERAL:
                longest = int(np.minimum(lengths(column), spec.max_values).max())
                self.longest[name] = max(self.longest[name], longest)
                column = kept(column, spec.max_values, spec.keep == "last")
            if spec.encoder == "vocabulary":
                self._ids(spec, rows, column)
            elif spec.kind == "vector":
                if name in self.moments:
                    self.moments[name].add(vectors(column, spec.length))
            elif spec.kind == "numeric":
                known = column.drop_null().to_numpy(zero_copy_only=False)
                if name in self.moments:
                    self.moments[name].add(known)
                if name in self.numbers:
                    self.numbers[name].append(np.unique(known, return_counts=True))

    def _ids(self, spec: FieldSpec, rows: Rows, column: pa.Array) -> None:
        """Counts a field's values. Those of a history are rows of the log: its events count, or of
        a companion what stands beside them."""
        if spec.history is not None and not spec.gap:
            if not spec.beside:
                return  # its target counts them
            column = rows.column(BESIDE + spec.name)
            event = rows.numbers(EVENT + spec.beside)
            values = Values.of(column)
            counts = values.counts(event)
        else:
            values = Values.of(column)
            counts = values.counts()
        made = values.known(spec.unknown)
        there = (made != keys.MISSING) & (counts > 0)
        texts = pl.from_arrow(values.different)
        if spec.cross:
            texts = pl.repeat("", len(texts), dtype=pl.String, eager=True)
        elif texts.dtype.is_integer():
            texts = pl.repeat(None, len(texts), dtype=pl.String, eager=True)
        columns = [made[there], counts[there], texts.cast(pl.String).filter(pl.Series(there))]
        self.ids[spec.table].append(columns)

    def result(self) -> tuple[dict, dict[str, pa.Table]]:
        """The facts, and the rows of the database's tables."""
        added = {}
        for n, parts in enumerate(self.ids.values()):
            made = [p[0] for p in parts] or [np.empty(0, np.uint64)]
            counts = [p[1] for p in parts] or [np.empty(0, np.int64)]
            texts = pl.concat([p[2] for p in parts] or [pl.Series([], dtype=pl.String)])
            columns = [np.concatenate(made), np.concatenate(counts), texts.to_arrow()]
            added[ids_table(n)] = pa.table(columns, names=["key", "n", "value"])
        for n, parts in enumerate(self.numbers.values()):
            values = np.concatenate([p[0] for p in parts] or [np.empty(0)])
            counts = np.concatenate([p[1] for p in parts] or [np.empty(0, np.int64)])
            added[numbers_table(n)] = pa.table([values, counts], names=["value", "n"])
        moments = {name: found.to_json() for name, found in self.moments.items()}
        return {"longest": self.longest, "moments": moments}, added


def ids_table(n: int) -> str:
    """The database's table of counts of the n-th of `tables`."""
    return f"ids_{n}"


def numbers_table(n: int) -> str:
    """The same of the n-th of `counted_numbers`."""
    return f"numbers_{n}"


def fit(work: Work, facts: Sequence[Mapping]) -> dict[str, dict]:
    """Writes the vocabularies, and returns what `Fitted.to_json` gives of each field.

    Args:
      work: its values are counted.
      facts: of each unit, as of `Counts`.

    Returns:
      `encoders`, and `ids`, of each table the facts of a set that extends another.
    """
    spec, folder = work.spec, work.folder / vocabulary.FOLDER
    folder.mkdir(exist_ok=True)
    older = work.extends and work.extends / vocabulary.FOLDER
    names = tables(spec)
    ids = {}
    for n, table in enumerate(work.bars.count(names, "vocabularies", len(names), lambda _: 1)):
        least = next(f.min_count for f in spec.fields if f.table == table)
        shown = f"HAVING sum(n) >= {1 if older else least}"  # of known ids all, to count them
        counts = f"""SELECT key, CAST(sum(n) AS BIGINT) AS n, min(value) AS value
          FROM {ids_table(n)} GROUP BY key {shown}"""
        counts = work.relation(ids_table(n), counts)
        ids[table] = vocabulary.write(work.database, counts, table, least, folder, older or None)
    known = encode.load({f.name: f for f in spec.fields}, work.extends) if work.extends else {}
    merged = _merged(facts)
    made = {}
    for field in spec.fields:
        rows = ids[field.table]["rows"] if field.encoder == "vocabulary" else 0
        if known:
            made[field.name] = _extended(known[field.name], rows, merged)
        else:
            made[field.name] = _fitted(work, field, rows, merged)
    return {"encoders": {name: found.to_json() for name, found in made.items()}, "ids": ids}


@dataclasses.dataclass
class Merged:
    """What the units tell: the longest lists, and moments."""

    longest: dict[str, int]
    moments: dict[str, Moments]


def _merged(facts: Sequence[Mapping]) -> Merged:
    made = Merged({}, {})
    for unit in facts:
        for name, longest in unit["longest"].items():
            made.longest[name] = max(made.longest.get(name, 0), longest)
        for name, moments in unit["moments"].items():
            made.moments.setdefault(name, Moments()).include(Moments.from_json(moments))
    return made


def _fitted(work: Work, spec: FieldSpec, rows: int, merged: Merged) -> Fitted:
    slots, more = 1, {}
    if spec.size:
        rows, slots = 1 + spec.size, spec.functions
    elif spec.encoder != "vocabulary":
        rows = 2
    if spec.kind in SEVERAL:
        slots *= max(1, merged.longest[spec.beside or spec.name])
    if spec.encoder == "buckets":
        more["buckets"] = QuantileBuckets(spec.buckets).fit(*_numbers(work, spec.name))
        rows = more["buckets"].rows
    if spec.encoder == "standardise":
        more["mean"], more["deviation"] = _scale(merged.moments[spec.name], spec.length)
    if spec.bins:
        found = quantiles(*_numbers(work, spec.name), spec.bins)
        more["edges"] = standardised_edges(found, float(more["mean"]), float(more["deviation"]))
    return Fitted(spec, rows, slots, **more)


def _extended(known: Fitted, rows: int, merged: Merged) -> Fitted:
    """The same buckets, bins, scales and hash functions; more rows of a vocabulary, more slots."""
    spec, slots = known.spec, known.slots
    if spec.kind in SEVERAL:
        slots = max(slots, spec.functions * merged.longest[spec.beside or spec.name])
    return dataclasses.replace(known, rows=rows or known.rows, slots=slots)


def _numbers(work: Work, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers of a field, ascending, and their counts.

    Of more than MOST_NUMBERS, neighbours are merged into one each, the most frequent of them (of
    equals the smallest): so a dominating number stays what it is.
    """
    table = numbers_table(counted_numbers(work.spec).index(name))
    query = f"SELECT value, CAST(sum(n) AS BIGINT) AS n FROM {table} GROUP BY value"
    query = work.relation(table, query)
    (count,) = work.database.execute(f"SELECT count(*) FROM {query}").fetchall()[0]
    together = -(-count // MOST_NUMBERS)
    if together > 1:
        query = f"""(SELECT -max((n, -value))[2] AS value, sum(n)::BIGINT AS n FROM (
          SELECT *, (row_number() OVER (ORDER BY value) - 1) // {together} AS part FROM {query}
        ) GROUP BY part)"""
    found = work.database.execute(f"SELECT * FROM {query} ORDER BY value").fetchnumpy()
    return np.asarray(found["value"]), np.asarray(found["n"])


def _scale(moments: Moments, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation; 1 where numbers do not differ."""
    shape = (length,) if length else ()
    if not moments.count:
        return np.zeros(shape), np.ones(shape)
    mean = np.asarray(moments.mean, np.float64)
    deviation = np.sqrt(np.asarray(moments.squares, np.float64) / moments.count)
    tiny = deviation <= 1e-9 * np.abs(mean)  # the mean's rounding would pass for a spread
    return mean, np.where(tiny | (deviation == 0), 1.0, deviation)

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
from dtn_jax.data.stages.split import TRAIN
from dtn_jax.data.stages.work import Work
from dtn_jax.field import SEVERAL
from dtn_jax.shapes import Float64, Int8

MOST_NUMBERS = 1_000_000  # different numbers that are looked at; of more, neighbours are merged
IDS = pa.schema([("key", pa.uint64()), ("n", pa.int64()), ("value", pa.large_string())])
NUMBERS = pa.schema([("value", pa.float64()), ("n", pa.int64())])
# Count, mean and sum of squared deviations of numbers, or of each place of a vector.
Moments = tuple[int, np.ndarray | float, np.ndarray | float]
NOTHING: Moments = (0, 0.0, 0.0)


def id_tables(spec: Spec) -> dict[str, str]:
    """{table with a vocabulary: the database's table of counts of its values}."""
    names = dict.fromkeys(f.table for f in spec.fields if f.encoder == "vocabulary")
    return {name: f"ids_{n}" for n, name in enumerate(names)}


def number_tables(spec: Spec) -> dict[str, str]:
    """{field: the database's table of its numbers}, of fields whose numbers are counted."""
    names = [f.name for f in spec.fields if f.encoder == "buckets" or f.bins]
    return {name: f"numbers_{n}" for n, name in enumerate(names)}


def joined(one: Moments, numbers: Float64[np.ndarray, "B ..."]) -> Moments:
    """The moments of these numbers, too."""
    if not len(numbers):
        return one
    mean = numbers.mean(axis=0)
    return added(one, (len(numbers), mean, ((numbers - mean) ** 2).sum(axis=0)))


def added(one: Moments, other: Moments) -> Moments:
    """The moments of the numbers of both, as Chan, Golub and LeVeque (1979) join them, so that
    nothing cancels."""
    if not other[0]:
        return one
    (n, mean, squares), (m, other_mean, other_squares) = one, other
    apart = other_mean - mean
    squares = squares + other_squares + apart**2 * (n * m / (n + m))
    return n + m, mean + apart * (m / (n + m)), squares


class Counts:
    """The statistics of a unit's train rows.

    Attributes:
      tables: {table of the database: rows to add to it}.
      longest: {bag: the most values that it keeps of a row}.
      moments: of standardised numbers and vectors.
    """

    def __init__(self, spec: Spec):
        self.specs = {field.name: field for field in spec.fields}
        self.ids, self.numbers = id_tables(spec), number_tables(spec)
        self.tables = {name: [IDS.empty_table()] for name in self.ids.values()}
        self.tables |= {name: [NUMBERS.empty_table()] for name in self.numbers.values()}
        self.moments = {f.name: NOTHING for f in spec.fields if f.encoder == "standardise"}
        self.longest = {f.name: 0 for f in spec.fields if f.kind in SEVERAL}

    def add(self, rows: Rows, split: Int8[np.ndarray, " B"]) -> None:
        """Counts the train rows of a chunk, whose crosses and histories have columns."""
        rows = rows.take(split == TRAIN)
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
                    known = vectors(column, spec.length)
                    self.moments[name] = joined(self.moments[name], known)
            elif spec.kind == "numeric":
                known = column.drop_null().to_numpy(zero_copy_only=False)
                if name in self.moments:
                    self.moments[name] = joined(self.moments[name], known)
                if name in self.numbers:
                    counted = [*np.unique(known, return_counts=True)]
                    self.tables[self.numbers[name]].append(pa.table(counted, schema=NUMBERS))

    def _ids(self, spec: FieldSpec, rows: Rows, column: pa.Array) -> None:
        """Counts a field's values. Those of a history are rows of the log: its events count, or of
        a companion what stands beside them."""
        event = None
        if spec.history is not None and not spec.gap:
            if not spec.beside:
                return  # its target counts them
            column, event = rows.column(BESIDE + spec.name), rows.numbers(EVENT + spec.beside)
        values = Values.of(column)
        counts, hashed = values.counts(event), values.known(spec.unknown)
        there = (hashed != keys.MISSING) & (counts > 0)
        texts = pl.from_arrow(values.different)
        if spec.cross or texts.dtype.is_integer():  # a whole number is in its key
            texts = pl.repeat("" if spec.cross else None, len(texts), dtype=pl.String, eager=True)
        texts = texts.cast(pl.String).filter(pl.Series(there)).to_arrow()
        counted = pa.table([hashed[there], counts[there], texts], schema=IDS)
        self.tables[self.ids[spec.table]].append(counted)

    def result(self) -> tuple[dict, dict[str, pa.Table]]:
        """The facts, and the rows of the database's tables."""
        moments = {
            name: [count, np.asarray(mean).tolist(), np.asarray(squares).tolist()]
            for name, (count, mean, squares) in self.moments.items()
        }
        tables = {name: pa.concat_tables(parts) for name, parts in self.tables.items()}
        return {"longest": self.longest, "moments": moments}, tables


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
    tables, ids = id_tables(spec), {}
    for table in work.bars.count(tables, "vocabularies", len(tables), lambda _: 1):
        least = next(f.min_count for f in spec.fields if f.table == table)
        shown = f"HAVING sum(n) >= {1 if older else least}"  # of known ids all, to count them
        counts = f"""SELECT key, CAST(sum(n) AS BIGINT) AS n, min(value) AS value
          FROM {tables[table]} GROUP BY key {shown}"""
        counts = work.relation(tables[table], counts)
        ids[table] = vocabulary.write(work.database, counts, table, least, folder, older or None)
    known = encode.load({f.name: f for f in spec.fields}, work.extends) if work.extends else {}
    encoders = {}
    for field in spec.fields:
        rows = ids[field.table]["rows"] if field.encoder == "vocabulary" else 0
        longest = max(unit["longest"].get(field.beside or field.name, 0) for unit in facts)
        if known:
            fitted = _extended(known[field.name], rows, longest)
        else:
            fitted = _fitted(work, field, rows, longest, facts)
        encoders[field.name] = fitted.to_json()
    return {"encoders": encoders, "ids": ids}


def _fitted(
    work: Work, spec: FieldSpec, rows: int, longest: int, facts: Sequence[Mapping]
) -> Fitted:
    slots, more = 1, {}
    if spec.size:
        rows, slots = 1 + spec.size, spec.functions
    elif spec.encoder != "vocabulary":
        rows = 2
    if spec.kind in SEVERAL:
        slots *= max(1, longest)
    if spec.encoder == "buckets":
        more["buckets"] = QuantileBuckets(spec.buckets).fit(*_numbers(work, spec.name))
        rows = more["buckets"].rows
    if spec.encoder == "standardise":
        more["mean"], more["deviation"] = _scale(spec, facts)
    if spec.bins:
        edges = quantiles(*_numbers(work, spec.name), spec.bins)
        more["edges"] = standardised_edges(edges, float(more["mean"]), float(more["deviation"]))
    return Fitted(spec, rows, slots, **more)


def _extended(known: Fitted, rows: int, longest: int) -> Fitted:
    """The same buckets, bins, scales and hash functions; more rows of a vocabulary, more slots."""
    spec, slots = known.spec, known.slots
    if spec.kind in SEVERAL:
        slots = max(slots, spec.functions * longest)
    return dataclasses.replace(known, rows=rows or known.rows, slots=slots)


def _numbers(work: Work, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers of a field, ascending, and their counts.

    Of more than MOST_NUMBERS, neighbours are merged into one each, the most frequent of them (of
    equals the smallest): so a dominating number stays what it is.
    """
    table = number_tables(work.spec)[name]
    query = f"SELECT value, CAST(sum(n) AS BIGINT) AS n FROM {table} GROUP BY value"
    query = work.relation(table, query)
    (count,) = work.database.execute(f"SELECT count(*) FROM {query}").fetchall()[0]
    together = -(-count // MOST_NUMBERS)
    if together > 1:
        query = f"""(SELECT -max((n, -value))[2] AS value, sum(n)::BIGINT AS n FROM (
          SELECT *, (row_number() OVER (ORDER BY value) - 1) // {together} AS part FROM {query}
        ) GROUP BY part)"""
    numbers = work.database.execute(f"SELECT * FROM {query} ORDER BY value").fetchnumpy()
    return np.asarray(numbers["value"]), np.asarray(numbers["n"])


def _scale(spec: FieldSpec, facts: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation; 1 where numbers do not differ."""
    count, mean, squares = NOTHING
    for unit in facts:
        n, *rest = unit["moments"][spec.name]
        count, mean, squares = added((count, mean, squares), (n, *map(np.asarray, rest)))
    shape = (spec.length,) if spec.length else ()
    if not count:
        return np.zeros(shape), np.ones(shape)
    deviation = np.sqrt(np.asarray(squares, np.float64) / count)
    tiny = deviation <= 1e-9 * np.abs(mean)  # the mean's rounding would pass for a spread
    return np.asarray(mean), np.where(tiny | (deviation == 0), 1.0, deviation)

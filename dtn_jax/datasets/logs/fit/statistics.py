"""What encoders are fitted from: counts and moments of train's values, in parts that merge.

Each unit of a log leaves its part in files; sums of parts do not depend on who made them.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.shapes import Float64, Int64, UInt64

HELD = 2_000_000  # numbers of a field that a unit holds before it sums them up
MOST_NUMBERS = 100_000  # distinct numbers of a unit; beyond, neighbours are merged
NEIGHBOURS = 10  # that are merged
KEYS = pa.schema([("key", pa.uint64()), ("count", pa.int64()), ("value", pa.large_string())])


@dataclasses.dataclass
class KeyCounts:
    """How often each key occurs, and the text of one of its values.

    Attributes:
      parts: not yet summed up: keys, counts, texts.
      held: the number of keys in them; fit_unit bounds the sum over tables by its `most_held`.
    """

    parts: list[tuple[np.ndarray, np.ndarray, pl.Series]] = dataclasses.field(default_factory=list)
    held: int = 0

    def add(self, made: UInt64[np.ndarray, " B"], values: pl.Series | None) -> None:
        """Counts values by their keys; without `values` (a cross has none) the texts are empty.

        The text of a whole number is null: its key says it (keys.numbers_of).
        """
        if values is not None and not values.dtype.is_integer():
            unique, first, counts = np.unique(made, return_index=True, return_counts=True)
            texts = values.gather(first).cast(pl.String)
        else:
            unique, counts = np.unique(made, return_counts=True)
            text = "" if values is None else None
            texts = pl.repeat(text, len(unique), dtype=pl.String, eager=True)
        self.parts.append((unique, counts.astype(np.int64), texts))
        self.held += len(unique)

    def summed(self) -> tuple[UInt64[np.ndarray, " K"], Int64[np.ndarray, " K"], pl.Series]:
        """The keys, ascending, their counts, and the text of each one's first value."""
        if not self.parts:
            nothing = pl.Series([], dtype=pl.String)
            return np.empty(0, np.uint64), np.empty(0, np.int64), nothing
        if len(self.parts) > 1:
            every = [np.concatenate([part[i] for part in self.parts]) for i in range(2)]
            texts = pl.concat([part[2] for part in self.parts])
            order = np.argsort(every[0], kind="stable")
            sorted_keys = every[0][order]
            begins = np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1]))
            counts = np.add.reduceat(every[1][order], begins)
            self.parts = [(sorted_keys[begins], counts, texts.gather(order[begins]))]
            self.held = len(begins)
        return self.parts[0]

    def save(self, path: pathlib.Path) -> None:
        made, counts, texts = self.summed()
        table = pa.table([made, counts, texts.to_arrow().cast("large_string")], schema=KEYS)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, KEYS) as writer:
            writer.write_table(table)


@dataclasses.dataclass
class NumberCounts:
    """How often each number occurs. Beyond MOST_NUMBERS different ones, neighbours are merged.

    Attributes:
      parts: not yet summed up: numbers and counts.
      held: how many numbers are in them.
    """

    parts: list[tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=list)
    held: int = 0

    def add(self, numbers: Float64[np.ndarray, " B"]) -> None:
        self.parts.append((numbers, np.ones(len(numbers), np.int64)))
        self.held += len(numbers)
        if self.held > HELD:
            self.summed()

    def include(self, numbers: np.ndarray, counts: np.ndarray) -> None:
        """Adds the counts of another part, which follows."""
        self.parts.append((numbers, counts))
        self.held += len(numbers)
        if self.held > HELD:
            self.summed()

    def summed(self) -> tuple[Float64[np.ndarray, " K"], Int64[np.ndarray, " K"]]:
        """The numbers, ascending, and their counts."""
        if not self.parts:
            return np.empty(0), np.empty(0, np.int64)
        numbers, counts = (np.concatenate([part[i] for part in self.parts]) for i in range(2))
        order = np.argsort(numbers, kind="stable")
        numbers, counts = numbers[order], counts[order]
        begins = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
        if len(numbers):
            numbers, counts = numbers[begins], np.add.reduceat(counts, begins)
        while len(numbers) > MOST_NUMBERS:
            numbers, counts = thinned(numbers, counts)
        self.parts, self.held = [(numbers, counts)], len(numbers)
        return numbers, counts


def thinned(
    numbers: Float64[np.ndarray, " K"], counts: Int64[np.ndarray, " K"]
) -> tuple[np.ndarray, np.ndarray]:
    """Merges NEIGHBOURS numbers into one each, the most frequent of them (of equals the first).

    So a dominating number stays what it is.
    """
    groups = -(-len(numbers) // NEIGHBOURS)
    padding = groups * NEIGHBOURS - len(numbers)
    by_group = np.pad(counts, (0, padding)).reshape(groups, NEIGHBOURS)
    most = by_group.argmax(axis=1) + np.arange(groups) * NEIGHBOURS
    return numbers[most], by_group.sum(axis=1)


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

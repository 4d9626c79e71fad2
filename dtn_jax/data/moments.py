"""Means and deviations of train's numbers, in parts that merge in their order."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtn_jax.shapes import Float64


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

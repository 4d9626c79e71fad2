"""Batches of a few sizes, sent to the device, so that few programs are compiled."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator

import jax
import numpy as np

from dtn_jax.export.compiled import Program
from dtn_jax.export.encoded import NOT_FINITE, Encoded
from dtn_jax.export.weights_file import Weights, padded
from dtn_jax.shapes import Float32, Int32

LEAST = 8  # rows of a batch
LARGEST = {"cpu": 1024, "gpu": 8192, "tpu": 8192}  # beyond, a CPU's caches don't hold a batch
IN_FLIGHT = 4  # batches that wait on the device at most


@dataclasses.dataclass(frozen=True)
class Batches:
    """How rows reach the program.

    Attributes:
      program: arrays to logits.
      weights: of the program.
      offsets: per view and slot the first row of its table, `[views, L]`.
      least, largest: rows of a batch that is compiled, powers of two.
    """

    program: Program
    weights: Weights
    offsets: Int32[np.ndarray, "views L"]
    least: int = LEAST
    largest: int = LARGEST["cpu"]

    def size(self, rows: int) -> int:
        """The rows of the batch in which so many are sent."""
        return min(padded(rows, self.least), self.largest)

    def logits(self, pieces: Iterator[Encoded]) -> Iterator[Float32[np.ndarray, "B T"]]:
        """Of each piece; the device works on the next one while the caller has one.

        A row whose logits are not finite is bad from here on; bad rows have NaN.
        """
        waiting: collections.deque = collections.deque()
        for encoded in pieces:
            waiting.append((encoded, self._start(encoded)))
            if len(waiting) > 1:
                yield self._finish(*waiting.popleft())
        while waiting:
            yield self._finish(*waiting.popleft())

    def _start(self, encoded: Encoded) -> list[tuple[slice, jax.Array]]:
        """Sends a piece, of which a few batches wait at most."""
        started = []
        for start in range(0, len(encoded), self.largest):
            at = slice(start, min(start + self.largest, len(encoded)))
            if len(started) >= IN_FLIGHT:
                started[-IN_FLIGHT][1].block_until_ready()
            started.append((at, self._call(encoded, at)))
        return started

    def _finish(
        self, encoded: Encoded, started: list[tuple[slice, jax.Array]]
    ) -> Float32[np.ndarray, "B T"]:
        found = np.empty((len(encoded), self.program.tasks), np.float32)
        for at, logits in started:
            found[at] = np.asarray(logits)[: at.stop - at.start]
        encoded.rejected(np.isfinite(found).all(axis=1), NOT_FINITE)
        found[~encoded.good] = np.nan
        return found

    def _call(self, encoded: Encoded, at: slice) -> jax.Array:
        count = at.stop - at.start
        size = self.size(count)

        def pad(array: np.ndarray, fill: int) -> np.ndarray:
            beyond = ((0, size - count), (0, 0))
            return array[at] if count == size else np.pad(array[at], beyond, constant_values=fill)

        ids = pad(encoded.ids, -1)
        known = (ids >= 0)[:, None]
        rows = np.where(known, ids[:, None] + self.offsets, np.int32(self.weights.rows))
        weights, rows = self.weights.of(rows)
        inputs = {"ids": ids, "rows": rows}
        inputs |= {"weights": pad(encoded.weights, 0), "numeric": pad(encoded.numeric, 0)}
        return self.program.call(weights, inputs)

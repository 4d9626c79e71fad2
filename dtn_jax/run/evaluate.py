"""Scores of a split, and the metrics of every task in every space."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from dtn_jax.data.epochs.batches import prefetched
from dtn_jax.data.epochs.day_order import DayRows
from dtn_jax.data.prepared import Prepared
from dtn_jax.interface import Batch
from dtn_jax.metrics import Value, measure
from dtn_jax.metrics.scores import Scores
from dtn_jax.options import option
from dtn_jax.parallel import processes
from dtn_jax.schema import Schema
from dtn_jax.shapes import Int

MOST_BINS = 1_000_000  # more than one a row say nothing
IN_FLIGHT = 4  # batches on the device at most: their memory is bounded, and it never waits


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Section `evaluate`."""

    sample_weights: bool = option(
        True,
        "where the schema has `weight`, rows count by it in metrics, and so in the choice of the "
        "best state, in calibration and in importance",
    )
    ece_bins: int = option(
        15, "equally filled bins of the expected calibration error", least=1, most=MOST_BINS
    )


def read_groups(
    data: Prepared, split: str, day: DayRows | None = None
) -> Int[np.ndarray, " B"] | None:
    """The groups of a split's rows, or of a day's; None where the set has none.

    Each process reads a part: for a day, of all rows between its first and its last one.
    """
    if not data.schema.group:
        return None
    if day is None:
        return processes.read_by_all(functools.partial(data.groups, split), data.rows[split])
    numbers = day.numbers(0, len(day))
    first, last = int(numbers[0]), int(numbers[-1])

    def between(part: slice) -> np.ndarray:
        return data.groups(split, slice(first + part.start, first + part.stop))

    return processes.read_by_all(between, last - first + 1)[numbers - first]


def with_logits(
    batches: Iterator[Batch], call: Callable[[Batch], jax.Array]
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Batches, each with its logits, float32 `[B, T]`, by `call`.

    The next batch is read while the device works on the last ones, of which only a few wait there.
    """
    waiting: collections.deque[tuple[Batch, jax.Array]] = collections.deque()

    def first() -> tuple[Batch, np.ndarray]:
        batch, logits = waiting.popleft()
        done = jax.block_until_ready(logits)  # raises where memory ran out
        return batch, np.asarray(done, np.float32)

    with contextlib.closing(prefetched(batches)) as ahead:
        for batch in ahead:
            waiting.append((batch, call(batch)))
            if len(waiting) == IN_FLIGHT:
                yield first()
        while waiting:
            yield first()


def evaluate(
    scores: Scores, schema: Schema, bins: int, weighted: bool
) -> dict[str, dict[str, Value]]:
    """{task@space: {metric: value}} by `metrics.METRICS`; a metric that is not defined is None.

    Args:
      scores: of one split.
      schema: gives the tasks and their spaces.
      bins: of the expected calibration error.
      weighted: whether sample weights count.
    """
    return {
        f"{task.name}@{space}": measure(
            scores.metric_rows(task.name, space, schema, bins, weighted)
        )
        for task in schema.tasks
        for space in task.spaces
    }

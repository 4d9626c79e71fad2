"""Scores of a split, and the metrics of every task in every space."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from dtn_jax.data.epochs.batches import prefetched
from dtn_jax.interface import Batch
from dtn_jax.metrics import Value, measure
from dtn_jax.metrics.scores import Scores
from dtn_jax.options import option
from dtn_jax.parallel import processes
from dtn_jax.schema import Schema

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


def scored(batches: Iterator[Batch], rows: int, call: Callable[[Batch], jax.Array]) -> Scores:
    """The scores of a split.

    The next batch is read while the device works on the last ones, of which only a few wait there.

    Args:
      batches: of the split, each process's part of them.
      rows: how many there are, without those that pad the last batch.
      call: gives the logits of a whole batch, `[B, T]`, of one without groups.
    """
    waiting: collections.deque[jax.Array] = collections.deque()
    logits, parts = [], []

    def take() -> None:
        done = jax.block_until_ready(waiting.popleft())  # raises where memory ran out
        logits.append(np.asarray(done, np.float32))

    with contextlib.closing(prefetched(batches)) as ahead:
        for batch in ahead:
            waiting.append(call(batch.replace(group=None)))
            parts.append((batch.labels, batch.label_mask, batch.sample_weight, batch.group))
            if len(waiting) == IN_FLIGHT:
                take()
        while waiting:
            take()

    def joined(of_batches: Sequence[np.ndarray | None]) -> np.ndarray | None:
        if of_batches[0] is None:
            return None
        return np.concatenate(list(processes.all_parts(np.stack(of_batches))))[:rows]

    labels, label_mask, weight, group = map(joined, zip(*parts))
    group = None if group is None else np.ascontiguousarray(group).view(np.int64)[:, 0]
    return Scores(np.concatenate(logits)[:rows], labels, label_mask, weight, group)


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

"""Scores of a split, and the metrics of every task in every space."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.data.epochs.batches import prefetched
from dtn_jax.data.epochs.day_order import DayRows
from dtn_jax.data.prepared import Prepared
from dtn_jax.files import reading, replacing
from dtn_jax.interface import Batch
from dtn_jax.metrics import Value, measure
from dtn_jax.metrics.calibration import CalibrationCurve, calibration_curve
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.options import option
from dtn_jax.parallel import processes
from dtn_jax.run.outcome import AGAIN
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


def calibration(
    scores: Scores, schema: Schema, bins: int, weighted: bool
) -> dict[str, CalibrationCurve | None]:
    """{task@space: CalibrationCurve} of the binary tasks in all their spaces."""
    curves = {}
    for task in schema.tasks:
        for space in task.spaces if task.kind == "binary" else ():
            logits, labels, weights, _ = scores.of(task.name, space, schema)
            curves[f"{task.name}@{space}"] = calibration_curve(
                sigmoid(logits), labels, bins, weights if weighted else None
            )
    return curves


def write_predictions(path: pathlib.Path, scores: Scores, schema: Schema) -> None:
    """A row an example: `row`, `sample_weight`, and per task `score/`, `logit/` and `label/`.

    Scores are probabilities (a regression's are in its label's unit); a missing label is null.
    Where the data set has groups, a row's is in `group`, as stored.
    """
    columns = {"row": pa.array(np.arange(len(scores.logits)))}
    columns["sample_weight"] = pa.array(scores.sample_weight)
    if scores.group is not None:
        columns["group"] = pa.array(scores.group)
    for i, task in enumerate(schema.tasks):
        logits = scores.logits[:, i]
        if task.kind == "binary":
            columns[f"score/{task.name}"] = pa.array(sigmoid(logits))
            columns[f"logit/{task.name}"] = pa.array(logits)
        else:
            columns[f"score/{task.name}"] = pa.array(logits)
        missing = ~scores.label_mask[:, i]
        columns[f"label/{task.name}"] = pa.array(scores.labels[:, i], mask=missing)
    with replacing(path) as temporary:
        table = pa.table(columns)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_predictions(path: pathlib.Path, schema: Schema) -> Scores:
    """The scores that `write_predictions` wrote.

    Raises:
      UserError: the file is missing or damaged.
    """
    with reading(path, AGAIN):
        table = pq.read_table(path, page_checksum_verification=True)

        def matrix(columns):
            return np.stack([table[c].to_numpy().astype(np.float32) for c in columns], axis=1)

        kinds = ["logit/" if task.kind == "binary" else "score/" for task in schema.tasks]
        labels = matrix([f"label/{task.name}" for task in schema.tasks])
        return Scores(
            logits=matrix([kind + task.name for kind, task in zip(kinds, schema.tasks)]),
            labels=np.nan_to_num(labels),
            label_mask=~np.isnan(labels),
            sample_weight=table["sample_weight"].to_numpy().astype(np.float32),
            group=table["group"].to_numpy() if "group" in table.column_names else None,
        )

"""What all runs on a data set share, and a set that stands in for a larger one.

Metrics and draws are timed on scores of validation, repeated. On a CPU a time is what this process
has kept cores busy where that is less than the clock's: so other work on the machine hardly counts.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np

from dtn_jax.data.epochs.streamed import EpochReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.evaluate import write_predictions
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.significance import DRAWS, resampled_aucs
from dtn_jax.papertables.protocol import FullSize
from dtn_jax.run import Run, measure
from dtn_jax.shapes import Float64

SECONDS = 2.0  # that a part is measured for, about
JUDGED = 1_000_000  # rows whose metrics are timed: so many that they do not fit a cache
FEW, MORE = 2, 12  # draws that are timed


@dataclasses.dataclass(frozen=True)
class SetCost:
    """What all runs on a data set share: seconds and bytes of an example.

    Attributes:
      read: seconds to read an example of train from disk.
      judged: seconds of all its metrics.
      drawn: seconds of its part in a table's draws of test examples, all of them together.
      prepared, predicted: bytes on disk, of the prepared set and of a run's predictions.
    """

    read: float
    judged: float
    drawn: float
    prepared: float
    predicted: float


def as_large(data: Prepared, full: FullSize | None) -> Prepared:
    """The set as it is at its full size, with the held-out share of train that this one has; itself
    where it is no smaller. Its rows cannot be read."""
    own = data.rows["train"] + data.rows["validation"]
    if full is None or full.rows["train"] <= own:
        return data
    kept = round(full.rows["train"] * data.rows["train"] / own)
    rows = {"train": kept, "validation": full.rows["train"] - kept, "test": full.rows["test"]}
    fields = tuple(
        dataclasses.replace(f, rows=max(f.rows, full.ids.get(f.name, 0) + 1))
        for f in data.schema.fields
    )
    schema = dataclasses.replace(data.schema, fields=fields)
    return dataclasses.replace(data, rows=rows, schema=schema)


def measure_set(run: Run, data: Prepared, scores: Scores, folder: pathlib.Path) -> SetCost:
    """What all runs share; `scores` are of some rows of the set."""
    scores = repeated(scores, JUDGED)
    count = len(scores.logits)
    judged = timed(lambda: measure(run, scores))
    weighted = run.config.evaluate.sample_weights
    few, more = (
        timed(lambda n=n: resampled_aucs(scores, data.schema, weighted, n)) for n in (FEW, MORE)
    )
    drawn = max(more - few, 0.0) / (MORE - FEW) * DRAWS
    with tempfile.TemporaryDirectory(dir=folder) as place:
        write_predictions(pathlib.Path(place) / "predictions.parquet", scores, data.schema)
        predicted = bytes_in(pathlib.Path(place))
    return SetCost(
        read=read(run, data),
        judged=judged / count,
        drawn=drawn / count,
        prepared=bytes_in(data.folder) / sum(data.rows.values()),
        predicted=predicted / count,
    )


def repeated(scores: Scores, rows: int) -> Scores:
    """So many rows: these again and again, each time with other scores and other groups."""
    times = -(-rows // len(scores.logits))
    draw = np.random.default_rng(0).normal

    def again(array):
        return np.concatenate([array] * times)[:rows]

    group = scores.group
    if group is not None:
        group = np.unique(group, return_inverse=True)[1]
        group = np.concatenate([group + i * (group.max() + 1) for i in range(times)])[:rows]
    return Scores(
        logits=draw(size=(rows, scores.logits.shape[1])).astype(np.float32),
        labels=again(scores.labels),
        label_mask=again(scores.label_mask),
        sample_weight=again(scores.sample_weight),
        group=group,
    )


def read(run: Run, data: Prepared) -> float:
    """The time to read an example of train, shuffled and in batches."""
    size, rows, start = run.config.data.batch_size, 0, now()
    for window in EpochReader(data, "train", 1, run.grouped).steps(0, 0, 0, size):
        rows += len(window.ids) * size
        if since(start) > SECONDS:
            break
    return since(start) / rows


def now() -> Float64[np.ndarray, " 2"]:
    """The clock, and how long this process has kept cores busy, all together."""
    return np.array([time.perf_counter(), time.process_time()])


def since(start: Float64[np.ndarray, " 2"]) -> float:
    """Seconds since a `now()`; on a CPU no more than one busy core would have taken."""
    clock, busy = now() - start
    return float(min(clock, busy) if jax.default_backend() == "cpu" else clock)


def timed(work: Callable[[], object]) -> float:
    start = now()
    work()
    return since(start)


def bytes_in(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

"""The quantiles of train's labels by the id of a field, for the losses that need them.

They are found when a run is built, from the rows on which the task's loss is taken, and stand in
the run's schema: so training, evaluation and an exported model have the same ones. Every process
reads the same rows. A run that starts from another one finds those of its own train rows.

Letters: N rows, G ids, Q quantiles.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float, Float32, Int32

MOST_ROWS = 2_000_000  # in whole blocks, drawn at random; 20,000 a group where there are 100
DRAWN = 21  # seeds the draw
PART = 64  # blocks read at a time

Labels = tuple[Int32[np.ndarray, " N"], Float32[np.ndarray, " N"], Float32[np.ndarray, " N"]]


def with_label_quantiles(
    schema: Schema, loss: ConfigDict | FrozenConfigDict, data: Prepared
) -> Schema:
    """The same schema; tasks whose loss has `points` have their labels' quantiles in train.

    Args:
      schema: of the run.
      loss: that section of the config; with `sample_weights`, rows count as the loss counts them.
      data: the set. Of more than MOST_ROWS train rows, a fixed draw of blocks is read.

    Raises:
      UserError: as `read_losses`; or train has no label of such a task.
    """
    reading = [task_loss for task_loss in read_losses(loss, schema) if task_loss.slot is not None]
    needing = [task_loss for task_loss in reading if hasattr(task_loss.loss, "points")]
    if not needing:
        return schema
    labels_of = _read(needing, schema, loss.sample_weights, data)
    tables = {}
    for task_loss in needing:
        ids, labels, weights = labels_of[task_loss.task]
        if not len(labels):
            raise UserError(
                f"train has no label of {task_loss.task!r}, whose loss needs its quantiles"
            )
        rows = schema.slot_fields()[task_loss.slot].rows
        table = quantiles_by_id(ids, labels, weights, rows, task_loss.loss.quantiles)
        tables[task_loss.task] = tuple(map(tuple, table.tolist()))
    tasks = [dataclasses.replace(t, quantiles=tables.get(t.name, ())) for t in schema.tasks]
    return dataclasses.replace(schema, tasks=tuple(tasks))


def quantiles_by_id(
    ids: Int32[np.ndarray, " N"],
    labels: Float32[np.ndarray, " N"],
    weights: Float32[np.ndarray, " N"],
    rows: int,
    quantiles: int,
) -> Float[np.ndarray, "G Q"]:
    """Of each id from 0 to G - 1 the Q quantiles, evenly spaced from the least label to the
    largest; each is a label. Ids with fewer labels than Q have those of all labels.

    Args:
      ids: of each label.
      labels: at least one.
      weights: of each label, above 0.
      rows: G.
      quantiles: Q.
    """

    def points(of: slice | np.ndarray) -> np.ndarray:
        shares = np.linspace(0, 1, quantiles)
        used = weights[of].astype(np.float64)
        return np.quantile(labels[of], shares, weights=used, method="inverted_cdf")

    table = np.tile(points(slice(None)), (rows, 1))
    order = np.argsort(ids, kind="stable")
    ends = np.cumsum(np.bincount(ids, minlength=rows))
    for row, (start, end) in enumerate(zip([0, *ends], ends)):
        if end - start >= quantiles:
            table[row] = points(order[start:end])
    return table


def _read(
    needing: list[TaskLoss], schema: Schema, weighted: bool, data: Prepared
) -> dict[str, Labels]:
    """{task: the ids, labels and weights of the train rows that count in its loss}."""
    reader = SplitReader(data, "train")
    blocks = np.arange(len(reader.starts) - 1)
    if reader.rows > MOST_ROWS:
        most = max(MOST_ROWS // reader.layout.block_rows, 1)
        blocks = np.sort(np.random.default_rng(DRAWN).permutation(blocks)[:most])
    parts = {task_loss.task: [] for task_loss in needing}
    for at in range(0, len(blocks), PART):
        batch = reader.read(blocks[at : at + PART])
        given = batch.in_loss() if weighted else np.ones(len(batch.labels), np.float32)
        for task_loss in needing:
            mask = space_mask(
                task_loss.task, batch.labels, batch.label_mask, batch.row_mask, schema
            )
            mask = mask & (given > 0)
            label = batch.labels[:, schema.task_names.index(task_loss.task)]
            columns = (batch.ids[:, task_loss.slot], label, given)
            parts[task_loss.task].append([column[mask] for column in columns])
    return {task: tuple(map(np.concatenate, zip(*columns))) for task, columns in parts.items()}

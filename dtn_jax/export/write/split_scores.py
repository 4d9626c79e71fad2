"""Scores of a prepared split by a model's program, as its files say, with no table in memory."""

from __future__ import annotations

import pathlib
from collections.abc import Collection

import jax
import numpy as np

from dtn_jax.data.epochs.reader import in_order
from dtn_jax.evaluate import with_logits
from dtn_jax.export import model_folder
from dtn_jax.export.compiled import read_program
from dtn_jax.export.encoded import Encoded
from dtn_jax.export.weights_file import Weights, read_weights
from dtn_jax.interface import Batch
from dtn_jax.metrics.scores import Scores
from dtn_jax.run import Run
from dtn_jax.schema import Schema


def split_scores(
    folder: pathlib.Path, run: Run, split: str, fixed: Encoded | None = None
) -> Scores:
    """The logits of a model, uncalibrated, beside the labels of a split of its data.

    It needs no manifest, so that it scores a folder that is being written. A field that has a fixed
    value in the model has its own here, unless that is asked for.

    Args:
      folder: of the model.
      run: that it was made of.
      split: train, validation or test.
      fixed: one row, whose values of the fields that the model fixes take the place of every row's.
    """
    facts, schema = model_folder.read_facts(folder), model_folder.read_schema(folder)
    program = read_program(folder, {})
    stored = read_weights(folder / model_folder.WEIGHTS)
    weights = Weights({name: stored[name] for name in program.weights}, facts.rows, "disk")
    offsets, beyond = np.asarray(facts.offsets, np.int32), np.int32(facts.rows)

    def call(batch: Batch) -> jax.Array:
        ids, numeric = with_fixed(batch, fixed, schema, facts.fixed)
        rows = np.where((ids >= 0)[:, None], ids[:, None] + offsets[None], beyond)
        known, rows = weights.of(rows)
        inputs = {"ids": ids, "rows": rows, "weights": batch.weights, "numeric": numeric}
        return program.call(known, inputs)

    batches = in_order(run.data, split, run.config.data.eval_batch_size)
    labels, masks, sample_weights, logits = [], [], [], []
    for batch, found in with_logits(batches, call):
        labels.append(batch.labels)
        masks.append(batch.label_mask)
        sample_weights.append(batch.sample_weight)
        logits.append(found)
    count = run.data.rows[split]
    columns = [run.schema.task_names.index(name) for name in schema.task_names]
    return Scores(
        logits=np.concatenate(logits)[:count],
        labels=np.concatenate(labels)[:count, columns],
        label_mask=np.concatenate(masks)[:count, columns],
        sample_weight=np.concatenate(sample_weights)[:count],
        group=run.groups(split),
    )


def with_fixed(
    batch: Batch, fixed: Encoded | None, schema: Schema, names: Collection[str]
) -> tuple[np.ndarray, np.ndarray]:
    """A batch's ids and numbers; those of the named fields as the one row of `fixed` has them."""
    if fixed is None:
        return batch.ids, batch.numeric
    ids, numeric = np.array(batch.ids), np.array(batch.numeric)
    slots = np.array([field.name in names for field in schema.slot_fields()], bool)
    numbers = np.array([field.name in names for field in schema.number_fields()], bool)
    ids[:, slots], numeric[:, numbers] = fixed.ids[0, slots], fixed.numeric[0, numbers]
    return ids, numeric

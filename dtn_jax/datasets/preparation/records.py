"""From the frames that a builder reads to what a record holds: the arrays of a block of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl
import tensorflow_datasets as tfds

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.dates import day_numbers
from dtn_jax.datasets.preparation.groups import group_numbers
from dtn_jax.schema import Task


@runtime_checkable
class Frame(Protocol):
    """Rows that were read: a polars frame, or what a builder encodes in its own way."""

    def __len__(self) -> int: ...

    def __getitem__(self, name: str) -> pl.Series: ...  # labels, weight, group and day at least


Frames = Callable[[], Iterator[Frame]]  # each call reads the split anew


def features(
    rows: int,
    encoders: Sequence[enc.Encoder],
    tasks: int,
    weighted: bool,
    grouped: bool,
    dated: bool = False,
) -> tfds.features.FeaturesDict:
    """The arrays of a record of `rows` rows, as TFDS declares them; the encoders are unfitted."""
    numeric = sum(e.numbers for e in encoders if isinstance(e, enc.WITH_NUMBERS))
    bags = [e for e in encoders if isinstance(e, enc.Bag)]
    return declared(
        rows,
        tasks,
        slots=None if bags else len(encoders),  # those of bags are fitted
        weights=(None,) if any(b.weights for b in bags) else (),
        numbers=numeric,
        weighted=weighted,
        grouped=grouped,
        dated=dated,
    )


def declared(
    rows: int,
    tasks: int,
    *,
    slots: int | None,
    weights: tuple[int | None, ...],
    numbers: int,
    weighted: bool,
    grouped: bool,
    dated: bool = False,
    loss_weighted: bool = False,
) -> tfds.features.FeaturesDict:
    """The arrays of a record of `rows` rows, as TFDS declares them.

    Args:
      rows: of a record.
      tasks: T.
      slots: of a row; None where they are not known yet.
      weights: how many a row has, in the same way; () where no bag is weighted.
      numbers: of a row.
      weighted: whether rows have a sample weight.
      grouped: whether they have a group.
      dated: whether they have a day.
      loss_weighted: whether they have a factor of that weight in the loss.
    """
    shapes = {
        "ids": ((rows, slots), np.int32),
        **({"weights": ((rows, *weights), np.float32)} if weights else {}),
        "labels": ((rows, tasks), np.float32),
        "label_mask": ((rows, tasks), np.uint8),
        **({"numeric": ((rows, numbers), np.float32)} if numbers else {}),
        **({"sample_weight": ((rows,), np.float32)} if weighted else {}),
        **({"loss_weight": ((rows,), np.float32)} if loss_weighted else {}),
        **({"group": ((rows,), np.int64)} if grouped else {}),
        **({"day": ((rows,), np.int32)} if dated else {}),
    }
    encoding = tfds.features.Encoding.BYTES
    return tfds.features.FeaturesDict(
        {
            name: tfds.features.Tensor(shape=shape, dtype=dtype, encoding=encoding)
            for name, (shape, dtype) in shapes.items()
        }
    )


def arrays(
    frame: Frame,
    columns: Mapping[str, enc.Encoded],
    fitted: Mapping[str, enc.Encoder],
    tasks: Sequence[Task],
    weight: str,
    group: str,
    day: str = "",
) -> dict[str, np.ndarray]:
    """The arrays `[rows, ...]` of a frame.

    Args:
      frame: labels, weight, group, day and standardised values by name.
      columns: each field's slots.
      fitted: each field's encoder.
      tasks: the labels.
      weight, group, day: the columns stored as the example's; '' is none.
    """
    labels = [frame[t.name].cast(pl.Float32).fill_null(np.nan).to_numpy() for t in tasks]
    labels = np.stack(labels, axis=1)
    block = {
        "ids": np.concatenate([c.ids for c in columns.values()], axis=1),
        "labels": np.nan_to_num(labels, nan=0.0),
        "label_mask": (~np.isnan(labels)).astype(np.uint8),
    }
    numeric = [
        e.values(frame[n]).reshape(len(frame), e.numbers)
        for n, e in fitted.items()
        if isinstance(e, enc.WITH_NUMBERS)
    ]
    if numeric:
        block["numeric"] = np.concatenate(numeric, axis=1)
    weights = [c.weights for c in columns.values() if c.weights is not None]
    if weights:
        block["weights"] = np.concatenate(weights, axis=1)
    if weight:
        block["sample_weight"] = frame[weight].cast(pl.Float32).to_numpy()
    if group:
        block["group"] = group_numbers(frame[group])
    if day:
        block["day"] = day_numbers(frame[day])
    return block

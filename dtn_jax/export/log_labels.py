"""The labels of raw rows of your own logs, computed as `prepare` computes them.

They are written beside the scores in the columns that a run's predictions.parquet has: `label/TASK`
in the unit of the score, `group` and `sample_weight`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from dtn_jax.data import rows as names
from dtn_jax.data.encode import group_numbers
from dtn_jax.data.raw.types import Types
from dtn_jax.data.rows import Rows
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.export.encoding import Encoding
from dtn_jax.shapes import Bool

GROUP, WEIGHT = "group", "sample_weight"


def column_of(task: str) -> str:
    """The column of a task's label."""
    return f"label/{task}"


def labelled(encoding: Encoding) -> Encoding:
    """The same encoding, which reads labels, groups and weights of rows, too; a row in which
    `prepare` would reject one is bad."""
    spec = encoding.spec
    own = dataclasses.replace(
        encoding.cleaned,
        tasks=tuple(task for task in spec.tasks if task.name in encoding.schema.task_names),
        group=spec.group,
        weight=spec.weight,
        path=spec.path,
    )
    return dataclasses.replace(encoding, cleaned=own)


def types_of(spec: Spec) -> Types:
    """{column that is written: its type}."""
    types: Types = {column_of(task.name): pl.Float32() for task in spec.tasks}
    types |= {GROUP: pl.Int64()} if spec.group else {}
    return types | ({WEIGHT: pl.Float64()} if spec.weight else {})


def again(spec: Spec) -> list[str]:
    """The raw columns that are written under their own names."""
    pairs = {GROUP: spec.group, WEIGHT: spec.weight}
    return [name for name, column in pairs.items() if name == column]


def labels(spec: Spec, rows: Rows, good: Bool[np.ndarray, " B"]) -> pl.DataFrame:
    """The columns of `types_of`, `[B]`; null in bad rows, and where a label is not known.

    Args:
      spec: which labels there are.
      rows: the good ones.
      good: which rows they are.
    """
    found = {column_of(task.name): rows.numbers(names.LABEL + task.name) for task in spec.tasks}
    if spec.group:
        found[GROUP] = group_numbers(rows.column(names.GROUP))
    if spec.weight:
        found[WEIGHT] = rows.weight()
    if not found:
        return pl.DataFrame()
    frame = pl.DataFrame([pl.Series(name, values) for name, values in found.items()])
    places = pl.Series(np.cumsum(good) - 1).set(pl.Series(~good), None)
    return frame.cast(types_of(spec)).fill_nan(None).select(pl.all().gather(places))

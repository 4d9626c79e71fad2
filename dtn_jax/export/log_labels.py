"""The labels of raw rows of your own logs, computed as `prepare` computes them.

They are written beside the scores in the columns that a run's predictions.parquet has: `label/TASK`
in the unit of the score, `group` and `sample_weight`.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import polars as pl

from dtn_jax.data import columns, rows
from dtn_jax.data.clean import Cleaner
from dtn_jax.data.encode import group_numbers
from dtn_jax.data.raw.types import Types
from dtn_jax.data.schemas.spec import Spec, SplitSpec
from dtn_jax.data.stages.account import Account
from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Bad
from dtn_jax.export.encoding import Encoding

GROUP, WEIGHT = "group", "sample_weight"


@dataclasses.dataclass(frozen=True)
class LogLabels:
    """What a schema file says of labels, groups and weights.

    Attributes:
      spec: of the schema file the tasks, the group and the weight.
    """

    spec: Spec

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that are read."""
        return columns.columns(self.spec)

    @property
    def types(self) -> Types:
        """{column that is written: its type}."""
        found: Types = {column_of(task.name): pl.Float32() for task in self.spec.tasks}
        found |= {GROUP: pl.Int64()} if self.spec.group else {}
        return found | ({WEIGHT: pl.Float64()} if self.spec.weight else {})

    @property
    def again(self) -> list[str]:
        """The raw columns that are written under their own names."""
        pairs = {GROUP: self.spec.group, WEIGHT: self.spec.weight}
        return [name for name, column in pairs.items() if name == column]

    def check(self, address: str, types: Types, lines: bool) -> None:
        """Raises UserError where a file lacks a column, or has one of a wrong type.

        Args:
          address: of the file.
          types: its columns.
          lines: whether it is of JSON lines, of which only the first were looked at.
        """
        try:
            columns.check(self.spec, address, types)
        except UserError as error:
            raise UserError(f"--labels: {error}") from None

    def read(self, frame: pl.DataFrame, bad: Bad) -> pl.DataFrame:
        """The columns of `types`, `[B]`; null in bad rows, and where a label is not known.

        Args:
          frame: B rows with all of `columns`.
          bad: which of them are bad; those that `prepare` would reject are added.
        """
        if not self.columns:
            return pl.DataFrame()
        account, good = Account(), bad.good.copy()
        clean = Cleaner(self.spec, "", account).rows(
            bad.file, frame.filter(pl.Series(good)), bad.numbers[good]
        )
        good[good] = np.isin(bad.numbers[good], clean.numbers(rows.ROW))
        bad.include(account, good)
        found = {column_of(t.name): clean.numbers(rows.LABEL + t.name) for t in self.spec.tasks}
        if self.spec.group:
            found[GROUP] = group_numbers(clean.column(rows.GROUP))
        if self.spec.weight:
            found[WEIGHT] = clean.weight()
        places = pl.Series(np.cumsum(good) - 1).set(pl.Series(~good), None)
        frame = pl.DataFrame([pl.Series(name, values) for name, values in found.items()])
        return frame.cast(self.types).fill_nan(None).select(pl.all().gather(places))


NO_SPLIT = SplitSpec(by="random")  # which no column says
NOTHING = LogLabels(Spec(name="", fields=(), tasks=(), split=NO_SPLIT))


def column_of(task: str) -> str:
    """The column of a task's label."""
    return f"label/{task}"


def labels_of(encoding: Encoding) -> LogLabels:
    """The labels of a model's tasks."""
    schema, spec = encoding.schema, encoding.spec
    tasks = tuple(task for task in spec.tasks if task.name in schema.task_names)
    own = Spec(
        name=spec.name,
        fields=(),
        tasks=tasks,
        split=NO_SPLIT,
        group=spec.group,
        weight=spec.weight,
        path=spec.path,
    )
    return LogLabels(own)

"""A chunk of a raw log to rows of known types; a row that is not as the schema file says is
rejected, with a reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int64

from dtn_jax.datasets.logs.formula import times
from dtn_jax.datasets.logs.formula.expression import Expression, of_column
from dtn_jax.datasets.logs.rows import numbers
from dtn_jax.datasets.logs.rows.account import Account
from dtn_jax.datasets.logs.rows.columns import singles
from dtn_jax.datasets.logs.rows.numbers import WRONG_TYPE
from dtn_jax.datasets.logs.schema.spec import FieldSpec, Spec, TaskSpec


@dataclasses.dataclass
class Rows:
    """Rows that passed every check.

    Attributes:
      numbers: int64 `[B]`, each row's number in its file.
      values: of each field that is no cross, `[B]`: scalars, float64 for numeric fields, lists for
        bags and vectors.
      weights: of each weighted bag, the lists of its values' weights.
      labels: float32 `[B, T]`, NaN where the label is not known.
      time: int64 `[B]`, as `times.to_time` has it; None without a time column.
      group: `[B]`; None without.
      weight: float64 `[B]`; None without.
      split: the column that says the split; None where something else does.
    """

    numbers: Int64[np.ndarray, " B"]
    values: dict[str, pl.Series]
    weights: dict[str, pl.Series]
    labels: Float32[np.ndarray, "B T"]
    time: Int64[np.ndarray, " B"] | None
    group: pl.Series | None
    weight: Float64[np.ndarray, " B"] | None
    split: pl.Series | None

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, mask: Bool[np.ndarray, " B"]) -> Rows:
        """The rows of a mask."""
        if mask.all():
            return self
        kept = pl.Series(mask)

        def of(column):
            if column is None:
                return None
            return column.filter(kept) if isinstance(column, pl.Series) else column[mask]

        return Rows(
            of(self.numbers),
            {name: of(column) for name, column in self.values.items()},
            {name: of(column) for name, column in self.weights.items()},
            *(of(c) for c in (self.labels, self.time, self.group, self.weight, self.split)),
        )


def columns(spec: Spec) -> tuple[str, ...]:
    """The raw columns that a schema file's data set needs, each once."""
    expressions = [f.value for f in spec.fields] + [t.label for t in spec.tasks]
    expressions += [t.known for t in spec.tasks]
    named = [name for e in expressions if e is not None for name in e.columns]
    named += [f.weights for f in spec.fields]
    named += [spec.time, spec.group, spec.weight, spec.split.column]
    return tuple(dict.fromkeys(name for name in named if name))


def outside(task: TaskSpec) -> str:
    """Why a row is rejected whose label is none that the task can have."""
    expected = "0 or 1" if task.kind == "binary" else "a finite number"
    if task.least is not None:
        expected = f"{task.least:g} to {task.most:g}"
    return f"label of {task.name!r} outside its range, {expected}"


class Checker:
    """Turns chunks into rows, and counts those that it rejects.

    Args:
      spec: the schema file.
      time_unit: of the time column.
      account: what is rejected is added to it.
    """

    def __init__(self, spec: Spec, time_unit: str, account: Account):
        self.spec, self.time_unit, self.account = spec, time_unit, account
        self.singles = singles(spec)

    def rows(self, file: str, frame: pl.DataFrame, numbers: np.ndarray) -> Rows:
        """The good rows of a chunk of a file."""
        spec = self.spec
        self._file, self._numbers, self._good = file, numbers, np.ones(len(numbers), bool)
        self.account.rows += len(numbers)
        frame = self._without_lists(frame)
        time = self._time(frame[spec.time]) if spec.time else None
        group = frame[spec.group] if spec.group else None
        if group is not None:
            self._check(group.is_not_null(), "missing group", group)
        weight = self._weight(spec.weight, frame) if spec.weight else None
        values, weights = {}, {}
        for field in spec.fields:
            if field.value is not None:
                values[field.name] = self._field(field, frame)
            if field.weights:
                weights[field.name] = self._bag_weights(field, frame, values[field.name])
        labels = [self._label(task, frame) for task in spec.tasks]
        split = frame[spec.split.column] if spec.split.column else None
        if split is not None:
            self._check(split.is_not_null(), "missing split", split)
        every = Rows(numbers, values, weights, np.stack(labels, axis=1), time, group, weight, split)
        return every.take(self._good)

    def _check(self, good: pl.Series | np.ndarray, reason: str, column: pl.Series) -> None:
        """Rejects the rows where `good` is False, and that nothing else has rejected."""
        good = good.to_numpy() if isinstance(good, pl.Series) else good
        bad = self._good & ~good
        if bad.any():
            offending = column.filter(pl.Series(bad))
            self.account.add(self._file, self._numbers[bad], reason, column.name, offending)
            self._good &= good

    def _number(
        self, expression: Expression, frame: pl.DataFrame, needed: np.ndarray | None = None
    ) -> pl.Series:
        """The expression's values as float64, null where missing.

        Args:
          expression: of a number.
          frame: the chunk.
          needed: bool `[B]`, the rows in which it has to be one; None: in all.
        """
        values, bad = numbers.singles(expression, frame)
        for reason, rows in bad.items():
            rows = rows if needed is None else rows & needed
            self._check(~rows, reason, _shown(expression, frame))
        return values

    def _time(self, column: pl.Series) -> Int64[np.ndarray, " B"]:
        self._check(column.is_not_null(), "missing time", column)
        time = times.to_time(column, self.time_unit)
        self._check(time.is_not_null(), "time that does not parse", column)
        return time.fill_null(0).to_numpy()

    def _weight(self, name: str, frame: pl.DataFrame) -> Float64[np.ndarray, " B"]:
        values = self._number(of_column(name), frame)
        good = (values >= 0).fill_null(False)
        self._check(good, "weight that is no finite number, 0 or more", frame[name])
        return values.fill_null(0.0).to_numpy()

    def _without_lists(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The chunk, null where a column of single values has lists, whose rows are rejected.

        A chunk of JSON lines has such a column where the file's first lines lack it.
        """
        for name in self.singles:
            if (column := frame[name]).dtype.is_nested():
                self._check(column.is_null(), WRONG_TYPE, column)
                frame = frame.with_columns(pl.lit(None, pl.String).alias(name))
        return frame

    def _field(self, field: FieldSpec, frame: pl.DataFrame) -> pl.Series:
        if field.kind == "numeric":
            values = self._number(field.value, frame)
            if field.log:
                values = pl.Series(
                    values.name, numbers.signed_log(values.to_numpy()), nan_to_null=True
                )
            return values
        wrong = field.value.wrong(frame)
        self._check(~wrong, WRONG_TYPE, _shown(field.value, frame))
        column = field.value.over(frame)
        if field.kind == "categorical":
            return column
        if column.dtype != pl.List:
            self._check(column.is_null(), WRONG_TYPE, column)
            inner = pl.Float64 if field.kind == "vector" else pl.String
            return pl.Series(column.name, [None] * len(column), dtype=pl.List(inner))
        if field.kind == "bag":
            if field.longest:
                short = (column.list.len() <= field.longest).fill_null(True)
                self._check(short, f"list of more than {field.longest} values", column)
            return column
        return self._vector(field, column)

    def _vector(self, field: FieldSpec, column: pl.Series) -> pl.Series:
        length = (column.list.len() == field.length).fill_null(True)
        self._check(length, f"list of other than {field.length} numbers", column)
        return self._lists(column)

    def _lists(self, column: pl.Series) -> pl.Series:
        found, bad = numbers.lists(column)
        for reason, rows in bad.items():
            self._check(~rows, reason, column)
        return found

    def _bag_weights(self, field: FieldSpec, frame: pl.DataFrame, bag: pl.Series) -> pl.Series:
        column = frame[field.weights]
        if column.dtype != pl.List:
            self._check(column.is_null() & bag.is_null(), WRONG_TYPE, column)
            return pl.Series(column.name, [None] * len(column), dtype=pl.List(pl.Float64))
        lengths = bag.list.len().fill_null(0) == column.list.len().fill_null(0)
        self._check(lengths, f"weights of another length than {bag.name!r}", column)
        return self._lists(column)

    def _label(self, task: TaskSpec, frame: pl.DataFrame) -> Float32[np.ndarray, " B"]:
        known = np.ones(len(frame), bool)
        if task.known is not None:
            told, wrong = task.known.read(frame, "truth")
            self._check(~wrong, WRONG_TYPE, _shown(task.known, frame))
            known = told.fill_null(False).to_numpy()
        shown = _shown(task.label, frame)
        values = self._number(task.label, _with_truth(task.label, frame), known)
        self._check(values.is_not_null().to_numpy() | ~known, "missing label", shown)
        if task.kind == "binary":
            good = values.is_in([0.0, 1.0])
        else:
            good = values.is_finite()
            if task.least is not None:
                good &= values.is_between(task.least, task.most)
        self._check(good.fill_null(True).to_numpy() | ~known, outside(task), shown)
        values = values.cast(pl.Float32).to_numpy()
        return np.where(known, values, np.float32(np.nan))


def _shown(expression: Expression, frame: pl.DataFrame) -> pl.Series:
    """What to show of a bad row: the column's value, or those of all columns that are read."""
    if len(expression.columns) == 1:
        return frame[expression.columns[0]]
    return frame.select(expression.columns).to_struct(expression.text)


def _with_truth(label: Expression, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, the texts 'true' and 'false' of a label's column as 1 and 0."""
    if not label.column or frame[label.column].dtype != pl.String:
        return frame
    words = {"true": "1", "false": "0"}
    words |= {word.capitalize(): number for word, number in words.items()}
    return frame.with_columns(pl.col(label.column).replace(words))

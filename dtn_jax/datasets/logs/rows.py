"""A chunk of a raw log to rows of known types; a row that is not as the schema file says is
rejected, with a reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int64

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.account import Account
from dtn_jax.datasets.logs.expression import Expression
from dtn_jax.datasets.logs.spec import FieldSpec, Spec, TaskSpec

WRONG_TYPE = "wrong type"
NOT_FINITE = "number that is not finite"


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


class Checker:
    """Turns chunks into rows, and counts those that it rejects.

    Args:
      spec: the schema file.
      time_unit: of the time column.
      account: what is rejected is added to it.
    """

    def __init__(self, spec: Spec, time_unit: str, account: Account):
        self.spec, self.time_unit, self.account = spec, time_unit, account

    def rows(self, file: str, frame: pl.DataFrame, numbers: np.ndarray) -> Rows:
        """The good rows of a chunk of a file."""
        spec = self.spec
        self._file, self._numbers, self._good = file, numbers, np.ones(len(numbers), bool)
        self.account.rows += len(numbers)
        time = self._time(frame[spec.time]) if spec.time else None
        group = frame[spec.group] if spec.group else None
        if group is not None:
            self._check(group.is_not_null(), "missing group", group)
        weight = self._weight(frame[spec.weight]) if spec.weight else None
        values, weights = {}, {}
        for field in spec.fields:
            if field.value is not None:
                values[field.name] = self._field(field, self._evaluated(field.value, frame))
            if field.weights:
                weights[field.name] = self._bag_weights(field, frame, values[field.name])
        labels = [self._label(task, frame) for task in spec.tasks]
        split = frame[spec.split.column] if spec.split.column else None
        if split is not None:
            self._check(split.is_not_null(), "missing split", split)
        every = Rows(
            numbers, values, weights, np.stack(labels, axis=1), time, group, weight, split
        )
        return every.take(self._good)

    def _check(self, good: pl.Series | np.ndarray, reason: str, column: pl.Series) -> None:
        """Rejects the rows where `good` is False, and that nothing else has rejected."""
        good = good.to_numpy() if isinstance(good, pl.Series) else good
        bad = self._good & ~good
        if bad.any():
            offending = column.filter(pl.Series(bad))
            self.account.add(self._file, self._numbers[bad], reason, column.name, offending)
            self._good &= good

    def _evaluated(self, expression: Expression, frame: pl.DataFrame) -> pl.Series:
        wrong = expression.wrong(frame)
        if wrong is not None and wrong.any():
            shown = frame[expression.columns[0]]
            self._check(~wrong, WRONG_TYPE, shown)
        return expression.over(frame)

    def _time(self, column: pl.Series) -> Int64[np.ndarray, " B"]:
        self._check(column.is_not_null(), "missing time", column)
        time = times.to_time(column, self.time_unit)
        self._check(time.is_not_null(), "time that does not parse", column)
        return time.fill_null(0).to_numpy()

    def _weight(self, column: pl.Series) -> Float64[np.ndarray, " B"]:
        values = self._number(column)
        good = values.is_finite().fill_null(False) & (values >= 0).fill_null(False)
        self._check(good, "weight that is no finite number, 0 or more", column)
        return values.fill_null(0.0).to_numpy()

    def _number(self, column: pl.Series) -> pl.Series:
        """A column as float64; what is no number is rejected. NaN is a missing value."""
        if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
            return column.cast(pl.Float64).fill_nan(None)
        if column.dtype == pl.String:
            values = column.str.strip_chars().cast(pl.Float64, strict=False)
            self._check(values.is_not_null() | column.is_null(), WRONG_TYPE, column)
            return values.fill_nan(None)
        self._check(column.is_null(), WRONG_TYPE, column)
        return pl.Series(column.name, [None] * len(column), dtype=pl.Float64)

    def _field(self, field: FieldSpec, column: pl.Series) -> pl.Series:
        if field.kind == "categorical":
            if column.dtype.is_nested():
                self._check(column.is_null(), WRONG_TYPE, column)
                return pl.Series(column.name, [None] * len(column), dtype=pl.String)
            return column
        if field.kind == "numeric":
            values = self._number(column)
            self._check(values.is_infinite().fill_null(False).not_(), NOT_FINITE, column)
            if field.log:
                values = pl.Series(values.name, signed_log(values.to_numpy()), nan_to_null=True)
            return values
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
        numbers = column.cast(pl.List(pl.Float64), strict=False)
        missing = numbers.list.eval(pl.element().is_null()).list.any().fill_null(False)
        self._check(~missing, WRONG_TYPE, column)
        good = numbers.list.eval(pl.element().is_finite()).list.all().fill_null(True)
        self._check(good, NOT_FINITE, column)
        return numbers

    def _bag_weights(self, field: FieldSpec, frame: pl.DataFrame, bag: pl.Series) -> pl.Series:
        column = frame[field.weights]
        if column.dtype != pl.List:
            self._check(column.is_null() & bag.is_null(), WRONG_TYPE, column)
            return pl.Series(column.name, [None] * len(column), dtype=pl.List(pl.Float64))
        lengths = bag.list.len().fill_null(0) == column.list.len().fill_null(0)
        self._check(lengths, f"weights of another length than {bag.name!r}", column)
        numbers = column.cast(pl.List(pl.Float64), strict=False)
        finite = pl.element().is_finite().fill_null(False)
        self._check(numbers.list.eval(finite).list.all().fill_null(True), NOT_FINITE, column)
        return numbers

    def _label(self, task: TaskSpec, frame: pl.DataFrame) -> Float32[np.ndarray, " B"]:
        column = self._evaluated(task.label, frame).alias(task.name)
        shown = column if len(task.label.columns) != 1 else frame[task.label.columns[0]]
        values = self._number(_truth(column))
        known = np.ones(len(column), bool)
        if task.known is not None:
            known = self._evaluated(task.known, frame).cast(pl.Boolean).fill_null(False).to_numpy()
        self._check(values.is_not_null().to_numpy() | ~known, "missing label", shown)
        if task.kind == "binary":
            good, expected = values.is_in([0.0, 1.0]), "0 or 1"
        else:
            good, expected = values.is_finite(), "a finite number"
            if task.least is not None:
                good &= values.is_between(task.least, task.most)
                expected = f"{task.least:g} to {task.most:g}"
        reason = f"label of {task.name!r} outside its range, {expected}"
        self._check(good.fill_null(True).to_numpy() | ~known, reason, shown)
        values = values.cast(pl.Float32).to_numpy()
        return np.where(known, values, np.float32(np.nan))


def _truth(column: pl.Series) -> pl.Series:
    """Texts 'true' and 'false' as 1 and 0; other columns as they are."""
    if column.dtype != pl.String:
        return column
    words = {"true": "1", "false": "0"}
    return column.replace(words | {k.capitalize(): v for k, v in words.items()})


def signed_log(values: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
    """sign(x) log(1 + |x|): of either sign, 0 at 0, and the same as log(1 + x) from there on."""
    return np.sign(values) * np.log1p(np.abs(values))

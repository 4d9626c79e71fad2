"""Raw rows to rows of known types: casts, times, expressions, labels, and what is wrong with a row.

Training and scoring read fields by the same function, `fields`. A row that is not as the schema
file says is rejected, with a reason. NaN in a column of floats is a missing value, as pandas has
it. In a vector, whose numbers belong together, it is an error, and so is an infinite number
anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import polars as pl

from dtn_jax.data import rows as names
from dtn_jax.data import times
from dtn_jax.data.formula import Expression, of_column
from dtn_jax.data.quantiles import signed_log
from dtn_jax.data.raw.types import Reject as Rejected
from dtn_jax.data.rows import Rows
from dtn_jax.data.schemas.spec import FieldSpec, Spec, TaskSpec
from dtn_jax.data.stages import split
from dtn_jax.data.stages.account import Account
from dtn_jax.field import SEVERAL
from dtn_jax.shapes import Bool, Int

WRONG_TYPE = "wrong type"
NOT_FINITE = "number that is not finite"
TOO_LARGE = "number beyond the range of 32-bit floats"  # in which it would be stored as infinity
LARGEST = float(np.finfo(np.float32).max)

# (good `[B]`, reason, the column to show): a row that is not good is rejected for that reason.
Reject = Callable[[pl.Series | np.ndarray, str, pl.Series], None]


def raw_columns(fields: Iterable[FieldSpec]) -> tuple[str, ...]:
    """The raw columns that fields are read from, each once."""
    named = [name for f in fields for name in (*(f.value.columns if f.value else ()), f.weights)]
    return tuple(dict.fromkeys(name for name in named if name))


def fields(specs: Sequence[FieldSpec], frame: pl.DataFrame, reject: Reject) -> pl.DataFrame:
    """The columns `value NAME` and `weights NAME` of all rows; those of rejected rows mean nothing.

    Args:
      specs: the fields; a cross has no column.
      frame: raw rows, each column of the type that the set's schema has for it.
      reject: is told of rows that are not as the schema file says.
    """
    values = {f.name: _field(f, frame, reject) for f in specs if f.value is not None}
    weights = {f.name: _weights(f, frame, values[f.name], reject) for f in specs if f.weights}
    for field in specs:
        if field.beside and not field.history:
            _check_companion(field, values[field.name], values[field.beside], reject)
    columns = [column.alias(names.VALUE + name) for name, column in values.items()]
    columns += [column.alias(names.WEIGHTS + name) for name, column in weights.items()]
    return pl.DataFrame(columns)


def number(
    expression: Expression,
    frame: pl.DataFrame,
    reject: Reject,
    needed: Bool[np.ndarray, " B"] | None = None,
) -> pl.Series:
    """The expression's values as float64, null where missing.

    Args:
      expression: of a number.
      frame: raw rows.
      reject: see `fields`.
      needed: the rows in which it has to be one; None: in all.
    """
    column = expression.column
    if column and (frame[column].dtype.is_numeric() or frame[column].dtype == pl.String):
        values = frame[column].cast(pl.Float64, strict=False)
        there = (values.drop_nulls() if values.null_count() else values).to_numpy()
        plain = len(there) == frame[column].count() and (np.abs(there) <= LARGEST).all()
        if plain:  # none of them is NaN
            return values.alias(expression.text)
    values, wrong = expression.read(frame, "number")
    values, wrong = values.cast(pl.Float64).fill_nan(None), wrong.to_numpy()
    large = np.abs(values.to_numpy()) > LARGEST  # False of a null
    endless = wrong & (wrong.any() and bool(column) and _endless(frame[column]))
    for reason, rows in ((NOT_FINITE, endless), (WRONG_TYPE, wrong & ~endless), (TOO_LARGE, large)):
        if rows.any():
            reject(~rows if needed is None else ~(rows & needed), reason, shown(expression, frame))
    return values.set(pl.Series(large), None)


def _endless(column: pl.Series) -> Bool[np.ndarray, " B"]:
    """Where a column of numbers or texts says infinity, or a text NaN."""
    text = column.dtype == pl.String
    numbers = (column.str.strip_chars() if text else column).cast(pl.Float64, strict=False)
    return (~numbers.is_finite()).fill_null(False).to_numpy()


def number_lists(column: pl.Series, reject: Reject) -> pl.Series:
    """A list column as lists of float64; a list that is missing is not bad."""
    numbers = column.cast(pl.List(pl.Float64), strict=False)
    inner = numbers.explode(keep_nulls=False, empty_as_null=False)
    if (inner.is_finite() & (inner.abs() <= LARGEST)).fill_null(False).all():
        return numbers
    item = pl.element()
    tests = {
        WRONG_TYPE: item.is_null(),
        NOT_FINITE: ~item.is_finite(),
        TOO_LARGE: item.is_finite() & (item.abs() > LARGEST),
    }
    for reason, test in tests.items():
        bad = numbers.list.eval(test).list.any().fill_null(False).to_numpy()
        reject(~bad, reason, column)
    return numbers


def shown(expression: Expression, frame: pl.DataFrame) -> pl.Series:
    """What to show of a bad row: the column's value, or those of all columns that are read."""
    if len(expression.columns) == 1:
        return frame[expression.columns[0]]
    return frame.select(expression.columns).to_struct(expression.text)


def _field(field: FieldSpec, frame: pl.DataFrame, reject: Reject) -> pl.Series:
    if field.kind == "numeric":
        values = number(field.value, frame, reject)
        if field.log:
            values = pl.Series(values.name, signed_log(values.to_numpy()), nan_to_null=True)
        return values
    column, wrong = field.value.read(frame)
    if wrong.any():
        reject(~wrong, WRONG_TYPE, shown(field.value, frame))
    if not field.listed:
        return column
    column = _lists(column, pl.Float64 if field.kind == "vector" else pl.String, reject)
    if field.kind in SEVERAL:
        if field.longest:
            short = (column.list.len() <= field.longest).fill_null(True)
            reject(short, f"list of more than {field.longest} values", column)
        return column
    length = (column.list.len() == field.length).fill_null(True)
    reject(length, f"list of other than {field.length} numbers", column)
    return number_lists(column, reject)


def coded(specs: Iterable[FieldSpec]) -> list[str]:
    """The columns of fields whose values become ids."""
    ids = [field.name for field in specs if field.value and field.kind not in ("numeric", "vector")]
    return [names.VALUE + name for name in ids]


def _lists(column: pl.Series, inner: object, reject: Reject) -> pl.Series:
    """A column of lists; rows with single values are rejected."""
    if column.dtype == pl.List:
        return column
    reject(column.is_null(), WRONG_TYPE, column)
    return pl.Series(column.name, [None] * len(column), dtype=pl.List(inner))


def _weights(field: FieldSpec, frame: pl.DataFrame, bag: pl.Series, reject: Reject) -> pl.Series:
    column = _lists(frame[field.weights], pl.Float64, reject)
    reject(_counts(bag) == _counts(column), f"weights of another length than {bag.name!r}", column)
    return number_lists(column, reject)


def _check_companion(
    field: FieldSpec, column: pl.Series, history: pl.Series, reject: Reject
) -> None:
    """Rejects rows whose lists differ in length; an optional companion may be missing."""
    same = _counts(column) == _counts(history)
    if field.optional:
        same |= column.is_null()
    reject(same, f"list of {column.name!r} of another length than {history.name!r}", column)


def _counts(column: pl.Series) -> pl.Series:
    return column.list.len().fill_null(0)


# Of a log's rows, which have labels, times and groups besides.


def outside(task: TaskSpec) -> str:
    """Why a row is rejected whose label is none that the task can have."""
    expected = "0 or 1" if task.kind == "binary" else "a finite number"
    if task.least is not None:
        expected = f"{task.least:g} to {task.most:g}"
    return f"label of {task.name!r} outside its range, {expected}"


class Bad:
    """Collects the bad rows of a table, each with the first reason that is found for it.

    Attributes:
      numbers: `[B]`, each row's number in `file`, for messages.
      good: bool `[B]`, of rows that nothing has rejected.
      account: how many rows are bad for which reason, and the first 1,000 of each in full.
    """

    def __init__(
        self, numbers: Int[np.ndarray, " B"], file: str = "", account: Account | None = None
    ):
        self.numbers, self.file = numbers, file
        self.good = np.ones(len(numbers), bool)
        self.account = Account() if account is None else account
        self.account.rows += len(numbers)

    def __call__(
        self, good: pl.Series | np.ndarray, reason: str, column: pl.Series | None = None
    ) -> None:
        """Rejects the rows where `good` is False; `column` has the values to show."""
        good = good.to_numpy() if isinstance(good, pl.Series) else good
        bad = self.good & ~good
        if bad.any():
            name, offending = "", None
            if column is not None:
                name, offending = column.name, column.filter(pl.Series(bad))
            self.account.add(self.file, self.numbers[bad], reason, name, offending)
            self.good &= good

    def broken(self, rejects: Sequence[Rejected]) -> None:
        """Rejects rows that could not be read, whether they are among the rows or not."""
        self.account.broken(self.file, rejects)
        inside = np.isin(self.numbers, [reject.row for reject in rejects])
        self.account.rows -= int(inside.sum())  # they are counted already
        self.good &= ~inside


def good_rows(spec: Spec, frame: pl.DataFrame, bad: Bad) -> Rows:
    """The good rows of a table; `bad` is told of the others, and may know of some."""
    histories, others = spec.histories(), {}
    if spec.time:
        others[names.TIME] = _time(frame[spec.time], spec.time_unit, bad)
    if spec.group:
        others[names.GROUP] = group = present(frame[spec.group])
        bad(group.is_not_null(), "missing group", frame[spec.group])
    for name in (names.WEIGHT, names.LOSS_WEIGHT):
        if getattr(spec, name):
            others[name] = _weight(getattr(spec, name), frame, bad)
    values = fields(spec.fields, frame, bad)
    others |= {names.LABEL + task.name: _label(task, frame, bad) for task in spec.tasks}
    if spec.split.column:
        others[names.SPLIT] = column = frame[spec.split.column]
        bad(column.is_not_null(), "missing split", column)
        if spec.split.by == "column":
            known = split.named(spec.split, *names.keyed([column.to_arrow()])) != split.NONE
            bad(known, "split of no known name", column)
    if histories:
        others[names.USER] = frame[histories[0].history.by]
    for field in histories:
        where = field.history.where
        every = pl.repeat(True, len(frame), eager=True)
        others[names.EVENT + field.name] = _truth(where, frame, bad) if where else every
    columns = [*values, *(pl.Series(name, column) for name, column in others.items())]
    every = pl.DataFrame([pl.Series(names.ROW, bad.numbers, pl.Int64), *columns])
    if not bad.good.all():
        every = every.filter(pl.Series(bad.good))
    compared = [names.GROUP, names.USER, names.SPLIT]
    return names.of_frame(every, [*compared, *coded(spec.fields)])


def _time(column: pl.Series, unit: str, bad: Bad) -> pl.Series:
    bad(column.is_not_null(), "missing time", column)
    time = times.to_time(column, unit)
    bad(time.is_not_null(), "time that does not parse", column)
    return time.fill_null(0)


def _weight(name: str, frame: pl.DataFrame, bad: Bad) -> pl.Series:
    values = number(of_column(name), frame, bad)
    good = (values >= 0).fill_null(False)
    bad(good, "weight that is no finite number, 0 or more", frame[name])
    return values.fill_null(0.0)


def _truth(expression: Expression, frame: pl.DataFrame, bad: Bad) -> pl.Series:
    """Where the expression is true; rows where it is wrong are rejected."""
    values, wrong = expression.read(frame, "truth")
    bad(~wrong, WRONG_TYPE, shown(expression, frame))
    return values.fill_null(False)


def _label(task: TaskSpec, frame: pl.DataFrame, bad: Bad) -> pl.Series:
    known = np.ones(len(frame), bool)
    if task.known is not None:
        known = _truth(task.known, frame, bad).to_numpy()
    label = shown(task.label, frame)
    values = number(task.label, frame, bad, known)
    bad(values.is_not_null().to_numpy() | ~known, "missing label", label)
    if task.kind == "binary":
        good = values.is_in([0.0, 1.0])
    else:
        good = values.is_finite()
        if task.least is not None:
            good &= values.is_between(task.least, task.most)
    bad(good.fill_null(True).to_numpy() | ~known, outside(task), label)
    return values.cast(pl.Float32).set(pl.Series(~known), None)


def present(column: pl.Series) -> pl.Series:
    """A column of groups, null where it has none: NaN and empty texts are none either."""
    if column.dtype.is_float():
        return column.fill_nan(None)
    return column.set(column == "", None) if column.dtype == pl.String else column

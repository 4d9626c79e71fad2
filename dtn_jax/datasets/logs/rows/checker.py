"""A chunk of a raw log to rows of known types; a row that is not as the schema file says is
rejected, with a reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.formula import Expression, of_column
from dtn_jax.datasets.logs.rows import field_values
from dtn_jax.datasets.logs.rows.account import Account
from dtn_jax.datasets.logs.rows.columns import history_columns, singles, whole_rows
from dtn_jax.datasets.logs.rows.field_values import FieldValues, shown
from dtn_jax.datasets.logs.rows.numbers import WRONG_TYPE
from dtn_jax.datasets.logs.schema.spec import FieldSpec, Spec, TaskSpec
from dtn_jax.shapes import Bool, Float32, Float64, Int64


@dataclasses.dataclass(kw_only=True)
class Rows(FieldValues):
    """Rows that passed every check.

    Attributes:
      numbers: int64 `[B]`, each row's number in its file.
      labels: float32 `[B, T]`, NaN where the label is not known.
      time: int64 `[B]`, as `times.to_time` has it; None without a time column.
      group: `[B]`; None without.
      weight, loss_weight: float64 `[B]`; None without.
      split: the column that says the split; None where something else does.
      user: `[B]`, whose histories the row is in; None without histories.
      events: bool `[B]` of each field with a history: whether later rows list this one.
      beside: of each companion of such a field, `[B]` its value if the row is an event.
    """

    numbers: Int64[np.ndarray, " B"]
    labels: Float32[np.ndarray, "B T"]
    time: Int64[np.ndarray, " B"] | None
    group: pl.Series | None
    weight: Float64[np.ndarray, " B"] | None
    split: pl.Series | None
    loss_weight: Float64[np.ndarray, " B"] | None = None
    user: pl.Series | None = None
    events: dict[str, Bool[np.ndarray, " B"]] = dataclasses.field(default_factory=dict)
    beside: dict[str, pl.Series] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, mask: Bool[np.ndarray, " B"]) -> Rows:
        """The rows of a mask."""
        if mask.all():
            return self
        fields, kept = super().take(mask), pl.Series(mask)

        def of(column):
            if column is None:
                return None
            return column.filter(kept) if isinstance(column, pl.Series) else column[mask]

        others = ("numbers", "labels", "time", "group", "weight", "loss_weight", "split", "user")
        return Rows(
            fields.values,
            fields.weights,
            **{name: of(getattr(self, name)) for name in others},
            events={name: event[mask] for name, event in self.events.items()},
            beside={name: column.filter(kept) for name, column in self.beside.items()},
        )


def columns(spec: Spec) -> tuple[str, ...]:
    """The raw columns that a schema file's data set needs, each once."""
    expressions = [t.label for t in spec.tasks] + [t.known for t in spec.tasks]
    named = [*field_values.columns(spec.fields)]
    named += [name for e in expressions if e is not None for name in e.columns]
    named += [*whole_rows(spec), *history_columns(spec)]
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
        frame = field_values.without_lists(frame, self.singles, self._check)
        time = self._time(frame[spec.time]) if spec.time else None
        group = frame[spec.group] if spec.group else None
        if group is not None:
            self._check(group.is_not_null(), "missing group", group)
        weight, loss_weight = (self._weight(n, frame) for n in (spec.weight, spec.loss_weight))
        fields = field_values.read(spec.fields, frame, self._check)
        labels = [self._label(task, frame) for task in spec.tasks]
        beside = {f.name: fields.values.pop(f.name) for f in spec.fields if _is_beside(f)}
        split = frame[spec.split.column] if spec.split.column else None
        if split is not None:
            self._check(split.is_not_null(), "missing split", split)
        histories = spec.histories()
        every = Rows(
            fields.values,
            fields.weights,
            numbers=numbers,
            labels=np.stack(labels, axis=1),
            time=time,
            group=group,
            weight=weight,
            loss_weight=loss_weight,
            split=split,
            user=frame[histories[0].history.by] if histories else None,
            events={field.name: self._event(field, frame) for field in histories},
            beside=beside,
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

    def _number(
        self, expression: Expression, frame: pl.DataFrame, needed: np.ndarray | None = None
    ) -> pl.Series:
        return field_values.number(expression, frame, self._check, needed)

    def _time(self, column: pl.Series) -> Int64[np.ndarray, " B"]:
        self._check(column.is_not_null(), "missing time", column)
        time = times.to_time(column, self.time_unit)
        self._check(time.is_not_null(), "time that does not parse", column)
        return time.fill_null(0).to_numpy()

    def _weight(self, name: str, frame: pl.DataFrame) -> Float64[np.ndarray, " B"] | None:
        if not name:
            return None
        values = self._number(of_column(name), frame)
        good = (values >= 0).fill_null(False)
        self._check(good, "weight that is no finite number, 0 or more", frame[name])
        return values.fill_null(0.0).to_numpy()

    def _event(self, field: FieldSpec, frame: pl.DataFrame) -> Bool[np.ndarray, " B"]:
        where = field.history.where
        if where is None:
            return np.ones(len(frame), bool)
        told, wrong = where.read(frame, "truth")
        self._check(~wrong, WRONG_TYPE, shown(where, frame))
        return told.fill_null(False).to_numpy()

    def _label(self, task: TaskSpec, frame: pl.DataFrame) -> Float32[np.ndarray, " B"]:
        known = np.ones(len(frame), bool)
        if task.known is not None:
            told, wrong = task.known.read(frame, "truth")
            self._check(~wrong, WRONG_TYPE, shown(task.known, frame))
            known = told.fill_null(False).to_numpy()
        label = shown(task.label, frame)
        values = self._number(task.label, _with_truth(task.label, frame), known)
        self._check(values.is_not_null().to_numpy() | ~known, "missing label", label)
        if task.kind == "binary":
            good = values.is_in([0.0, 1.0])
        else:
            good = values.is_finite()
            if task.least is not None:
                good &= values.is_between(task.least, task.most)
        self._check(good.fill_null(True).to_numpy() | ~known, outside(task), label)
        values = values.cast(pl.Float32).to_numpy()
        return np.where(known, values, np.float32(np.nan))


def _is_beside(field: FieldSpec) -> bool:
    """Whether a field has a value of each event of a history that is made from the log."""
    return bool(field.beside and field.history and field.value)


def _with_truth(label: Expression, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, the texts 'true' and 'false' of a label's column as 1 and 0."""
    if not label.column or frame[label.column].dtype != pl.String:
        return frame
    words = {"true": "1", "false": "0"}
    words |= {word.capitalize(): number for word, number in words.items()}
    return frame.with_columns(pl.col(label.column).replace(words))

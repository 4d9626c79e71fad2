"""A Parquet file with a score and a label for each task: of `dtn-jax score`, or another system."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from dtn_jax.comparison.scored_rows import ScoredRows, spaces_of
from dtn_jax.errors import UserError, choose
from dtn_jax.export.ranking import RANK
from dtn_jax.export.score_columns import GROUP, WEIGHT, ScoredBy
from dtn_jax.options import pairs
from dtn_jax.schema import ALL, Schema

NONE = "none"  # --group=none, --weight=none
AGAIN = "score the rows again with --labels, which writes it"
ASK = (
    "nothing says whether several rows of these files belong together, such as those of one user "
    "or request: without groups p-values would be too small. Give --group=COLUMN, or "
    f"--group={NONE}, which says that rows are independent"
)


@dataclasses.dataclass(frozen=True)
class Columns:
    """How the columns of a Parquet file are called.

    Attributes:
      key: that rows are matched by.
      group, weight: of the groups and of the weights, or "none"; "" for that of the model, and of
        another system's file for `group` and `sample_weight`, if they are there.
      named: {task or task@space: (score, label)}; others go by their names.
    """

    key: str = "row"
    group: str = ""
    weight: str = ""
    named: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)


def read_columns(text: str) -> dict[str, tuple[str, str]]:
    """Reads 'click=p_click:clicked,order@click=p_order:ordered'; a label may be left out."""
    named = pairs(text, "--columns", "TASK=SCORE:LABEL")
    return {key: columns.partition(":")[::2] for key, columns in named.items()}


def of_file(path: pathlib.Path, schema: Schema | None, columns: Columns) -> ScoredRows:
    """The rows of a Parquet file.

    A score is a probability in the column `score/TASK`, `TASK@SPACE`, or named in `columns`, or a
    logit in `logit/TASK`; of a regression, the prediction. A label is in `label/TASK` or `TASK`.
    In a space without a column of its own, scores follow from those of all tasks, as of a run.
    Where `dtn-jax score` wrote the file, its model says what the labels are. A row without a label
    of any task need not have scores.

    Args:
      schema: of the run on the other side; None where that is a file too. Then tasks are those
        of the model, or that the columns name.
      columns: how they are called.

    Raises:
      UserError: a column is missing, or holds what none of its kind can.
    """
    try:
        there = dict(pl.read_parquet_schema(path))
    except Exception as error:
        told = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is no Parquet file, or is damaged: {told}") from None
    by = ScoredBy.read(path)
    try:
        return ScoreFile(there, columns, by, schema).rows(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


class ScoreFile:
    """What the columns of a Parquet file are.

    Attributes:
      there: {column: its type}.
      names: {task@space, label/TASK or as it is in the file: the column}.
      columns: as the user calls them.
      by: the model that scored the file.
      schema: of the run on the other side.
      spaces: {task: that of its loss}, by the schema.
    """

    def __init__(
        self,
        there: dict[str, pl.DataType],
        columns: Columns,
        by: ScoredBy | None,
        schema: Schema | None,
    ):
        self.there, self.columns, self.by, self.schema = there, columns, by, schema
        self.spaces = {task.name: task.space for task in schema.tasks} if schema else {}
        names = {}
        for key, (score, label) in columns.named.items():
            task = key.partition("@")[0]
            own = key if "@" in key else f"{key}@{self.spaces.get(key, ALL)}"
            names |= {own: score, f"label/{task}": label}
        # Two files may have other names: those of the one are not in the other.
        self.names = dict(zip(there, there)) | {n: c for n, c in names.items() if c in there}

    def rows(self, path: pathlib.Path) -> ScoredRows:
        keys = self.keys()
        tasks = list(dict.fromkeys(key.partition("@")[0] for key in keys))
        for key in self.columns.named:
            choose("task in --columns", key.partition("@")[0], tasks)
        if self.by and not self.schema:  # those whose labels say the space of another, too
            tasks = list(dict.fromkeys([*self.by.needed(), *tasks]))
        self.single("--key: column", self.columns.key)
        group, weight = self.extra()
        labels = {task: self.label(task) for task in tasks}
        scores = {key: column for key in keys if (column := self.score(key))}
        rank = RANK if self.by and RANK in self.by.outputs and RANK in self.there else ""
        numbers = {*labels.values(), *scores.values(), weight, rank} - {""}
        frame = pl.read_parquet(path, columns=sorted({self.columns.key, group, *numbers} - {""}))
        values = {name: self.numbers(frame[name]) for name in numbers}
        own = {task: values[column] for task, column in labels.items()}
        kinds = {task: _kind(label) for task, label in own.items()}
        kinds |= self.by.kinds if self.by else {}
        kinds |= {task.name: task.kind for task in self.schema.tasks} if self.schema else {}
        counted = ~np.isnan(list(own.values())).all(axis=0)
        given = {}
        for key, column in scores.items():
            task = key.partition("@")[0]
            is_logit = kinds[task] == "regression" or column.startswith("logit/")
            if kinds[task] == "regression":
                self.check_unit(task, labels[task])
            given[key] = _logits(column, values[column], counted, is_logit)
        if self.schema and all(f"{t.name}@{t.space}" in given for t in self.schema.tasks):
            own_spaces = [given[f"{t.name}@{t.space}"] for t in self.schema.tasks]
            given = spaces_of(np.stack(own_spaces, axis=1), self.schema) | given
        return ScoredRows(
            name=str(path),
            key=frame[self.columns.key],
            labels=own,
            scores=given,
            kinds=kinds,
            group=_codes(frame[group]) if group else None,
            weight=values.get(weight),
            rank=values.get(rank),
            weighted=bool(weight),
            ungrouped=self.columns.group == NONE or (self.by is not None and not self.by.group),
            by=self.by,
        )

    def keys(self) -> list[str]:
        """task@space of each score that there may be, task by task."""
        if self.schema:
            return [f"{task.name}@{space}" for task in self.schema.tasks for space in task.spaces]
        keys: dict[str, list[str]] = {}  # {task: them}
        for name in self.names:
            kind, _, rest = name.partition("/")
            task, _, space = name.partition("@")
            if kind in ("score", "logit"):
                task, space = rest, ALL
            elif not space or not (self.by or {task, f"label/{task}"} & self.names.keys()):
                continue
            if not self.by or task in self.by.kinds:
                keys.setdefault(task, []).append(f"{task}@{space}")
        if not keys:
            raise UserError(
                "no scores of any task, each as a column TASK@all or score/TASK with its label in "
                f"TASK or label/TASK, or named by --columns=TASK=SCORE:LABEL; {self.has()}"
            )
        return list(dict.fromkeys(key for own in keys.values() for key in own))

    def has(self) -> str:
        return f"its columns are: {', '.join(self.there)}"

    def first(self, what: str, task: str, names: Sequence[str], more: str = "") -> str:
        """The first of the columns that is there."""
        for name in names:
            if name in self.names:
                return self.names[name]
        expected = " or ".join(repr(name) for name in names if name)
        raise UserError(
            f"no {what}: expected a column {expected}{more}, or name it: "
            f"--columns={task}=SCORE:LABEL; {self.has()}"
        )

    def label(self, task: str) -> str:
        """The column of a task's label, in the unit of its score."""
        what, names, more = f"label of task {task!r}", [f"label/{task}", task], ""
        if known := self.by and self.by.labels.get(task):
            named = self.names.get(f"label/{task}")
            if named in known.reads and named != known.column:
                raise UserError(
                    f"column {named!r} is not the label of {task!r}: the model was trained on "
                    f"`{known.text}`, and its scores are in that unit; {AGAIN} as 'label/{task}'"
                )
            what, names[1], more = f"{what}, which is `{known.text}`", known.column, f"; {AGAIN}"
        return self.first(what, task, names, more)

    def check_unit(self, task: str, label: str) -> None:
        """Raises UserError where a regression's label may be a raw column, in another unit."""
        if not self.by and not self.schema and f"label/{task}" not in self.names:
            raise UserError(
                f"nothing says that column {label!r} is in the unit of the prediction, rather "
                "than, say, that its logarithm is. If it is, name it: "
                f"--columns={task}=SCORE:{label}"
            )

    def score(self, key: str) -> str:
        """The column of a task's score in a space; "" where it follows from others."""
        task, _, space = key.partition("@")
        if space != self.spaces.get(task, ALL):
            return self.names.get(key, "")
        return self.first(f"score of task {task!r}", task, [key, f"logit/{task}", f"score/{task}"])

    def extra(self) -> tuple[str, str]:
        """The columns of the groups and of the weights by which rows count, or "": see `check`."""
        by, columns = self.by, self.columns
        if by and by.weight and not columns.weight and by.weight_column not in self.there:
            raise UserError(
                f"the metrics of model {by.model!r} count rows by their weights, and there is no "
                f"column {by.weight_column!r}; {AGAIN} as {WEIGHT!r}, or name it: --weight=COLUMN"
            )
        usual = (by.group_column, by.weight_column) if by else (GROUP, WEIGHT)
        given = zip((columns.group, columns.weight), usual)
        names = [name or (other if other in self.there else "") for name, other in given]
        given = ("" if name == NONE else name for name in names)
        return tuple(self.single("column", name) if name else "" for name in given)

    def single(self, what: str, name: str) -> str:
        """The name of a column of single values."""
        if self.there[choose(what, name, list(self.there))].is_nested():
            raise UserError(f"{what} {name!r} holds {self.there[name]}, expected single values")
        return name

    def numbers(self, column: pl.Series) -> np.ndarray:
        """float64, NaN where a value is missing."""
        if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
            raise UserError(
                f"column {column.name!r} holds {column.dtype}, expected numbers; write labels that "
                "are texts as 0 and 1 in a new column, and name it: --columns=TASK=SCORE:LABEL "
                "(score --labels writes those of a schema file)"
            )
        return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _logits(name: str, values: np.ndarray, counted: np.ndarray, is_logit: bool) -> np.ndarray:
    """Scores, of which none may be missing in the rows that count; probabilities become logits."""
    bad = np.flatnonzero(~np.isfinite(values) & counted)
    if bad.size:
        raise UserError(
            f"{bad.size:,} of {values.size:,} scores in column {name!r} are missing or not finite, "
            f"the first in row {bad[0] + 1:,}"
        )
    if is_logit:
        return values
    bad = np.flatnonzero((values < 0) | (values > 1))
    if bad.size:
        raise UserError(
            f"column {name!r} has {values[bad[0]]:g} in row {bad[0] + 1:,}, expected "
            "probabilities, from 0 to 1 (a column logit/TASK has logits)"
        )
    with np.errstate(divide="ignore"):
        return np.clip(np.log(values) - np.log1p(-values), -50, 50)  # where the file says 0 or 1


def _kind(labels: np.ndarray) -> str:
    known = labels[~np.isnan(labels)]
    return "binary" if np.isin(known, (0, 1)).all() else "regression"


def _codes(column: pl.Series) -> np.ndarray:
    return np.unique(column.cast(pl.String).fill_null("").to_numpy(), return_inverse=True)[1]


def check(rows: Sequence[ScoredRows], group: str, weight: str) -> None:
    """Refuses to compare what is not in the same unit, or whose groups nothing gives.

    Args:
      rows: of both sides.
      group, weight: of `--group` and `--weight`.

    Raises:
      UserError: labels or groups are others in one file's model than in another's, or are
        missing.
    """
    scored = [(r.name, r.by) for r in rows if r.by is not None]
    for name, by in scored[1:]:
        first, known = scored[0][0], _facts(scored[0][1], group, weight)
        for what, text in _facts(by, group, weight).items():
            if text != known.get(what, text):
                raise UserError(
                    f"{first} and {name} cannot be compared: {what} is `{known[what]}` in the "
                    f"model of the one and `{text}` in that of the other"
                )
    if group or any(r.group is not None for r in rows):
        return
    for name, by in scored:
        if by.group:
            raise UserError(
                f"{name}: model {by.model!r} has its rows in groups by {by.group!r}, and there is "
                f"no column {by.group_column!r}. Without groups p-values are too small: {AGAIN}; "
                f"or name it: --group=COLUMN. --group={NONE} says that rows are independent."
            )
    if not any(r.ungrouped for r in rows):
        raise UserError(ASK)


def _facts(by: ScoredBy, group: str, weight: str) -> dict[str, str]:
    """{what a model says of rows, unless a column is given for it: how it says it}."""
    facts = {f"the unit of {task!r}": label.text for task, label in by.labels.items()}
    if by.group and not group:
        facts["the group of a row (unless --group=COLUMN names it)"] = by.group
    if not weight:
        facts["the weight of a row"] = by.weight or NONE
    return facts

"""A Parquet file with a score and a label for each task: of `dtn-jax score`, or another system."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import polars as pl

from dtn_jax.comparison import model_columns
from dtn_jax.comparison.scored_rows import ScoredRows, spaces_of
from dtn_jax.errors import UserError, choose
from dtn_jax.export.log_labels import GROUP, WEIGHT
from dtn_jax.export.scored_by import ScoredBy
from dtn_jax.schema import ALL, Schema

NO_SCHEMA = "each as a column TASK@all or score/TASK with its label in TASK or label/TASK"


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
    found = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        task, equals, columns = part.partition("=")
        score, _, label = columns.partition(":")
        if not equals or not task or not score:
            raise UserError(f"--columns: expected TASK=SCORE:LABEL, got {part!r}")
        found[task] = (score, label)
    return found


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
    there, by = _types(path), ScoredBy.read(path)
    tasks = _tasks(there, columns, by) if schema is None else list(schema.task_names)
    if not tasks:
        raise UserError(
            f"{path}: no scores of any task, {NO_SCHEMA}, or named by --columns="
            f"TASK=SCORE:LABEL; its columns are: {', '.join(there)}"
        )
    try:
        group, weight, labels, scores = _named(there, tasks, schema, columns, by)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    wanted = {columns.key, group, weight, *labels.values(), *scores.values()} - {""}
    frame = pl.read_parquet(path, columns=sorted(wanted))
    numbers = {*labels.values(), *scores.values(), weight} - {""}
    values = {name: _numbers(path, frame, name) for name in numbers}
    own = {task: values[column] for task, column in labels.items()}
    kinds = {t: _kind(label) for t, label in own.items()} | (by.kinds if by else {})
    kinds |= {t.name: t.kind for t in schema.tasks} if schema else {}
    if by is None and schema is None:
        _check_units(path, kinds, labels, columns)
    counted = ~np.isnan(list(own.values())).all(axis=0)
    made = {}
    for key, column in scores.items():
        known = _known(path, column, values[column], counted)
        binary = kinds[key.partition("@")[0]] == "binary"
        is_logit = column.startswith("logit/")
        made[key] = _logits(path, column, known) if binary and not is_logit else known
    if schema is not None and all(f"{t.name}@{t.space}" in made for t in schema.tasks):
        every = np.stack([made[f"{t.name}@{t.space}"] for t in schema.tasks], axis=1)
        made = spaces_of(every, schema) | made
    return ScoredRows(
        name=str(path),
        key=frame[columns.key],
        labels=own,
        scores=made,
        kinds=kinds,
        group=None if not group else _codes(frame[group]),
        weight=values.get(weight),
        weighted=bool(weight),
        ungrouped=columns.group == model_columns.NONE or (by is not None and not by.group),
        by=by,
    )


def _check_units(
    path: pathlib.Path, kinds: dict[str, str], labels: dict[str, str], columns: Columns
) -> None:
    """Raises UserError where a regression's label may be a raw column, in another unit."""
    named = {label for _, label in columns.named.values()}
    for task, column in labels.items():
        if kinds[task] == "regression" and column == task and column not in named:
            raise UserError(
                f"{path}: nothing says that column {task!r} is in the unit of the prediction, "
                f"rather than, say, that its logarithm is. If it is, name it: "
                f"--columns={task}=SCORE:{task}"
            )


def _types(path: pathlib.Path) -> dict:
    """{column: its type} of a Parquet file."""
    try:
        return dict(pl.read_parquet_schema(path))
    except Exception as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no Parquet file, or is damaged: {told}") from None


def _tasks(there: dict, columns: Columns, by: ScoredBy | None) -> list[str]:
    """The tasks of the model, or those that columns name."""
    named = [key.partition("@")[0] for key in columns.named]
    if by is not None:
        return list(dict.fromkeys([*by.needed(), *named]))
    for name in there:
        kind, slash, task = name.partition("/")
        if slash and kind in ("score", "logit"):
            named.append(task)
        task = name.partition("@")[0]
        if task != name and {task, f"label/{task}"} & there.keys():
            named.append(task)
    return list(dict.fromkeys(named))


def _named(
    there: dict, tasks: list[str], schema: Schema | None, columns: Columns, by: ScoredBy | None
) -> tuple[str, str, dict[str, str], dict[str, str]]:
    """The columns of groups and of weights, or "", {task: that of its label} and {task@space: of
    its score}."""
    for key in columns.named:
        choose("task in --columns", key.partition("@")[0], tasks)
    _has("--key: column", columns.key, there)
    group, weight = columns.group, columns.weight
    if by is not None:
        group, weight = model_columns.extra(there, by, group, weight)
    else:
        group = group or (GROUP if GROUP in there else "")
        weight = weight or (WEIGHT if WEIGHT in there else "")
    group, weight = ("" if name == model_columns.NONE else name for name in (group, weight))
    for name in filter(None, (group, weight)):
        _has("column", name, there)
    labels = {task: _label(there, task, columns, by) for task in tasks}
    scores = {
        f"{task}@{space}": column
        for task in tasks
        for space in _spaces(task, schema, there, columns, by)
        if (column := _score(there, task, space, schema, columns))
    }
    return group, weight, labels, scores


def _spaces(
    task: str, schema: Schema | None, there: dict, columns: Columns, by: ScoredBy | None
) -> list[str]:
    if schema is not None:
        return list(schema.tasks[schema.task_names.index(task)].spaces)
    keys = (*columns.named, *(there if by is None else by.outputs))
    found = [key.partition("@")[2] for key in keys if key.startswith(f"{task}@")]
    whole = task in columns.named or {f"score/{task}", f"logit/{task}"} & there.keys()
    return list(dict.fromkeys([*[ALL] * bool(whole), *found]))


def _label(there: dict, task: str, columns: Columns, by: ScoredBy | None) -> str:
    named = [own[1] for key, own in columns.named.items() if key.partition("@")[0] == task]
    if by is not None and task in by.labels:
        return model_columns.label(there, task, named, by.labels[task])
    for name in (*filter(None, named), f"label/{task}", task):
        if name in there:
            return name
    wanted = ", ".join(repr(n) for n in (*filter(None, named), f"label/{task}", task))
    raise UserError(
        f"no label of task {task!r}: expected a column {wanted}, or --columns={task}=SCORE:LABEL; "
        f"its columns are: {', '.join(there)}"
    )


def _score(there: dict, task: str, space: str, schema: Schema | None, columns: Columns) -> str:
    """The column of a task's score in a space; "" where it follows from others."""
    own = space == (schema.tasks[schema.task_names.index(task)].space if schema else ALL)
    keys = [f"{task}@{space}", *[task] * own]
    names = [*(columns.named.get(key, ("", ""))[0] for key in keys), f"{task}@{space}"]
    names += [f"logit/{task}", f"score/{task}"] if own else []
    for name in filter(None, names):
        if name in there:
            return name
    if own:
        raise UserError(
            f"no score of task {task!r}: expected a column {task}@{space} or score/{task}, or "
            f"--columns={task}=SCORE:LABEL; its columns are: {', '.join(there)}"
        )
    return ""


def _has(what: str, name: str, there: dict) -> None:
    if there[choose(what, name, list(there))].is_nested():
        raise UserError(f"{what} {name!r} holds {there[name]}, expected single values")


def _numbers(path: pathlib.Path, frame: pl.DataFrame, name: str) -> np.ndarray:
    """float64, NaN where a value is missing."""
    dtype = frame[name].dtype
    if not (dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null):
        raise UserError(
            f"{path}: column {name!r} holds {dtype}, expected numbers; write labels that are texts "
            "as 0 and 1 in a new column, and name it: --columns=TASK=SCORE:LABEL (score --labels "
            "writes those of a schema file)"
        )
    return frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _known(path: pathlib.Path, name: str, values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Scores, none of which may be missing in the rows that count."""
    bad = np.flatnonzero(~np.isfinite(values) & counted)
    if bad.size:
        raise UserError(
            f"{path}: {bad.size:,} of {values.size:,} scores in column {name!r} are missing or not "
            f"finite, the first in row {bad[0] + 1:,}"
        )
    return values


def _logits(path: pathlib.Path, name: str, p: np.ndarray) -> np.ndarray:
    """The logits of probabilities."""
    bad = np.flatnonzero((p < 0) | (p > 1))
    if bad.size:
        raise UserError(
            f"{path}: column {name!r} has {p[bad[0]]:g} in row {bad[0] + 1:,}, expected "
            "probabilities, from 0 to 1 (a column logit/TASK has logits)"
        )
    with np.errstate(divide="ignore"):
        z = np.log(p) - np.log1p(-p)
    return np.clip(z, -50, 50)  # where the file says 0 or 1


def _kind(labels: np.ndarray) -> str:
    known = labels[~np.isnan(labels)]
    return "binary" if np.isin(known, (0, 1)).all() else "regression"


def _codes(column: pl.Series) -> np.ndarray:
    return np.unique(column.cast(pl.String).fill_null("").to_numpy(), return_inverse=True)[1]

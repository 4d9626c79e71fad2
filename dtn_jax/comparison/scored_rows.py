"""Test rows that a model scored, beside their labels: of a finished run, of several seeds, or of a
Parquet file with a score and a label for each task, by `dtn-jax score` or another system."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.config import differing, identity, plugins
from dtn_jax.errors import UserError, choose
from dtn_jax.export import ranking
from dtn_jax.export.calibration import scores as outputs_of
from dtn_jax.export.model_folder import MANIFEST
from dtn_jax.export.ranking import RANK, RANK_FILE
from dtn_jax.export.score_columns import GROUP, WEIGHT, ScoredBy
from dtn_jax.files import read_json, reading
from dtn_jax.metrics.scores import read_predictions
from dtn_jax.metrics.spaces import logits_in
from dtn_jax.options import pairs
from dtn_jax.run import outcome
from dtn_jax.run.outcome import PREDICTIONS
from dtn_jax.schema import ALL, Schema

NONE = "none"  # --group=none, --weight=none
ASK = (
    "nothing says whether several rows of these files belong together, such as those of one user "
    "or request: without groups p-values would be too small. Give --group=COLUMN, or "
    f"--group={NONE}, which says that rows are independent"
)


@dataclasses.dataclass
class ScoredRows:
    """What one model says of N rows, and what was seen of them.

    Attributes:
      name: of the run or the file, for messages.
      key: `[N]`, the values by which rows are matched.
      labels: {task: `[N]`}, NaN where a label is missing.
      scores: {task@space: `[N]`}, logits of a binary task's probability in the space, or a
        regression's prediction.
      kinds: {task: binary or regression}.
      group: `[N]`; None where there is none.
      weight: `[N]`, by which rows count; None where each counts the same.
      rank: `[N]`, the ranking score of all tasks; None where there is none.
      config: the options of a run that are its identity; None of a file.
      data: the fingerprint of a run's data; "" of a file.
      bins: of the expected calibration error, as the run has them.
      ungrouped: whether rows are known to be in no groups.
    """

    name: str
    key: pl.Series
    labels: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    kinds: dict[str, str]
    group: np.ndarray | None = None
    weight: np.ndarray | None = None
    config: Mapping[str, object] | None = None
    data: str = ""
    bins: int = 15
    ungrouped: bool = False
    rank: np.ndarray | None = None

    def take(self, order: np.ndarray) -> ScoredRows:
        """The same rows in another order."""
        columns = {name: getattr(self, name) for name in ("key", "group", "weight", "rank")}
        return dataclasses.replace(
            self,
            labels={task: label[order] for task, label in self.labels.items()},
            scores={key: score[order] for key, score in self.scores.items()},
            **{name: None if c is None else c[order] for name, c in columns.items()},
        )


def check_finished(folder: pathlib.Path) -> dict:
    """What began the finished run in a folder (`outcome.run_facts`); UserError unless there is one
    that has read test."""
    if (folder / MANIFEST).exists():
        raise UserError(
            f"{folder} is an exported model. Score one file of labelled rows with both models by "
            "dtn-jax score --labels, and compare the outputs (docs/compare.md)"
        )
    if not (folder / "config.json").exists():
        raise UserError(
            f"{folder} holds no run: expected the workdir of a finished run, or a Parquet file of "
            "scores with labels"
        )
    outcome.check_finished(folder)
    if not (folder / PREDICTIONS).exists():
        why = "its run has not read test, as a trial of a sweep"
        raise UserError(f"{folder} has no {PREDICTIONS}: {why}")
    return outcome.run_facts(folder)


def load_plugins(runs: Iterable[pathlib.Path]) -> None:
    """Loads the plug-ins of finished runs, whose metrics are compared; says which it cannot."""
    options = {run: str(check_finished(run)["config"].get("plugins", "")) for run in runs}
    parts = {part.strip(): run for run, option in options.items() for part in option.split(",")}
    for part, run in parts.items():
        try:
            plugins.load(part)
        except UserError as error:
            print(
                f"plug-in {part.partition('#')[0]} of {run} is not loaded ({error}): its metrics "
                "are left out; --plugins=FILE gives them"
            )


def of_run(folder: pathlib.Path) -> tuple[ScoredRows, Schema]:
    """The test rows that a run scored.

    Raises:
      UserError: no finished run that read test, or files that are damaged.
    """
    facts = check_finished(folder)
    with reading(folder / "schema.json", "bring it back from a copy, or train again") as path:
        schema = Schema.load(path)
    scores = read_predictions(folder / PREDICTIONS, schema)
    if bad := np.count_nonzero(~np.isfinite(scores.logits)):
        raise UserError(f"{folder / PREDICTIONS}: {bad} scores are not finite")
    labels = np.where(scores.label_mask, scores.labels, np.nan)
    evaluate = facts["config"].get("evaluate", {})
    rows = ScoredRows(
        name=str(folder),
        key=pl.read_parquet(folder / PREDICTIONS, columns=["row"])["row"],
        labels={task: labels[:, i] for i, task in enumerate(schema.task_names)},
        scores=spaces_of(scores.logits, schema),
        kinds={task.name: task.kind for task in schema.tasks},
        group=scores.group,
        weight=scores.sample_weight if evaluate.get("sample_weights") else None,
        config=identity(facts["config"]),
        data=str(facts["data"]),
        bins=int(evaluate.get("ece_bins", 15)),
        ungrouped=not schema.group,
        rank=rank_of(folder, scores.logits, schema),
    )
    return rows, schema


def rank_of(folder: pathlib.Path, logits: np.ndarray, schema: Schema) -> np.ndarray | None:
    """The ranking score that `dtn-jax rank` has found for the run in a folder; None before."""
    if not (path := folder / RANK_FILE).exists():
        return None

    def parsed(facts: dict) -> np.ndarray:
        columns = outputs_of(logits, schema, schema.task_names, facts["calibration"])
        return ranking.parse(facts["expression"], ranking.names_of([*columns])).score(columns)

    return read_json(path, "delete it, or run dtn-jax rank --replace", parsed)


def spaces_of(logits: np.ndarray, schema: Schema) -> dict[str, np.ndarray]:
    """{task@space: logits}, of all tasks in all spaces in which they are reported."""
    return {
        f"{task.name}@{space}": logits_in(space, task.name, logits, schema)
        for task in schema.tasks
        for space in task.spaces
    }


def check_one_model(runs: list[ScoredRows]) -> None:
    """Raises UserError unless the runs of a side are one model, trained with several seeds."""
    first = runs[0]
    for other in runs[1:]:
        if first.config is None or other.config is None:
            raise UserError(f"{first.name},{other.name}: give one Parquet file a side")
        apart = differing(first.config, other.config)
        if "seed" not in apart:
            raise UserError(f"{first.name} and {other.name} have the same seed: name one of them")
        if len(apart) > 1:
            raise UserError(
                f"{first.name} and {other.name} differ in "
                f"{', '.join(key for key in apart if key != 'seed')}: a side is one model"
            )


@dataclasses.dataclass(frozen=True)
class Columns:
    """How the columns of a Parquet file are called.

    Attributes:
      key: that rows are matched by.
      group, weight: of the groups and of the weights, or "none"; "" for `group` and
        `sample_weight`, if they are there.
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
    logit in `logit/TASK`; of a regression, the prediction. A label is in `label/TASK` or `TASK`, in
    the unit of the score. In a space without a column of its own, scores follow from those of all
    tasks, as of a run. A row without a label of any task need not have scores.

    Args:
      schema: of the run on the other side; None where that is a file too. Then tasks are those
        of the model that wrote it, or that the columns name.
      columns: how they are called.

    Raises:
      UserError: a column is missing, or holds what none of its kind can.
    """
    try:
        there = list(pl.read_parquet_schema(path))
    except Exception as error:
        raise UserError(f"{path} is no Parquet file, or is damaged: {error}") from None
    by = ScoredBy.read(path)
    try:
        if by and not by.written:
            raise UserError("it has no labels: score the rows again with --labels, which writes it")
        return _rows(path, there, by, schema, columns)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _rows(
    path: pathlib.Path,
    there: Sequence[str],
    by: ScoredBy | None,
    schema: Schema | None,
    columns: Columns,
) -> ScoredRows:
    """What `of_file` gives; `there`: the columns of the file, which the model `by` wrote."""
    spaces = {task.name: task.space for task in schema.tasks} if schema else {}
    names = {name: name for name in there}
    for key, (score, label) in columns.named.items():
        task = key.partition("@")[0]
        where = key if "@" in key else f"{key}@{spaces.get(key, ALL)}"
        given = {where: score, f"label/{task}": label}
        # Two files may have other names: those of the one are not in the other.
        names |= {name: column for name, column in given.items() if column in there}

    def column(what: str, *wanted: str) -> str:
        """The first of these names that the file has."""
        if not (have := [names[name] for name in wanted if name in names]):
            raise UserError(
                f"no {what}: expected a column {' or '.join(map(repr, wanted))} (--columns, --key, "
                f"--group and --weight name others); its columns are: {', '.join(there)}"
            )
        return have[0]

    keys = _keys(names, schema, by)
    tasks = list(dict.fromkeys(key.partition("@")[0] for key in keys))
    for key in columns.named:
        choose("task in --columns", key.partition("@")[0], tasks)
    if by and not schema:  # those whose labels say the space of another, too
        tasks = list(dict.fromkeys([*by.needed(), *tasks]))
    more = () if by and by.written else tasks  # a raw column may be in another unit
    labels = {t: column(f"label of {t!r}", f"label/{t}", *[t] * (t in more)) for t in tasks}
    scores = {}
    for key in keys:
        task, _, space = key.partition("@")
        if space == spaces.get(task, ALL):
            scores[key] = column(f"score of {task!r}", key, f"logit/{task}", f"score/{task}")
        elif key in names:
            scores[key] = names[key]

    def optional(what: str, given: str, usual: str) -> str | None:
        """The column that is given, none, or the usual one, if it is there."""
        if not given:
            return names.get(usual)
        return None if given == NONE else column(what, given)

    row, group = column("key", columns.key), optional("group", columns.group, GROUP)
    weight = optional("weight", columns.weight, WEIGHT if not by or by.weight else "")
    rank = RANK if by and RANK in by.outputs and RANK in names else None
    wanted = {*labels.values(), *scores.values(), *filter(None, (row, group, weight, rank))}
    frame = pl.read_parquet(path, columns=sorted(wanted))

    def numbers(name: str | None) -> np.ndarray | None:
        return None if name is None else _numbers(frame[name])

    known = {task: numbers(name) for task, name in labels.items()}
    binary = {task: np.isin(label[~np.isnan(label)], (0, 1)).all() for task, label in known.items()}
    kinds = {task: "binary" if of else "regression" for task, of in binary.items()}
    kinds |= by.kinds if by else {}
    kinds |= {task.name: task.kind for task in schema.tasks} if schema else {}
    counted = ~np.isnan(list(known.values())).all(axis=0)
    given = {}
    for key, name in scores.items():
        is_logit = kinds[key.partition("@")[0]] == "regression" or name.startswith("logit/")
        given[key] = _logits(name, numbers(name), counted, is_logit)
    if schema and all(f"{t.name}@{t.space}" in given for t in schema.tasks):
        of_tasks = [given[f"{t.name}@{t.space}"] for t in schema.tasks]
        given = spaces_of(np.stack(of_tasks, axis=1), schema) | given
    texts = frame[group].cast(pl.String).fill_null("").to_numpy() if group else None
    return ScoredRows(
        name=str(path),
        key=frame[row],
        labels=known,
        scores=given,
        kinds=kinds,
        group=np.unique(texts, return_inverse=True)[1] if group else None,
        weight=numbers(weight),
        rank=numbers(rank),
        ungrouped=columns.group == NONE or (by is not None and not by.group),
    )


def _keys(names: Sequence[str], schema: Schema | None, by: ScoredBy | None) -> list[str]:
    """task@space of each score that there may be, task by task."""
    if schema:
        return [f"{task.name}@{space}" for task in schema.tasks for space in task.spaces]
    keys: dict[str, dict[str, None]] = {}  # {task: them}
    for name in names:
        kind, _, rest = name.partition("/")
        task, _, space = name.partition("@")
        if kind in ("score", "logit"):
            task, space = rest, ALL
        elif not space or not (by or {task, f"label/{task}"} & {*names}):
            continue
        if not by or task in by.kinds:
            keys.setdefault(task, {})[f"{task}@{space}"] = None
    if not keys:
        raise UserError(
            "no scores of any task, each as a column TASK@all or score/TASK with its label in TASK "
            "or label/TASK, or named by --columns=TASK=SCORE:LABEL; its columns are: "
            f"{', '.join(names)}"
        )
    return [key for of_task in keys.values() for key in of_task]


def _numbers(column: pl.Series) -> np.ndarray:
    """float64, NaN where a value is missing."""
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise UserError(
            f"column {column.name!r} holds {column.dtype}, expected numbers; write labels that are "
            "texts as 0 and 1 in a new column, and name it: --columns=TASK=SCORE:LABEL"
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

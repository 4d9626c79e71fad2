"""Test rows that a model scored, beside their labels: of a finished run, and of several seeds."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import polars as pl

from dtn_jax.config import differing, identity
from dtn_jax.errors import UserError
from dtn_jax.export import ranking
from dtn_jax.export.calibration import scores as outputs_of
from dtn_jax.export.model_folder import MANIFEST
from dtn_jax.export.ranking import RANK_FILE
from dtn_jax.files import read_json
from dtn_jax.metrics.spaces import logits_in
from dtn_jax.run import outcome
from dtn_jax.run.evaluate import read_predictions
from dtn_jax.run.outcome import PREDICTIONS
from dtn_jax.schema import Schema


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
      group, weight: `[N]`; None where there is none.
      rank: `[N]`, the ranking score of all tasks; None where there is none.
      config: the options of a run that are its identity; None of a file.
      data: the fingerprint of a run's data; "" of a file.
      weighted: whether rows count by their weights, as the run has them.
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
    weighted: bool = False
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


def of_run(folder: pathlib.Path) -> tuple[ScoredRows, Schema]:
    """The test rows that a run scored.

    Raises:
      UserError: no finished run that read test, or files that are damaged.
    """
    facts = check_finished(folder)
    try:
        schema = Schema.load(folder / "schema.json")
        scores = read_predictions(folder / PREDICTIONS, schema)
        if bad := np.count_nonzero(~np.isfinite(scores.logits)):
            raise ValueError(f"{bad} scores in {PREDICTIONS} are not finite")
        labels = np.where(scores.label_mask, scores.labels, np.nan)
        evaluate = facts["config"].get("evaluate", {})
        rows = ScoredRows(
            name=str(folder),
            key=pl.read_parquet(folder / PREDICTIONS, columns=["row"])["row"],
            labels={task: labels[:, i] for i, task in enumerate(schema.task_names)},
            scores=spaces_of(scores.logits, schema),
            kinds={task.name: task.kind for task in schema.tasks},
            group=scores.group,
            weight=scores.sample_weight,
            config=identity(facts["config"]),
            data=str(facts["data"]),
            weighted=bool(evaluate.get("sample_weights", False)),
            bins=int(evaluate.get("ece_bins", 15)),
            ungrouped=not schema.group,
            rank=rank_of(folder, scores.logits, schema),
        )
    except UserError:
        raise
    except Exception as error:  # pyarrow and polars raise many kinds
        raise UserError(f"the run in {folder} is damaged ({error})") from None
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

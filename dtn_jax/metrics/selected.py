"""What `train.select` names: tasks, each with the metric by which states are compared.

    mean                    AUC of binary tasks and R² of regressions, the mean over all tasks
    click                   of one task
    click+order             the mean over some
    click:logloss           another metric, of any of those: click:logloss+order:logloss
    mean:logloss            the mean over all tasks that have the metric

Values are the metric's own everywhere, in logs, results, checkpoints and sweeps; only comparisons
know whether higher or lower is better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from dtn_jax.errors import UserError, choose
from dtn_jax.metrics import FIRST, METRICS
from dtn_jax.metrics.metric import Metric, Value
from dtn_jax.schema import MEAN, Schema


@dataclasses.dataclass(frozen=True)
class Selection:
    """A way to compare states.

    Attributes:
      metrics: {task: its metric}, one at least, all of one direction.
    """

    metrics: Mapping[str, Metric]

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher `value` is better."""
        return next(iter(self.metrics.values())).higher_is_better

    @property
    def title(self) -> str:
        """The metrics' titles, each once."""
        return " and ".join(dict.fromkeys(m.title for m in self.metrics.values()))

    def value(self, results: Mapping[str, Mapping[str, Value]]) -> float | None:
        """The mean over its tasks of their metrics, those that are defined; None when none is.

        Args:
          results: {task: {metric: value}}, in the space of the task's loss.
        """
        return mean_of(results[task][metric.name] for task, metric in self.metrics.items())

    def better(self, value: float | None, best: float | None) -> bool:
        """Whether a value beats the best so far; any that is defined beats None."""
        return next(iter(self.metrics.values())).better(value, best)


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of those that are defined; None when none is."""
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else None


def metrics_of(schema: Schema) -> dict[str, list[str]]:
    """{task: the names of the metrics that it has}."""
    grouped = bool(schema.group)
    return {
        task.name: [name for name, metric in METRICS.items() if metric.fits(task.kind, grouped)]
        for task in schema.tasks
    }


def first_metric(has: Collection[str]) -> Metric:
    """The one of a task where none is named: AUC, R² of a regression."""
    return METRICS[next(name for name in FIRST if name in has)]


def read_selection(what: str, text: str, has: Mapping[str, Collection[str]]) -> Selection:
    """Reads `train.select`; see the module.

    Args:
      what: the option's name, for messages.
      text: its value.
      has: {task: the names of the metrics that it has}.

    Raises:
      UserError: no such task, a task named twice, a metric that the task has not or that selects
        no state, metrics of both directions.
    """
    parts = [part.partition(":") for part in text.split("+")]
    names = [task for task, _, _ in parts]
    if len(set(names)) < len(names):
        raise UserError(f"{what}: a task is named twice in {text!r}")
    metrics: dict[str, Metric] = {}
    if names == [MEAN]:
        (_, named, metric), *_ = parts
        tasks = list(has)
        if named:
            tasks = [task for task in has if metric in has[task]] or tasks[:1]
        metrics = {task: _metric(what, task, named, metric, has[task]) for task in tasks}
    else:
        for task, named, metric in parts:
            choose(what, task, [MEAN, *has] if len(parts) == 1 else has)
            metrics[task] = _metric(what, task, named, metric, has[task])
    directions = {metric.higher_is_better for metric in metrics.values()}
    if len(directions) > 1:
        raise UserError(
            f"{what}={text}: of some of these higher values are better, of others lower ones; "
            f"expected metrics of one direction, such as {'+'.join(metrics)}"
        )
    return Selection(metrics)


def _metric(what: str, task: str, named: str, name: str, has: Collection[str]) -> Metric:
    """The metric of a task: the one that is named, or its first."""
    if not named:
        return first_metric(has)
    choices = [known for known in has if known in METRICS and METRICS[known].selectable]
    return METRICS[choose(f"metric of {task} in {what}", name, choices)]


def higher_is_better(text: str) -> bool:
    """The direction of a selection that was read before, from its text alone.

    Raises:
      UserError: no such metric.
    """
    named = [part.partition(":")[2] for part in text.split("+") if ":" in part]
    return all(METRICS[choose("metric", name, METRICS)].higher_is_better for name in named)

"""Tables of a run's results, for the terminal; alone, since pictures load matplotlib."""

from __future__ import annotations

from collections.abc import Mapping

import rich.console

from dtn_jax.metrics import METRICS, Value
from dtn_jax.metrics.selected import first_metric
from dtn_jax.report.grid import Grid
from dtn_jax.schema import TASK_KINDS, Schema

FEW = 7  # metrics that a terminal of WIDE columns has room for with a blank more between them
WIDE = 80
Results = Mapping[str, Mapping[str, Value]]


def splits_table(
    splits: Mapping[str, Results], schema: Schema, title: str = ""
) -> rich.console.Group:
    """A table of metrics, with a section per split and a row per task@space; "n/d": not defined.

    Args:
      splits: {split: {task@space: metrics}}, as `measure` gives them.
      schema: says which tasks are regression tasks; these have a table of their own below.
      title: shown above the table.
    """
    shown = []
    for kind in TASK_KINDS:
        grid = kind_grid(splits, schema, kind, title if not shown else "")
        if grid.rows:
            shown += [""] if shown else []
            shown.append(grid.terminal(WIDE, gap=1 if len(grid.header) > FEW + 1 else 2))
    return rich.console.Group(*shown)


def kind_grid(splits: Mapping[str, Results], schema: Schema, kind: str, title: str) -> Grid:
    """Of the tasks of a kind; without columns that no row has: GAUC without groups, and metrics
    added after the run."""
    tasks = {task.name for task in schema.tasks if task.kind == kind}
    lines = [
        (split, {key: values for key, values in results.items() if key.partition("@")[0] in tasks})
        for split, results in splits.items()
    ]
    there = {name for _, results in lines for values in results.values() for name in values}
    columns = [m for m in METRICS.values() if m.column and m.name in there]
    rows, rules = [], []
    for split, results in lines:
        if results:
            rules.append(len(rows))
            rows.append([split, *("" for _ in columns)])
        for key, values in results.items():
            texts = (m.text(values[m.name]) if m.name in values else "" for m in columns)
            rows.append([key, *texts])
    return Grid(["task@space", *(m.column for m in columns)], rows, title, rules=rules[1:])


def days_table(by_day: Mapping[str, Results], schema: Schema) -> rich.console.Group:
    """A line a day of each task's first metric, in the space of its loss.

    Args:
      by_day: {day: {task@space: metrics}}, of days that were scored before they were trained on.
      schema: the tasks.
    """
    columns = {"day": list(by_day)}
    for task in schema.tasks:
        daily = [results[f"{task.name}@{task.space}"] for results in by_day.values()]
        metric = first_metric(daily[0])
        columns[f"{task.name}\n{metric.column}"] = [metric.text(day[metric.name]) for day in daily]
    title = "each day before it was trained on"
    return Grid(list(columns), list(zip(*columns.values())), title).terminal(WIDE)

"""Tables of a run's results, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import rich.box
import rich.table
import rich.text

from dtn_jax.metrics import METRICS, Metric, Value
from dtn_jax.schema import TASK_KINDS, Schema

FEW = 7  # metrics that a terminal of 80 columns has room for beside any task@space
ROOM = 11  # letters of task@space that it has room for beside more
Results = Mapping[str, Mapping[str, Value]]


def label(key: str) -> str:
    """task@space, in two lines if 80 columns would cut it beside many metrics."""
    return key if len(key) <= ROOM else key.replace("@", "\n@")


def shown(splits: Mapping[str, Results], schema: Schema, kind: str) -> dict[str, Metric]:
    """The metrics of a kind of task that a table has columns for, without those that no row has:
    GAUC without groups, and metrics added after the run."""
    tasks = {task.name for task in schema.tasks if task.kind == kind}
    there = {
        name
        for results in splits.values()
        for key, found in results.items()
        if key.partition("@")[0] in tasks
        for name in found
    }
    return {name: m for name, m in METRICS.items() if m.column and name in there}


def splits_table(
    splits: Mapping[str, Results], schema: Schema, title: str = ""
) -> rich.table.Table:
    """A table of metrics, with a section per split and a row per task@space; "n/d": not defined.

    Args:
      splits: {split: {task@space: metrics}}, as `measure` gives them.
      schema: says which tasks are regression tasks; these have a table of their own below.
      title: shown above the table.
    """
    grid = rich.table.Table.grid()
    grid.title = title or None
    kinds = {task.name: task.kind for task in schema.tasks}
    for kind in TASK_KINDS:
        columns = shown(splits, schema, kind)
        dense = len(columns) > FEW
        table = rich.table.Table(
            box=rich.box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 0 if dense else 1, 0, 0),
        )
        table.add_column("task@space", overflow="fold", style="bold", vertical="bottom")
        for metric in columns.values():
            table.add_column(metric.column, justify="right", no_wrap=True, vertical="bottom")
        for split, results in splits.items():
            rows = {k: v for k, v in results.items() if kinds[k.partition("@")[0]] == kind}
            if rows:
                table.add_section()
                table.add_row(rich.text.Text(split, "italic not bold"))
            for key, found in rows.items():
                table.add_row(
                    label(key) if dense else key,
                    *(m.text(found[name]) if name in found else "" for name, m in columns.items()),
                )
        if table.row_count:
            if grid.row_count:
                grid.add_row("")
            grid.add_row(table)
    return grid

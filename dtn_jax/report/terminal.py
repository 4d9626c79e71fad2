"""Tables of a run's results, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import rich.box
import rich.table
import rich.text

from dtn_jax.metrics import METRICS, Metric, Value
from dtn_jax.metrics.selected import first_metric
from dtn_jax.schema import TASK_KINDS, Schema

FEW = 7  # metrics that a terminal of WIDE columns has room for with a blank more between them
WIDE = 80
Results = Mapping[str, Mapping[str, Value]]


def label(key: str, room: int) -> str:
    """task@space, in two lines where one would have more than `room` letters."""
    return key if len(key) <= room else key.replace("@", "\n@")


def room_beside(columns: Iterable[Sequence[str]]) -> int:
    """The letters of task@space for which WIDE columns have room, beside columns of texts."""
    lines = ([line for text in column for line in text.split("\n")] for column in columns)
    return WIDE - sum(1 + max(map(len, texts), default=0) for texts in lines)


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
        texts = {
            split: {
                key: [m.text(found[name]) if name in found else "" for name, m in columns.items()]
                for key, found in results.items()
                if kinds[key.partition("@")[0]] == kind
            }
            for split, results in splits.items()
        }
        every = [[metric.column for metric in columns.values()]]
        every += [cells for rows in texts.values() for cells in rows.values()]
        room = room_beside(zip(*every))
        for split, rows in texts.items():
            if rows:
                table.add_section()
                table.add_row(rich.text.Text(split, "italic not bold"))
            for key, cells in rows.items():
                table.add_row(label(key, room) if dense else key, *cells)
        if table.row_count:
            if grid.row_count:
                grid.add_row("")
            grid.add_row(table)
    return grid


def days_table(by_day: Mapping[str, Results], schema: Schema) -> rich.table.Table:
    """A line a day of each task's first metric, in the space of its loss, and its base rate.

    Tasks for which WIDE columns have no room follow below.

    Args:
      by_day: {day: {task@space: metrics}}, of days that were scored before they were trained on.
      schema: the tasks.
    """
    grid = rich.table.Table.grid()
    grid.title = "each day before it was trained on"
    days, tasks = ["day", *by_day], []
    for task in schema.tasks:
        found = [own[f"{task.name}@{task.space}"] for own in by_day.values()]
        first, rate = first_metric(found[0]), METRICS["base_rate"]
        own = [[f"{task.name}\n{first.column}", *(first.text(m[first.name]) for m in found)]]
        if rate.name in found[0]:
            own.append([rate.column, *(rate.text(m[rate.name]) for m in found)])
        tasks.append(own)
    while tasks:
        some = [days, *tasks.pop(0)]
        while tasks and room_beside([*some, *tasks[0]]) >= 0:
            some += tasks.pop(0)
        table = rich.table.Table(
            box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0
        )
        for head, *_ in some:
            side = "left" if head == "day" else "right"
            table.add_column(head, justify=side, no_wrap=True, vertical="bottom")
        for cells in zip(*(column[1:] for column in some)):
            table.add_row(*cells)
        if grid.row_count:
            grid.add_row("")
        grid.add_row(table)
    return grid

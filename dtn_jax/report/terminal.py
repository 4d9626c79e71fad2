"""What a run shows in the terminal: the tables of its results."""

from __future__ import annotations

from collections.abc import Mapping

import rich.box
import rich.table
import rich.text

from dtn_jax.schema import Schema

Number = float | int
ROOM = 11  # letters of task@space that a terminal of 80 columns has room for beside GAUC
Results = Mapping[str, Mapping[str, Number | None]]

_BINARY = {
    "AUC": ("auc", ".4f"),
    "GAUC": ("gauc", ".4f"),  # left out where no row has it: without groups
    "log\nloss": ("logloss", ".4f"),
    "ECE": ("ece", ".4f"),
    "mean\npred.": ("mean_prediction", "%"),
    "base\nrate": ("base_rate", "%"),
    "positives": ("positives", ",d"),
    "examples": ("examples", ",d"),
}
_REGRESSION = {
    "RMSE": ("rmse", ".4g"),
    "MAE": ("mae", ".4g"),
    "R²": ("r2", ".4f"),
    "examples": ("examples", ",d"),
}


def _cell(value: Number | None, form: str) -> str:
    if value is None:
        return "n/d"
    if form == "%":  # three digits, whatever the rate
        return f"{100 * value:#.3g}%" if value >= 1e-4 else f"{100 * value:.1g}%"
    return format(value, form)


def label(key: str) -> str:
    """task@space in two lines where 80 columns would cut it: with GAUC beside it."""
    return key if len(key) <= ROOM else key.replace("@", "\n@")


def splits_table(
    splits: Mapping[str, Results], schema: Schema, title: str = ""
) -> rich.table.Table:
    """The metrics of some splits, a section each, a row per task@space; "n/d": not defined.

    Args:
      splits: {split: {task@space: metrics}}, the metrics as `metrics.binary_metrics` and
        `regression_metrics` give them.
      schema: tells binary tasks from regression tasks, which get a table of their own below.
      title: stands above.
    """
    grid = rich.table.Table.grid()
    grid.title = title or None
    kinds = {task.name: task.kind for task in schema.tasks}
    grouped = any("gauc" in metrics for results in splits.values() for metrics in results.values())
    binary = {k: v for k, v in _BINARY.items() if grouped or k != "GAUC"}
    for kind, columns in (("binary", binary), ("regression", _REGRESSION)):
        table = rich.table.Table(
            box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
        )
        table.add_column("task@space", overflow="fold", style="bold", vertical="bottom")
        for name in columns:
            table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
        for split, results in splits.items():
            rows = {k: v for k, v in results.items() if kinds[k.partition("@")[0]] == kind}
            if rows:
                table.add_section()
                table.add_row(rich.text.Text(split, "italic not bold"))
            for key, metrics in rows.items():
                table.add_row(
                    label(key) if grouped else key,
                    *(_cell(metrics[m], form) for m, form in columns.values()),
                )
        if table.row_count:
            if grid.row_count:
                grid.add_row("")
            grid.add_row(table)
    return grid

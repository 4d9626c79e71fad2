"""The tables of a run's metrics in the terminal: by split and by day."""

import io

import rich.console
from results_by_day import by_day

from dtn_jax.report import terminal as report
from dtn_jax.schema import Field, Schema, Task

BINARY = {
    "auc": 0.81234,
    "logloss": 0.32106,
    "ece": 0.01234,
    "positives": 1_234_567,
    "examples": 12_345_678,
    "base_rate": 0.1,
    "mean_prediction": 0.0009876,
}
NOTHING = dict.fromkeys(BINARY) | {"positives": 0, "examples": 0}
REGRESSION = {"rmse": 12.345678, "mae": 9.87, "r2": -0.25, "examples": 77}


def schema(*tasks):
    return Schema("shop", fields=(Field("item", rows=3),), tasks=tasks)


SCHEMA = schema(
    Task("click"),
    Task("conversion", space="click", also_report=("all",)),
    Task("seconds", kind="regression"),
)
RESULTS = {
    "click@all": BINARY,
    "conversion@click": NOTHING,
    "conversion@all": BINARY,
    "seconds@all": REGRESSION,
}


def text_of(table, width=80):
    console = rich.console.Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table)
    return console.file.getvalue()


def row(text, key):
    return next(line.split()[1:] for line in text.splitlines() if line.startswith(key))


def test_a_split():
    text = text_of(report.splits_table({"test": RESULTS}, SCHEMA, "Test"))
    assert text.splitlines()[0].strip() == "Test"
    expected = ["0.8123", "0.3211", "0.0123", "0.0988%", "10.0%", "1,234,567", "12,345,678"]
    assert row(text, "click@all") == row(text, "conversion@all") == expected
    assert row(text, "conversion@click") == ["n/d"] * 5 + ["0", "0"]
    assert row(text, "seconds@all") == ["12.35", "9.87", "-0.2500", "77"]
    for header in ("AUC", "ECE", "posi-", "exam-", "RMSE", "MAE", "R²"):
        assert header in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_every_metric_has_room_and_one_that_a_row_lacks_is_empty():
    """Results of before a metric was added stand beside newer ones."""
    new = BINARY | {"gauc": 0.7071, "average_precision": 0.4321}
    splits = {"validation": {"conversion@all": BINARY}, "test": {"conversion@all": new}}
    text = text_of(report.splits_table(splits, SCHEMA))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("conversion@all")]
    older, newer, *more = lines  # in two parts
    common = ["0.3211", "0.0123", "0.0988%", "10.0%", "1,234,567", "12,345,678"]
    assert older + more[0] == ["0.8123", *common]
    assert newer + more[1] == ["0.8123", "0.7071", "0.4321", *common]


def test_a_line_a_day_of_each_tasks_first_metric():
    given = schema(Task("click"), Task("seconds", kind="regression"))
    lines = text_of(report.days_table(by_day(("click", "seconds")), given))
    rows = [line.split() for line in lines.splitlines() if line.startswith("2022")]
    assert rows[0] == ["2022-04-08", "0.5000", "0.0000"]
    assert rows[3] == ["2022-04-11", "0.8000", "0.3000"]
    assert lines.index("click") < lines.index("seconds")

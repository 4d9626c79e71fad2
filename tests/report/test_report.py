"""The tables in the terminal."""

import io

import pytest
import rich.console

from dtn_jax.metrics import METRICS, Metric
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


def test_only_the_tables_that_have_rows():
    only_click = {"click@all": BINARY}
    text = text_of(report.splits_table({"test": only_click}, schema(Task("click"))))
    assert "AUC" in text
    assert "RMSE" not in text


def test_within_groups_only_where_there_are_groups():
    few = {"gauc": 0.7071, "positives": 4321, "examples": 98_765}
    grouped = {k: v | few for k, v in RESULTS.items() if "click" in k}
    grouped["conversion@click"]["gauc"] = None  # no group has both classes
    table = report.splits_table({"test": grouped | {"seconds@all": REGRESSION}}, SCHEMA)
    text = text_of(table, width=100)
    assert "GAUC" in text
    assert row(text, "click@all")[:3] == ["0.8123", "0.7071", "0.3211"]
    assert row(text, "conversion@click")[1] == "n/d"
    assert row(text, "seconds@all") == ["12.35", "9.87", "-0.2500", "77"]
    assert "…" not in text_of(table)  # long keys are folded
    assert "GAUC" not in text_of(report.splits_table({"test": RESULTS}, SCHEMA))


def test_every_metric_has_room_and_one_that_a_row_lacks_is_empty():
    """Results of before a metric was added stand beside newer ones."""
    new = BINARY | {"gauc": 0.7071, "average_precision": 0.4321}
    splits = {"validation": {"conversion@all": BINARY}, "test": {"conversion@all": new}}
    text = text_of(report.splits_table(splits, SCHEMA))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    lines = [line.split() for line in text.splitlines() if line.startswith("@all")]
    common = ["0.3211", "0.0123", "0.0988%", "10.0%", "1,234,567", "12,345,678"]
    assert lines == [
        ["@all", "0.8123", *common],
        ["@all", "0.8123", "0.7071", "0.4321", *common],
    ]


def test_a_metric_of_ones_own_has_a_column(monkeypatch):
    mine = Metric("mine", "mine", lambda rows: 0.5, format=".1f", column="mine")
    monkeypatch.setitem(METRICS, "mine", mine)
    text = text_of(
        report.splits_table({"test": {"click@all": BINARY | {"mine": 0.5}}}, schema(Task("click")))
    )
    assert row(text, "click@all")[-1] == "0.5"


def test_splits_stand_below_each_other():
    splits = {"validation": RESULTS, "test": {**RESULTS, "click@all": BINARY | {"auc": 0.5}}}
    lines = text_of(report.splits_table(splits, SCHEMA)).splitlines()
    first = [line.split()[0] for line in lines if line.strip()]
    binary = ["click@all", "conversion@click", "conversion@all"]
    start = first.index("validation")
    assert first[start : start + 8] == ["validation", *binary, "test", *binary]
    clicks = [line.split()[1] for line in lines if line.startswith("click@all")]
    assert clicks == ["0.8123", "0.5000"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("value", "format", "text"),
    [
        (None, "%", "n/d"),
        (0.0, "%", "0%"),
        (1.0, "%", "100.%"),
        (0.456, "%", "45.6%"),
        (0.01, "%", "1.00%"),
        (2e-6, "%", "0.0002%"),
        (1234.5, ".4g", "1234"),
    ],
)
def test_numbers(value, format, text):
    metric = Metric("m", "a metric", compute=lambda rows: None, format=format)
    assert metric.text(value).replace("100%", "100.%") == text

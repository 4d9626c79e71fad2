"""Tasks, splits and the rest of a schema file that make no sense: a message with file and line."""

import pytest
from schema_files import SMALL, spoiled

from dtn_jax.datasets.logs.schema.schema_file import loads
from dtn_jax.errors import UserError


def refused(text):
    with pytest.raises(UserError) as caught:
        loads(text, "shop.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("task", "part"),
    [
        ("x: {labl: y}", "unknown key of task 'x': 'labl'. Did you mean 'label'?"),
        ("x: {kind: bineary}", "unknown kind of task 'x': 'bineary'. Did you mean 'binary'?"),
        ("x: {positives_outside: 2}", "of task 'x': expected a share, from 0 to 1, got '2'"),
        ("x: {kind: regression, positives_outside: 1}", "positives_outside is an option of binary"),
        ("x: {range: [0, 1]}", "range is an option of regression; task 'x' is binary"),
        (
            "x: {kind: regression, range: 5}",
            "range of task 'x': expected two numbers such as [0, 12]",
        ),
        ("x: {kind: regression, range: [0, a]}", "range of task 'x': expected a number, got 'a'"),
        ("x: {kind: regression, range: [5, 1]}", "expected the smaller number first, got [5, 1]"),
        ("x: {label: watch > }", "label 'watch >': expected a column"),
        (
            "x: {label: watch = 3}",
            "label 'watch = 3': '= 3' at character 7 is not understood; expected '=='",
        ),
        ("x: {known: shown >}", "known 'shown >': expected a column"),
        ("x: {label: user > 3}", None),
        ("x: {space: clik}", "unknown space of task 'x': 'clik'. Did you mean 'click'?"),
        ("x: {space: x}", "task 'x' cannot have the space 'x'"),
        ("x: {also_report: [ordr]}", "unknown space of task 'x': 'ordr'. Did you mean 'order'?"),
        ("x: {upstream: [clik]}", "unknown upstream task of 'x': 'clik'. Did you mean 'click'?"),
        ("x: {upstream: [x]}", "the task graph has a cycle: x -> x"),
        ("all: {}", "a task cannot be called 'all'"),
        ("a@b: {}", "a task cannot be called 'a@b'"),
    ],
)
def test_tasks(task, part):
    message = refused(spoiled(task=task))
    if part is None:  # told at the field
        assert message.startswith("shop.yaml, line 2: field 'user' reads 'user', a column of")
        return
    assert message.startswith("shop.yaml, line 7: "), message
    assert part in message


def test_circles_of_tasks():
    message = refused(spoiled(task="a: {upstream: [b]}\n  b: {upstream: [a]}"))
    assert message.startswith("shop.yaml, line 7: the task graph has a cycle: ")
    message = refused(spoiled(task="a: {space: b}\n  b: {space: a}"))
    assert message.startswith("shop.yaml, line 7: the spaces of tasks lead in a circle: a -> b")
    message = refused(spoiled(task="a: {kind: regression}\n  b: {space: a}"))
    assert "task 'b' cannot have the space 'a'" in message


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (
            "group: click",
            "the group column 'click' is a column of the label of task 'click' (line 5)",
        ),
        ("weight: click", "rows would weigh by the answer"),
        ("time: click", "rows would be ordered by the answer"),
        ("time: {unit: ms}", "time: expected a key 'column'"),
        ("time: {column: t, unit: m}", "unknown unit of time 'm'. Did you mean 'ms'?"),
        ("time: {colum: t}", "unknown key of time 'colum'. Did you mean 'column'?"),
        ("time: [t]", "time: expected a text, got a list"),
        ("split: {by: tiem}", "unknown by of split 'tiem'. Did you mean 'time'?"),
        ("split: time", "split by time needs the time column: time: t"),
        ("split: {by: time}", "split by time needs the time column: time: t"),
        ("split: {by: user_order}", "split by user_order needs the time column"),
        ("split: group", "split by group needs the column of the groups: group: user_id"),
        ("split: column", "split by column: expected a key 'column'"),
        ("split: {by: column, column: click}", "each split would have one class"),
        ("split: {by: column, column: c, test: 0.1}", "test is an option of time or user_order"),
        ("split: {by: column, column: c, values: {train: 1, test: 2}}", "validation has none"),
        (
            "split: {by: column, column: c, validation: 0.1, values: {validation: 1}}",
            "validation of split is a share of train, and values name some too",
        ),
        (
            "split: {by: column, column: c, validation: 0.1, values: {train: 1}}",
            "values of split: test has none",
        ),
        (
            "split: {by: column, column: c, validation: 2}",
            "validation of split: expected a share of train, above 0 and below 1, got '2'",
        ),
        ("split: {by: column, column: c, seed: 1}", "nothing is drawn without validation"),
        (
            "split: {by: column, column: c, values: {trian: 1}}",
            "unknown split 'trian'. Did you mean 'train'?",
        ),
        (
            "split: {by: column, column: c, values: {train: 1, validation: 2, test: [3, 1]}}",
            "the value '1' is in train and in test",
        ),
        ("split: {by: random, column: c}", "column is an option of column; the split is random"),
        ("split: {seed: -1}", "seed of split: expected a whole number, at least 0"),
        (
            "split: {test: 1}",
            "test of split: expected a share of the rows, above 0 and below 1, got '1'",
        ),
        ("split: {test: 0}", "expected a share of the rows, above 0 and below 1, got '0'"),
        ("split: {test: -0.1}", "expected a share of the rows, above 0 and below 1, got '-0.1'"),
        (
            "split: {validation: 0.5, test: 0.5}",
            "are 1 of the rows together: nothing is left to train",
        ),
        ("split: {validation: 2026-03-05}", "expected a share of the rows"),
        ("sample_negatives: 0.1", "sample_negatives: expected {task: rate}, got '0.1'"),
        (
            "sample_negatives: {clik: 0.1}",
            "unknown task in sample_negatives 'clik'. Did you mean 'click'?",
        ),
        (
            "sample_negatives: {click: 0}",
            "rate of 'click' in sample_negatives: expected a number from 1e-09 to 1, got '0'",
        ),
        ("sample_negatives: {click: 1.5}", "expected a number from 1e-09 to 1, got '1.5'"),
        ("sample_negatives: {click: 1e-320}", "expected a number from 1e-09 to 1"),
        ("sample_negatives: {click: 10%}", "expected a number, got '10%'"),
        ("input: {format: cvs}", "unknown format of input 'cvs'. Did you mean 'csv'?"),
        (
            "input: {format: parquet, separator: ;}",
            "separator is an option of csv; the format is parquet",
        ),
        ("input: {separator: ', '}", "separator of input: expected one character"),
        ("input: {columns: [a, b, a]}", "columns of input: 'a' is listed twice"),
        ("input: {seperator: ;}", "unknown key of input 'seperator'. Did you mean 'separator'?"),
        ("about: {license: MIT}", "unknown key of about 'license'. Did you mean 'licence'?"),
        (
            "about: a set",
            "about: expected keys and values, of citation, licence, home, protocol, got 'a set'",
        ),
    ],
)
def test_the_rest(more, part):
    message = refused(spoiled(more=more))
    assert message.startswith("shop.yaml, line 7: "), message
    assert part in message


@pytest.mark.parametrize(
    ("split", "part"),
    [
        (
            "{validation: 2026-03-08, test: 2026-03-05}",
            "starts at 2026-03-08, expected a time before test",
        ),
        ("{validation: 2026-03-08, test: 2026-03-08}", "expected a time before test, 2026-03-08"),
        ("{validation: 2026-03-08}", "validation of split is a time: expected a time for test too"),
        (
            "{validation: 0.1, test: 2026-03-08}",
            "test of split is a time: expected a time for validation",
        ),
        ("{validation: soon, test: 2026-03-08}", "validation of split: expected "),
        ("{validation: 2026-02-30, test: 2026-03-08}", "got '2026-02-30'"),
        (
            "{validation: 5, test: 2026-03-08}",
            "split: validation starts at a number and test at a date",
        ),
        ("{by: user_order, validation: 1.5, test: 1}", "or a number of rows, from 1 on, got '1.5'"),
    ],
)
def test_times_of_a_split(split, part):
    message = refused(spoiled(more=f"split: {split}\ntime: t\ngroup: g"))
    assert message.startswith("shop.yaml, line 7: "), message
    assert part in message


def test_a_regression_has_no_negatives():
    text = spoiled(task="w: {kind: regression}", more="sample_negatives: {w: 0.5}")
    assert "line 8: sample_negatives: 'w' is a regression, expected a binary task" in refused(text)


def test_the_small_file_itself_is_good():
    assert [field.name for field in loads(SMALL).fields] == ["user", "item"]
    assert loads(spoiled("x: {}", "y: {}", "group: user")).tasks[2].line == 8

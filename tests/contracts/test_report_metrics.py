"""The tables and pictures of a run's metrics, by split, by day and over training."""

import matplotlib.dates
import matplotlib.image
import numpy as np
import pytest
from console_text import as_shown

from dtn_jax.report import pictures, plots
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


def text_of(table):
    return as_shown(table, force_terminal=False)


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


# What goes into the pictures of a run, and that they are pictures.


def picture(path):
    """The picture as `[height, width, 4]`, checked to be a PNG with something on it."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = matplotlib.image.imread(path)
    assert min(pixels.shape[:2]) > 400
    assert len(np.unique(pixels[::5, ::5, 0])) > 10
    return pixels


def history():
    rng = np.random.default_rng(0)
    records = []
    for step in range(20, 2001, 20):
        train = {"loss/click": 0.4 + 0.3 * np.exp(-step / 500), "loss/order": 0.02 + rng.random()}
        records.append({"kind": "train", "step": step, "epoch": step // 1000, **train})
        if step % 500 == 0:
            validation = {"click@all/auc": 0.7 + step * 1e-5, "click@all/logloss": 0.3}
            validation |= {"order@click/auc": None if step == 500 else 0.6, "stars@all/r2": 0.1}
            records.append({"kind": "validation", "step": step, **validation})
    return records


@pytest.mark.parametrize("records", [history(), []], ids=["full", "none"])
def test_learning_curves(records, tmp_path, drawn):
    path = tmp_path / "plots" / "learning.png"
    plots.learning_curves(records, path)
    picture(path)


@pytest.fixture
def figures(monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "save_small", lambda figure, path: drawn.append(figure))
    return drawn


@pytest.mark.parametrize("validated", [True, False])
def test_a_balancers_weights_and_gradients_have_panels(validated, figures, tmp_path):
    records = [record for record in history() if validated or record["kind"] == "train"]
    plots.learning_curves(records, tmp_path / "a.png")
    for record in records:
        if record["kind"] == "train":
            record |= {"weight/click": 1.0 + record["step"], "weight/order": 0.0}
            record |= {"norm/click": 0.1, "norm/order": 0.2, "cosine/click/order": -0.5}
    plots.learning_curves(records, tmp_path / "a.png")
    titles, balanced = ([axes.get_title("left") for axes in figure.axes] for figure in figures)
    two = [f"{what} of the tasks' gradients" for what in ("Lengths", "Cosines")]
    assert balanced == [titles[0], "Weights by loss.balancing", *two, *titles[1:]]
    tasks = ["click", "order"]
    for axes, expected in zip(figures[1].axes[1:4], (tasks, tasks, ["click, order"])):
        assert [text.get_text() for text in axes.get_legend().get_texts()] == expected
    assert figures[1].axes[3].get_lines()[0].get_ydata()[-1] == -0.5


# ---------------------------------------------------------------- by day


def test_a_panel_a_metric_with_a_line_a_task_and_space(figures, tmp_path):
    plots.by_day(by_day(), tmp_path / "a.png")
    panels = {axes.get_title("left"): axes for axes in figures[0].axes}
    assert list(panels) == ["AUC", "GAUC", "R²", "base rate"]
    lines = {line.get_label(): line for line in panels["AUC"].get_lines()}
    assert {"click@all", "click@order", "order@all"} <= set(lines)
    days = matplotlib.dates.date2num(np.arange("2022-04-08", "2022-04-12", dtype="M8[D]"))
    np.testing.assert_array_equal(lines["click@all"].get_xdata(), days)
    np.testing.assert_allclose(lines["click@all"].get_ydata(), [0.5, 0.6, 0.7, 0.8])
    assert len(panels["GAUC"].get_lines()[0].get_xdata()) == 3  # not defined on the first day
    figures[0].canvas.draw()
    labels = {text.get_text() for text in panels["AUC"].get_xticklabels()}
    assert "2022-04-09" in labels
    assert "seconds@all" in {text.get_text() for text in panels["R²"].get_legend().get_texts()}


# Results by day as a run that scores each day first leaves them.


TASKS = ("click", "order", "a_task_of_a_long_name", "another_of_a_long_name", "seconds")


def by_day(names=TASKS, days=4):
    """{day: {task@space: its metrics}}; on the first day GAUC is not defined."""
    found = {}
    for n in range(days):
        binary = {"auc": 0.5 + n / 10, "gauc": None if n == 0 else 0.6, "logloss": 0.3}
        binary |= {"base_rate": 0.01 * (n + 1), "positives": n, "examples": 100}
        own = {f"{name}@all": binary for name in names if name != "seconds"}
        own |= {"click@order": binary} if "order" in names else {}
        own |= {"seconds@all": {"r2": 0.1 * n, "rmse": 3.0}} if "seconds" in names else {}
        found[f"2022-04-{n + 8:02d}"] = own
    return found

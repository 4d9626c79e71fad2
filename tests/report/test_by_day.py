"""Metrics by day: the terminal's table, the picture, and what the progress bar says."""

import io

import matplotlib.dates
import matplotlib.image
import numpy as np
import pytest
import rich.console

from dtn_jax.report import day_plots, plots, terminal
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.report.trackers.tracker import numbers
from dtn_jax.schema import Field, Schema, Task

TASKS = ("click", "order", "a_task_of_a_long_name", "another_of_a_long_name", "seconds")


def schema(names=TASKS):
    kinds = {"seconds": "regression"}
    tasks = [Task(name, kinds.get(name, "binary")) for name in names]
    return Schema("shop", (Field("item"),), tuple(tasks))


def by_day(names=TASKS, days=4):
    found = {}
    for n in range(days):
        binary = {"auc": 0.5 + n / 10, "gauc": None if n == 0 else 0.6, "logloss": 0.3}
        binary |= {"base_rate": 0.01 * (n + 1), "positives": n, "examples": 100}
        own = {f"{name}@all": binary for name in names if name != "seconds"}
        own |= {"click@order": binary} if "order" in names else {}
        own |= {"seconds@all": {"r2": 0.1 * n, "rmse": 3.0}} if "seconds" in names else {}
        found[f"2022-04-{n + 8:02d}"] = own
    return found


def printed(table):
    console = rich.console.Console(file=io.StringIO(), width=80)
    console.print(table)
    return console.file.getvalue()


def test_a_line_a_day_of_each_tasks_first_metric_beside_its_base_rate():
    lines = printed(terminal.days_table(by_day(("click", "seconds")), schema(("click", "seconds"))))
    rows = [line.split() for line in lines.splitlines() if line.startswith("2022")]
    assert rows[0] == ["2022-04-08", "0.5000", "1.00%", "0.0000"]
    assert rows[3] == ["2022-04-11", "0.8000", "4.00%", "0.3000"]
    assert lines.index("click") < lines.index("seconds")


def test_tasks_that_do_not_fit_beside_each_other_follow_below():
    lines = printed(terminal.days_table(by_day(), schema())).splitlines()
    assert max(map(len, lines)) <= terminal.WIDE
    assert "…" not in "".join(lines)
    assert sum(line.startswith("2022-04-08") for line in lines) == 2
    for name in TASKS:
        assert sum(name in line.split() for line in lines) == 1


@pytest.fixture
def figures(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure))
    return drawn


def test_a_panel_a_metric_with_a_line_a_task_and_space(figures, tmp_path):
    day_plots.by_day(by_day(), "2022-04-08", tmp_path / "a.png")
    panels = {axes.get_ylabel(): axes for axes in figures[0].axes}
    assert list(panels) == ["AUC", "GAUC", "R²", "base rate"]
    lines = {line.get_label(): line for line in panels["AUC"].get_lines()}
    assert {"click@all", "click@order", "order@all"} <= set(lines)
    days = matplotlib.dates.date2num(np.arange("2022-04-08", "2022-04-12", dtype="M8[D]"))
    np.testing.assert_array_equal(matplotlib.dates.date2num(lines["click@all"].get_xdata()), days)
    np.testing.assert_allclose(lines["click@all"].get_ydata(), [0.5, 0.6, 0.7, 0.8])
    assert len(panels["GAUC"].get_lines()[0].get_xdata()) == 3  # not defined on the first day
    figures[0].canvas.draw()
    labels = {text.get_text() for text in panels["AUC"].get_xticklabels()}
    assert "2022-04-09" in labels
    legend = {text.get_text() for text in figures[0].legends[0].get_texts()}
    assert "seconds@all" in legend


@pytest.mark.parametrize(("untrained", "hollow"), [("2022-04-08", 1), ("", 0)])
def test_the_day_that_no_step_came_before_is_hollow(figures, tmp_path, untrained, hollow):
    day_plots.by_day(by_day(("click",)), untrained, tmp_path / "a.png")
    auc, _, rate = figures[0].axes
    assert [len(line.get_xdata()) for line in auc.get_lines()] == [4] + [1] * hollow
    assert ("hollow" in auc.get_xlabel()) == bool(hollow)
    assert len(rate.get_lines()) == 1  # no model has a part in it
    assert rate.get_yscale() == "log"


@pytest.mark.parametrize("days", [0, 1, 4])
def test_it_is_a_picture(tmp_path, days, drawn):
    day_plots.by_day(by_day(days=days), "2022-04-08", tmp_path / "plots" / "by_day.png")
    assert min(matplotlib.image.imread(tmp_path / "plots" / "by_day.png").shape[:2]) > 400


def test_the_progress_bar_says_what_is_done_between_two_steps():
    console = rich.console.Console(file=io.StringIO(), width=80, get_time=lambda: 1000.0)
    with ProgressBar(100, 1, console=console, interactive=False) as bar:
        bar.tell("scoring 2022-04-08")
        bar.tell("scoring 2022-04-09")  # at once: no line of its own
        bar.update(step=100, epoch=0, losses={"click": 0.5})
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "scoring 2022-04-08 | step 0/100"
    assert lines[1:] == ["epoch 1/1 | step 100/100 | loss click 0.5000"]
    console = rich.console.Console(file=io.StringIO(), width=80, force_terminal=True)
    with ProgressBar(100, 1, console=console, interactive=True) as bar:
        bar.tell("scoring 2022-04-08")
    assert "scoring 2022-04-08" in console.file.getvalue()


def test_trackers_get_the_metrics_of_a_day_and_not_its_number():
    record = {"kind": "day", "step": 5, "epoch": 0.5, "day": 19_090, "click@all/auc": 0.7}
    assert numbers(record) == {"day/click@all/auc": 0.7}

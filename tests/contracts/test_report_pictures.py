"""What goes into the pictures of a run, and that they are pictures."""

import matplotlib.dates
import matplotlib.image
import numpy as np
import pytest
from results_by_day import by_day

from dtn_jax.report import pictures, plots


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


def test_of_many_pairs_of_tasks_those_in_conflict_are_drawn(figures, tmp_path):
    pairs = {f"cosine/a/{i}": i / 20 - 0.5 for i in range(20)}
    plots.learning_curves([{"kind": "train", "step": 1, **pairs}], tmp_path / "a.png")
    axes = figures[0].axes[1]
    assert axes.get_title("left") == "Cosines of the tasks' gradients, the lowest 10"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"a, {i}" for i in range(10)
    ]


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

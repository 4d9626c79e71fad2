"""What goes into the pictures of a run, and that they are pictures."""

import matplotlib.dates
import matplotlib.image
import numpy as np
import pytest
from results_by_day import by_day

from dtn_jax.metrics.calibration import LOW_RATE, calibration_curve
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


def test_a_link_in_place_of_a_picture_is_not_followed(tmp_path, drawn):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "a.png").symlink_to(tmp_path / "precious")
    plots.learning_curves(history(), tmp_path / "a.png")
    assert (tmp_path / "precious").read_text() == "precious"
    picture(tmp_path / "a.png")


@pytest.fixture
def figures(monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "save_small", lambda figure, path: drawn.append(figure))
    return drawn


@pytest.mark.parametrize("validated", [True, False])
def test_a_balancers_weights_have_a_panel(validated, figures, tmp_path):
    """Lengths and cosines of gradients have none."""
    records = [record for record in history() if validated or record["kind"] == "train"]
    plots.learning_curves(records, tmp_path / "a.png")
    for record in records:
        if record["kind"] == "train":
            record |= {"weight/click": 1.0 + record["step"], "weight/order": 0.0}
            record |= {"norm/click": 0.1, "norm/order": 0.2, "cosine/click/order": -0.5}
    plots.learning_curves(records, tmp_path / "a.png")
    titles, balanced = ([axes.get_title("left") for axes in figure.axes] for figure in figures)
    assert balanced == [titles[0], "Weights by loss.balancing", *titles[1:]]
    scales = [axes.get_yscale() for axes in figures[0].axes]
    assert scales == ["log", *["linear"] * len(titles[1:])]  # a loss of 0.02 beside one of 1
    lines = figures[1].axes[1].get_lines()
    assert [line.get_label() for line in lines if line.get_label()[0] != "_"] == ["click", "order"]


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


# ---------------------------------------------------------------- reliability


@pytest.mark.parametrize("rate", [0.01, 0.4])
def test_a_reliability_diagram_shows_the_curve(figures, tmp_path, rate):
    rng = np.random.default_rng(0)
    p = rng.beta(2, 2 / rate - 2, size=2000)
    curve = calibration_curve(p, rng.random(2000) < p, 10)
    plots.reliability({"click@all": curve, "order@click": None}, tmp_path / "a.png")
    (axes,) = figures[0].axes  # none without an example
    points = axes.collections[-1].get_offsets()
    seen = curve.rate >= axes.get_ylim()[0]
    np.testing.assert_allclose(points[seen], np.stack([curve.prediction, curve.rate], 1)[seen])
    assert axes.get_xscale() == ("log" if rate < LOW_RATE else "linear")
    assert axes.get_xlim() == axes.get_ylim()

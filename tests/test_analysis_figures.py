"""What pictures and tables of importance show: texts and cells, as a reader sees them."""

import itertools
import pathlib

import numpy as np
import pytest

from dtn_jax.analysis import figures, gate_figures, tables
from dtn_jax.analysis.importance import Importance


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, {file's name: figure}."""
    kept = {}

    def keep(figure, path):
        kept[str(path)] = figure

    for module in (figures, gate_figures):
        monkeypatch.setattr(module, "save", keep)
    return kept


def measured(means, error, method="permutation"):
    means = np.asarray(means, float)
    fields = tuple(f"f{i}" for i in range(len(means)))
    keys = tuple(f"t{k}@all" for k in range(means.shape[1]))
    covariance = np.diag(np.broadcast_to(error, means.shape).ravel() ** 2)
    return Importance(method, fields, keys, np.zeros(len(keys)), means[None], covariance)


def below(figure):
    """A figure's grey lines, as one."""
    return figure.texts[1].get_text().replace("\n", " ")


# ---------------------------------------------------------------- importance


def test_what_is_within_noise_is_in_brackets_on_cells_of_any_colour(drawn):
    """f1 of t1 is within noise and the largest of its column, so on the darkest cell."""
    error = np.array([[0.001, 0.05], [0.001, 0.05]])
    figures.importance(measured([[0.1, 0.01], [0.02, 0.09]], error), "a")
    cells = [text.get_text() for text in drawn["a"].axes[0].texts]
    assert cells == ["20.0", "(90.0)", "100", "(10.0)"]
    assert drawn["a"].axes[0].texts[1].get_color() == "white"
    assert "in brackets: within noise of 0" in below(drawn["a"])
    figures.importance(measured([[0.1, 0.01], [0.02, 0.09]], 1e-4), "b")
    assert "brackets" not in below(drawn["b"])  # there are none


def test_a_terminal_without_room_for_intervals_has_the_same_brackets():
    by_field = {"age": {"mean": 0.1, "error": 0.01}, "race": {"mean": 0.01, "error": 0.01}}
    facts = {"importance": {f"t{k}@all": by_field for k in range(4)}}
    title, table, _ = tables.importance_table("permutation", facts).renderables
    assert list(table.columns[1].cells) == ["100", "(10.0)"]
    assert "in brackets: within noise of 0" in title.plain


# ---------------------------------------------------------------- gates


def test_names_of_segments_are_wrapped_and_nothing_is_cut(drawn):
    use = {"click": {"level_0_click/mlp_0": 0.5, "shared/mlp_0": 0.5}, "order": {"order": 1.0}}
    named = ["Private", "Self-employed-not incorporated, or unpaid in the business of a relative"]
    gate_figures.gates(
        use, dict.fromkeys(named, use), "rows of its group", ("click",), pathlib.Path("a")
    )
    figure = drawn["a"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [label.replace("\n", " ").replace("- ", "-") for label in labels] == ["all rows", *named]
    assert max(len(line) for label in labels for line in label.split("\n")) <= gate_figures.LABEL
    assert figure.texts[0].get_text().endswith("over all rows and by rows of its group")
    assert "click\nmlp_0 50%" in [text.get_text() for text in figure.axes[0].texts]
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))
    title, legend = figure.texts[0].get_window_extent(), figure.legends[0].get_window_extent()
    assert not title.overlaps(legend)
    gate_figures.gates(
        {"order": use["click"]}, {}, "", ("click",), pathlib.Path("one")
    )  # half as wide
    figure = drawn["one"]
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert not any(text.get_window_extent().overlaps(legend) for text in figure.texts)

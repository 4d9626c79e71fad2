"""What pictures and tables of importance show: texts and cells, as a reader sees them."""

import numpy as np
import pytest

from dtn_jax.analysis import figures, tables
from dtn_jax.analysis.importance import Importance


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, {file's name: figure}."""
    kept = {}

    def keep(figure, path):
        kept[path] = figure

    monkeypatch.setattr(figures, "save", keep)
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

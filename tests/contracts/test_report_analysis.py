"""What pictures and tables of importance, divergence, gates and pairs show: texts and cells."""

import pathlib

import numpy as np
import pytest

from dtn_jax.analysis import (
    figures,
    gate_figures,
    markdown,
    pair_figures,
    tables,
    training_figures,
)
from dtn_jax.analysis.importance import Importance


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, {file's name: figure}."""
    kept = {}

    def keep(figure, path):
        kept[str(path)] = figure

    for module in (figures, gate_figures, pair_figures, training_figures):
        monkeypatch.setattr(module, "save", keep)
    return kept


def below(figure):
    """A figure's grey lines, as one."""
    return figure.texts[1].get_text().replace("\n", " ")


def measured(means, error, method="permutation"):
    means = np.asarray(means, float)
    fields = tuple(f"f{i}" for i in range(len(means)))
    keys = tuple(f"t{k}@all" for k in range(means.shape[1]))
    covariance = np.diag(np.broadcast_to(error, means.shape).ravel() ** 2)
    zeros, titles = np.zeros(len(keys)), ("AUC",) * len(keys)
    return Importance(method, fields, keys, zeros, means[None], covariance, titles)


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


def test_nothing_is_said_of_noise_of_0_where_values_are_absolute(drawn):
    """In the picture, the terminal and the Markdown."""
    figures.importance(measured([[0.1, 0.0], [0.02, 0.09]], 0.05, "gradient"), "a")
    cells = [text.get_text() for text in drawn["a"].axes[0].texts]
    assert cells == ["20.0", "90.0", "100", "0.00"]
    by_field = {"age": {"mean": 0.1, "error": 0.01}, "race": {"mean": 0.0, "error": 0.01}}
    importance = {f"t{k}@all": by_field for k in range(4)}
    title, table, _ = tables.importance_table("gradient", {"importance": importance}).renderables
    assert list(table.columns[1].cells) == ["100", "0.00"]
    text, rows = markdown.importance("gradient", {"importance": importance})
    assert "| `race` | 0.00 |" in rows
    for said in (below(drawn["a"]), title.plain, text):
        assert "a field without influence has more than 0 too" in said
        assert "brackets" not in said
    _, rows = markdown.importance("unknown", {"importance": importance})
    assert "| `race` | (0.00) |" in rows


# ---------------------------------------------------------------- gates


def test_a_gate_has_its_weights_and_below_them_how_far_segments_depart(drawn):
    use = {
        "click/own": {"click/mlp_0": 0.5, "click/gdcn_0": 0.5},
        "click/others": {"order/mlp_0": 0.2, "order/gdcn_0": 0.3, "shared/mlp_0": 0.5},
    }
    named = ["Private (90)", "Self-employed-not incorporated, or unpaid in a relative's shop (8)"]
    moved = {gate: dict(weights) for gate, weights in use.items()}
    moved["click/others"] |= {"order/mlp_0": 0.12, "order/gdcn_0": 0.38}
    effective = {"click/others": use["click/others"] | {"order/mlp_0": 0.02}}
    parts = dict(zip(named, (use, moved)))
    gate_figures.gates(use, effective, parts, "work", ("click", "order"), pathlib.Path("a"))
    figure = drawn["a"]
    own, others = figure.axes
    labels = [label.get_text() for label in own.get_yticklabels()]
    assert [text.replace("\n", " ").replace("- ", "-") for text in labels] == [
        "all rows", "effective", *named
    ]  # fmt: skip
    assert max(len(line) for text in labels for line in text.split("\n")) <= gate_figures.LABEL
    cells = [text.get_text() for text in own.texts]
    assert cells[:6] == ["50.0", "50.0", "=", "=", "0.0", "0.0"]
    cells = [text.get_text() for text in others.texts]
    assert cells[:6] == ["20.0", "30.0", "50.0", "2.0", "30.0", "50.0"]
    assert cells[6:] == ["0.0", "0.0", "0.0", "-8.0", "+8.0", "0.0"]
    colours = others.collections[0].get_array().reshape(4, 3)
    np.testing.assert_allclose(colours[3], [-0.08, 0.08, 0], atol=1e-12)
    inks = {label.get_text(): label.get_color() for label in others.get_xticklabels()}
    assert inks["order\nmlp_0"] == inks["order\ngdcn_0"] != inks["shared\nmlp_0"]
    assert "by work (rows, 100 at least): points more or less; effective: times" in below(figure)


def test_a_cosine_over_training_has_a_band_of_its_interval(drawn):
    lines = {
        "gate": {},
        "cosine": {("a", "b"): [[1, 0.1], [2, None], [3, 0.3]], ("a", "c"): [[1, 0.2]]},
        "cosine_half": {("a", "b"): [[1, 0.05], [2, None], [3, 0.1]]},
    }
    training_figures.over_training(lines, ("a", "b", "c"), pathlib.Path("a"))
    (band,) = drawn["a"].axes[0].collections  # of the one pair that has intervals
    corners = {(float(x), round(float(y), 3)) for x, y in band.get_paths()[0].vertices}
    assert corners == {(1.0, 0.05), (1.0, 0.15), (3.0, 0.2), (3.0, 0.4)}


def symmetric(upper):
    upper = np.triu(upper, 1)
    return upper + upper.T


def test_of_many_fields_the_pairs_shown_are_the_strongest_ones(drawn):
    """One triangle of 24 of 39 fields, with names of a size to be read."""
    fields = [f"field_{i}" for i in range(39)]
    rng = np.random.default_rng(0)
    strengths = {"a/gdcn_0": symmetric(rng.random((39, 39))), "b/gdcn_0": np.zeros((39, 39))}
    strengths["a/gdcn_0"][[3, 38], [38, 3]] = 5
    strengths["b/gdcn_0"][[7, 30], [30, 7]] = 1e-3  # the strongest of its expert
    pair_figures.pairs(strengths, fields, {}, {}, pathlib.Path("a"))
    axes = drawn["a"].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert 22 < len(names) <= 24
    assert {"field_3", "field_38", "field_7", "field_30"} <= set(names)
    assert names == sorted(names, key=fields.index)
    assert min(label.get_fontsize() for label in axes.get_yticklabels()) >= 8
    assert f"the {len(names)} of 39 fields with" in below(drawn["a"])
    cells = axes.collections[0].get_array().reshape(len(names), -1)
    np.testing.assert_array_equal(cells.mask, np.triu(np.ones_like(cells.mask)))
    assert cells[names.index("field_38"), names.index("field_3")] == 1

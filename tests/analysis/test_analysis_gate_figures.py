"""What pictures of gates, of training and of pairs show."""

import itertools
import pathlib

import drawn_figures
import numpy as np
import pytest
from drawn_figures import below

from dtn_jax.analysis import gate_figures, pair_figures, training_figures

drawn = drawn_figures.drawn

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


@pytest.mark.parametrize("sources", [1, 2, 12])
def test_no_text_of_the_picture_of_gates_is_over_another(drawn, sources):
    use = {"click": {f"level_0_click/masknet_{m}": 1 / sources for m in range(sources)}}
    parts = dict.fromkeys(["Self-employed-not incorporated (898)", "Local government (784)"], use)
    gate_figures.gates(use, {}, parts, "work", ("click",), pathlib.Path("a"))
    figure = drawn["a"]
    figure.draw_without_rendering()
    (axes,) = figure.axes
    for labels in (axes.get_yticklabels(), axes.get_xticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))
    legend = figure.legends[0].get_window_extent()
    assert not any(text.get_window_extent().overlaps(legend) for text in figure.texts)


def test_lines_over_training_are_drawn_around_equal_weights(drawn):
    """Every gate in as many points, so that what moves more looks so."""
    lines = {
        "gate": {
            ("click", "shared/a"): [[1, 0.52], [2, 0.54]],
            ("click", "shared/b"): [[1, 0.48], [2, 0.46]],
            **{("order", f"shared/{m}"): [[1, 0.25], [2, 0.25]] for m in "abcd"},
        },
        "cosine": {},
        "cosine_half": {},
    }
    training_figures.over_training(lines, ("click", "order"), pathlib.Path("a"))
    click, order = drawn["a"].axes
    assert click.get_ylim() == pytest.approx((0.5 - 0.046, 0.5 + 0.046))
    assert order.get_ylim() == pytest.approx((0.25 - 0.046, 0.25 + 0.046))
    assert [list(axes.lines[-1].get_ydata()) for axes in (click, order)] == [[0.5] * 2, [0.25] * 2]
    assert "grey: equal ones" in below(drawn["a"])


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


# ---------------------------------------------------------------- pairs


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


def test_few_fields_are_all_shown_and_known_pairs_stand_above_the_diagonal(drawn):
    fields = ("a", "b", "c")
    found = symmetric(np.array([[0, 4, 1], [0, 0, 2], [0, 0, 0]], float))
    known = {"x/gdcn_0": {("c", "a"): 0.5, ("b", "c"): 1.0}}
    pair_figures.pairs({"x/gdcn_0": found}, fields, known, {}, pathlib.Path("a"))
    axes = drawn["a"].axes[0]
    cells = axes.collections[0].get_array().reshape(3, 3)
    np.testing.assert_allclose(cells.filled(-1), [[0, 0, 0.5], [1, 0, 1], [0.25, 0.5, 0]])
    rings = {(float(x), float(y)) for line in axes.lines for x, y in [line.get_xydata()[0]]}
    assert {(0.5, 2.5), (1.5, 2.5)} <= rings
    assert "the known pairs above it" in below(drawn["a"])
    assert "fields with" not in below(drawn["a"])


def test_fields_of_known_pairs_are_shown_though_they_were_not_found():
    strengths = {"x": symmetric(np.triu(np.arange(36.0).reshape(6, 6)))}
    assert pair_figures.in_strong_pairs(strengths, [0, 1], most=4) == [0, 1, 4, 5]
    assert pair_figures.in_strong_pairs(strengths, most=6) == [0, 1, 2, 3, 4, 5]

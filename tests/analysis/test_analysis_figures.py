"""What pictures and tables of importance and divergence show: texts and cells."""

import dataclasses
import io

import drawn_figures
import numpy as np
import pytest
import rich.console
from drawn_figures import below

from dtn_jax.analysis import (
    figures,
    markdown,
    rank,
    tables,
)
from dtn_jax.analysis.importance import Importance

drawn = drawn_figures.drawn


def measured(means, error, method="permutation"):
    means = np.asarray(means, float)
    fields = tuple(f"f{i}" for i in range(len(means)))
    keys = tuple(f"t{k}@all" for k in range(means.shape[1]))
    covariance = np.diag(np.broadcast_to(error, means.shape).ravel() ** 2)
    zeros, titles = np.zeros(len(keys)), ("AUC",) * len(keys)
    return Importance(method, fields, keys, zeros, means[None], covariance, titles)


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


@pytest.mark.parametrize("width", [*range(60, 82), 400])
def test_a_terminal_without_room_for_all_keys_has_several_tables(width):
    """No name and no number is broken; the fields stand in each table."""
    names = ["watch_seconds", "@all", "favourite", "@favourite"]
    keys = [f"{task}{space}" for task in names[::2] for space in (*names[1::2], "@a", "@b")]
    by_field = {"last_items": {"mean": -0.0105, "error": 0.01}, "x": {"mean": 0.5, "error": 0.01}}
    console = rich.console.Console(width=width, file=io.StringIO())
    facts = {"importance": dict.fromkeys(keys, by_field)}
    console.print(tables.importance_table("unknown", facts, width))
    words = console.file.getvalue().split()
    assert words.count("(-10.5)") == len(keys)
    assert [words.count(name) for name in names] == [4, 2, 4, 2]
    assert words.count("last_items") == words.count("field")
    assert (words.count("field") == 1) == (width == 400)


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


def test_a_regression_has_its_own_metrics_name(drawn):
    """In the picture, the terminal and the Markdown; files of before say none, and are of AUC."""
    found = measured([[0.1, 0.0], [0.02, 0.09]], 0.05)
    found = dataclasses.replace(found, titles=("AUC", "R²"), base=np.array([0.81234, 0.25]))
    figures.importance(found, "a")
    labels = [label.get_text() for label in drawn["a"].axes[0].get_xticklabels()]
    assert labels == ["t0\n@all\nAUC 0.8123", "t1\n@all\nR² 0.2500"]
    facts = {
        "metric": dict(zip(found.keys, found.titles)),
        "base": dict(zip(found.keys, found.base)),
        "importance": {key: {"age": {"mean": 0.1, "error": 0.01}} for key in found.keys},
    }
    table = tables.importance_table("permutation", facts).renderables[0].plain
    all_ = {"methods": {"permutation": facts}, "rows": 1234, "split": "test", "undefined": []}
    first, second, _ = markdown.importances(all_)
    assert first == "AUC of the 1,234 test rows: t0@all 0.8123; R² of the 1,234 test rows: " + (
        "t1@all 0.2500."
    )
    for said in (below(drawn["a"]), table, second):
        assert "drop of AUC and R² × 1000 when permuted" in said
    del facts["metric"]
    first, second, _ = markdown.importances(all_)
    assert first == "AUC of the 1,234 test rows: t0@all 0.8123, t1@all 0.2500."
    assert "drop of AUC × 1000 when permuted" in second


# ---------------------------------------------------------------- divergence


def divergence_facts(keys):
    by_pair = np.full((len(keys), len(keys)), 0.4).tolist()
    ends = {"low": np.full_like(by_pair, 0.218).tolist(), "high": by_pair}
    return {"keys": keys, "value": by_pair, **ends, "itself": [0.1] * len(keys)}


def test_a_terminal_of_80_columns_has_an_interval_in_one_line():
    """Of the tasks in the spaces of their losses; of the three tasks here are six keys."""
    tasks = ("long_view", "profile_enter_from_a_page", "comment_on_a_shared_video")
    facts = divergence_facts([f"{task}@{space}" for task in tasks for space in ("click", "all")])
    console = rich.console.Console(width=80, file=io.StringIO())
    console.print(tables.divergence_table("permutation", facts))
    shown = console.file.getvalue()
    assert shown.count("0.218 to 0.400") == 3
    assert shown.count("0.100, 0.100") == 3
    assert "@all" not in shown
    assert "12 pairs in other spaces are in importance.json" in shown
    assert "…" not in shown  # the tasks' names are wrapped
    assert len(list(tables.divergences(facts))) == 15
    one = divergence_facts(["long_view@click", "long_view@all"])  # a task alone
    found = {"truth": {}, "gates": {}, "conflict": {}, "pairs": {}}
    by_field = {"age": {"mean": 0.1, "error": 0.01}}
    importance = dict.fromkeys(one["keys"], by_field)
    method = {"importance": importance, "divergence": one}
    assert len(list(tables.tables(found | {"methods": {"permutation": method}}))) == 1


def test_the_known_divergence_has_a_panel_of_its_own(drawn):
    one = rank.divergence(measured([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]], 1e-3))
    figures.divergence({"permutation": one}, None, "a")
    figures.divergence(dict.fromkeys(("permutation", "gradient", "unknown"), one), one, "b")
    assert len(drawn["a"].axes) == 1
    titles = [axes.get_title(loc="left") for axes in drawn["b"].axes]
    assert titles[0] == "by permutation"
    assert titles[3] == "of the Bayes-optimal score, by permutation"

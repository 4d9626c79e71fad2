"""What is guessed of list columns."""

import numpy as np
import polars as pl
import pytest
import sampled
from sampled import draft, field

ROWS = 1000
DRAW = sampled.draw(3)
LENGTHS = DRAW.integers(0, 6, ROWS)


def ids(lengths=LENGTHS, distinct=30):
    return [DRAW.integers(0, distinct, n).tolist() for n in lengths]


def floats(lengths=LENGTHS):
    return [DRAW.random(n).tolist() for n in lengths]


def test_lists_of_ids_are_bags():
    made = field({"tags": ids()}, "tags")
    assert made.options == {"kind": "bag"}
    assert made.facts.startswith("lists of up to 5, median ")
    assert "30 different, most often " in made.facts
    texts = field({"tags": [[f"t{n}" for n in row] for row in ids()]}, "tags")
    assert texts.options == {"kind": "bag"}
    assert field({"tags": ids(distinct=10**6)}, "tags").options["min_count"] == 2


def test_lists_of_floats_of_one_length_are_vectors():
    vectors = list(DRAW.normal(size=(ROWS, 8)))
    assert field({"e": vectors}, "e").options == {"kind": "vector", "length": 8}
    holes = pl.Series([None if n % 5 == 0 else v.tolist() for n, v in enumerate(vectors)])
    made = field({"e": holes}, "e")
    assert made.options == {"kind": "vector", "length": 8}
    assert made.facts == "lists of 8 numbers; 20.0 % missing"
    assert field({"e": ids(np.full(ROWS, 8))}, "e").options["kind"] == "bag"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (floats(), "numbers, "),
        ([[0.5, None]] * ROWS, "missing or infinite"),
        ([[0.5, 0.1 * n] for n in range(ROWS - 1)] + [[float("inf"), 0.5]], "missing or infinite"),
        (pl.Series([[]] * ROWS, dtype=pl.List(pl.Int64)), "no list has a value"),
    ],
)
def test_lists_that_are_left_out(values, reason):
    assert reason in field({"x": values}, "x").reason


def test_parallel_lists_are_a_weighted_bag():
    made = {f.name: f for f in draft({"seen": ids(), "seen_weight": floats()}).fields}
    assert made["seen"].options == {"kind": "bag", "weights": "seen_weight"}
    assert made["seen_weight"].reason == "the weights of seen"
    counts = draft({"seen": ids(), "seen_scores": ids()}).fields
    assert counts[0].options["weights"] == "seen_scores"
    alone = {f.name: f for f in draft({"seen": ids(), "other": ids()}).fields}
    assert all(alone[name].options == {"kind": "bag"} for name in ("seen", "other"))
    shorter = draft({"seen": ids(), "w": floats(LENGTHS[::-1])}).fields
    assert "weights" not in shorter[0].options


def test_of_two_bags_the_one_of_a_like_name_has_the_weights():
    columns = {"tags": ids(), "item_hist": ids(), "item_dwell": floats()}
    made = {f.name: f for f in draft(columns).fields}
    assert made["item_hist"].options["weights"] == "item_dwell"
    assert "weights" not in made["tags"].options


def test_long_lists_are_cut_and_told():
    made = field({"x": ids(DRAW.integers(0, 200, ROWS))}, "x")
    assert made.options["max_values"] == 50
    assert "of the lists, of up to 199" in made.notes[0]


def test_a_history_of_items_is_told():
    columns = {"item_id": DRAW.integers(0, 400, ROWS), "seen_items": ids(distinct=400)}
    (note,) = field(columns, "seen_items").notes
    assert "with table: item_id" in note
    assert "with kind: sequence and target: item_id" in note
    assert note.endswith("such as actions, with kind: sequence and beside: seen_items")
    columns["other"] = columns.pop("seen_items")
    assert not field(columns, "other").notes

"""Planted leaks in lists and vectors are named; labels drawn at random give no suspicion."""

import numpy as np
import polars as pl
import pytest
import sampled
from sampled import ROWS, draft, field

from dtn_jax.datasets.logs.infer import suspects

DRAW = sampled.draw(4)
BUY = (DRAW.random(ROWS) < 0.1).astype(int)


def words(draw=DRAW, rows=ROWS, distinct=200, most=5):
    lengths = draw.integers(1, most + 1, rows)
    return [[f"w{n}" for n in draw.zipf(1.3, k) % distinct] for k in lengths]


def vectors(draw=DRAW, rows=ROWS, length=16):
    return draw.normal(size=(rows, length))


def planted(entry, numbers):
    made = vectors()
    made[:, entry] = numbers
    return made.tolist()


NOISE = DRAW.normal(size=ROWS)
BOUGHT = [[*own[:2], "BOUGHT" if b else "none"] for own, b in zip(words(), BUY, strict=True)]
ITEMS = [[n] if b else [-1] for n, b in zip(DRAW.integers(0, 900, ROWS), BUY, strict=True)]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (BOUGHT, "The values of its lists, BOUGHT most of all, alone have AUC 1.0000 on buy"),
        ([None if n % 9 == 0 else own for n, own in enumerate(BOUGHT)], "alone have AUC 0.9"),
        (ITEMS, "alone have AUC 1.0000 on buy"),
        ([[*own, -7] for own in ITEMS], "alone have AUC 1.0000 on buy"),
        (planted(2, 2 * BUY + 0.1 * NOISE), "The entry [2] of its vectors alone has AUC 1.0000"),
        (planted(15, -2 * BUY + 0.1 * NOISE), "The entry [15] of its vectors alone has AUC 1.0000"),
        (planted(0, np.where(BUY, 9 * np.sign(NOISE), NOISE)), "entry [0] of its vectors alone"),
    ],
)
def test_a_leak_in_lists_is_named(values, told):
    columns = {"x": pl.Series(values), "buy": BUY}
    made = field(columns, "x")
    assert "a label in disguise?" in made.reason
    assert told in made.reason
    assert made.suspect
    drafted = draft(columns)
    assert f"x: {made.reason}" in sampled.shown(drafted, pl.DataFrame({"code": range(ROWS)}))
    assert f"  #     {made.reason}" in sampled.text(drafted)


def test_values_that_a_field_does_not_keep_do_not_count():
    columns = {"x": [["a"] * 50 + own for own in BOUGHT], "buy": BUY}
    assert not field(columns, "x").suspect


def test_suspect_weights_are_left_out_alone():
    bags = words()
    weights = [[0.3 + 2 * b + DRAW.random() for _ in own] for own, b in zip(bags, BUY, strict=True)]
    weights = [[w / len(own) for w in own] for own in weights]
    made = {f.name: f for f in draft({"seen": bags, "seen_weight": weights, "buy": BUY}).fields}
    told = "a label in disguise? The sums of its lists alone have AUC 1.0000 on buy"
    assert made["seen_weight"].suspect
    assert made["seen_weight"].reason == told
    assert made["seen"].options == {"kind": "bag"}
    assert made["seen"].notes == ["without its weights: seen_weight is suspect"]


def test_strong_lists_are_no_leaks():
    often = (DRAW.random(ROWS) < 0.85) == BUY
    tags = [[*own, f"{int(n)}"] for own, n in zip(words(), often, strict=True)]
    assert not field({"x": tags, "buy": BUY}, "x").reason
    assert not field({"x": planted(3, BUY + 0.7 * NOISE), "buy": BUY}, "x").reason


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rows", [400, 2000])
def test_random_labels_name_no_list(seed, rows, monkeypatch):
    monkeypatch.setattr(suspects, "MOST", 0.75)  # far above chance, below what is learnt by heart
    draw = sampled.draw(200 + seed)
    few = draw.permutation(rows) < 120  # about 60 rows of a class in each half
    columns = {
        "words": words(draw, rows),
        "rare": [draw.integers(0, 10**6, n).tolist() for n in draw.integers(0, 9, rows)],
        "one": [[n] for n in draw.permutation(rows)],
        "vector": vectors(draw, rows, 200).tolist(),
        "holes": [None if n % 3 == 0 else v for n, v in enumerate(vectors(draw, rows).tolist())],
        "click": draw.random(rows) < 0.4,
        "order": few,
        "rating": draw.integers(1, 6, rows),
    }
    columns["words_weight"] = [draw.random(len(own)).tolist() for own in columns["words"]]
    columns = {name: pl.Series(own) for name, own in columns.items()}
    made = draft(columns, ("click", "order", "rating", "buy"))
    assert not [f.name for f in made.fields if f.suspect]


def test_an_entry_is_not_chosen_by_the_rows_that_judge_it(monkeypatch):
    monkeypatch.setattr(suspects, "MOST", 0.6)  # the best of 300 entries is always above it
    found = 0
    for seed in range(8):
        draw = sampled.draw(300 + seed)
        columns = {"x": vectors(draw, 400, 300).tolist(), "buy": draw.permutation(400) < 120}
        found += field(columns, "x").suspect
    assert found <= 2


@pytest.mark.parametrize("seed", [1, 6, 7])
def test_of_few_rows_and_many_entries_the_leak_is_found(seed):
    draw = sampled.draw(seed)
    buy = draw.permutation(104) < 50
    made = vectors(draw, 104, 500)
    made[:, 321] = 2 * buy + 0.6 * made[:, 321]
    assert "The entry [321] of" in field({"x": made.tolist(), "buy": buy}, "x").reason

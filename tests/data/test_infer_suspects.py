"""Planted leaks are named, with the figure; labels drawn at random give no suspicion."""

import datetime

import numpy as np
import polars as pl
import pytest
import sampled
from sampled import ROWS, draft, field, task

from dtn_jax.data.describe import leaks

DRAW = sampled.draw(2)
START = datetime.datetime(2026, 3, 1)
BUY = (DRAW.random(ROWS) < 0.1).astype(int)
TIMES = [START + datetime.timedelta(minutes=n) for n in range(ROWS)]


def where(mask, values):
    """`values` where the mask is 1, missing elsewhere."""
    return pl.Series([v if there else None for v, there in zip(values, mask, strict=True)])


LISTED = sampled.draw(4)
NOISE = LISTED.normal(size=ROWS)


def words(draw=LISTED, rows=ROWS, distinct=200, most=5):
    lengths = draw.integers(1, most + 1, rows)
    return [[f"w{n}" for n in draw.zipf(1.3, k) % distinct] for k in lengths]


def vectors(draw=LISTED, rows=ROWS, length=16):
    return draw.normal(size=(rows, length))


def planted(entry, numbers):
    made = vectors()
    made[:, entry] = numbers
    return made.tolist()


BOUGHT = [[*own[:2], "BOUGHT" if b else "none"] for own, b in zip(words(), BUY, strict=True)]
ITEMS = [[n] if b else [-1] for n, b in zip(LISTED.integers(0, 900, ROWS), BUY, strict=True)]
LEAKS = [  # values of x, what is said of it
    (BUY, "a label in disguise? Alone it has AUC 1.0000 on buy"),
    (BUY + 0.1 * DRAW.normal(size=ROWS), "AUC 1.0000 on buy"),
    (-7 * (BUY + 0.1 * DRAW.normal(size=ROWS)), "AUC 1.0000 on buy"),
    (np.where(BUY, DRAW.choice([-1.0, 1.0], ROWS), DRAW.random(ROWS) / 2), "Alone it has AUC "),
    (2 * DRAW.integers(0, 40, ROWS) + BUY, "AUC 1.0000 on buy"),  # odd numbers
    (where(BUY, DRAW.random(ROWS)), "missing in 0 % of the rows with buy, and in 100 %"),
    (where(1 - BUY, ["card"] * ROWS), "missing in 100 % of the rows with buy, and in 0 %"),
    (where(BUY, TIMES), "known only after the fact? It is missing in 0 %"),
    ([[1] * int(b) for b in BUY], "empty or missing in 0 % of the rows with buy"),
    ([[1] * int(1 + 3 * b) for b in BUY], "The lengths of its lists alone have AUC 1.0000"),
    (BOUGHT, "Its values alone have AUC 1.0000 on buy"),
    ([own if n % 9 else None for n, own in enumerate(BOUGHT)], "alone have AUC 0.9"),
    (ITEMS, "a label in disguise? Its values alone have"),
    ([[*own, -7] for own in ITEMS], "alone have AUC 1.0000 on buy"),
    (planted(2, 2 * BUY + 0.1 * NOISE), "The entry [2] of its vectors alone has AUC 1.0000"),
    (planted(15, -2 * BUY + 0.1 * NOISE), "The entry [15] of its vectors alone has AUC 1.0000"),
    (planted(0, np.where(BUY, 9 * np.sign(NOISE), NOISE)), "entry [0] of its vectors alone"),
]


@pytest.mark.parametrize(("values", "told"), LEAKS)
def test_a_planted_leak_is_named(values, told):
    columns = {"x": pl.Series(values, strict=False), "buy": BUY}
    drafted = draft(columns)
    (made,) = (f for f in drafted.fields if f.name == "x")
    assert told in made.reason
    assert made.suspect
    assert f"x: {made.reason}" in sampled.shown(drafted)
    assert f"  #     {made.reason}" in sampled.text(drafted)


def test_an_id_that_tells_a_label_stays_with_a_note():
    made = field({"video_id": 2 * DRAW.integers(0, 40, ROWS) + BUY, "buy": BUY}, "video_id")
    assert not made.reason
    assert "AUC 1.0000 on buy; a label that is a property of video_id?" in made.notes[0]


OFTEN = (LISTED.random(ROWS) < 0.85) == BUY
STRONG = BUY + 0.6 * DRAW.normal(size=ROWS)  # AUC 0.88


@pytest.mark.parametrize(
    "values",
    [
        STRONG,
        where(DRAW.random(ROWS) < 0.3 + 0.5 * BUY, STRONG),
        [[*own, f"{int(n)}"] for own, n in zip(words(), OFTEN, strict=True)],
        planted(3, BUY + 0.7 * NOISE),
    ],
)
def test_a_strong_feature_is_no_leak(values):
    assert not field({"x": pl.Series(values), "buy": BUY}, "x").reason


def test_too_few_positives_are_told_not_judged():
    few = np.zeros(ROWS, int)
    few[:25] = 1
    made = draft({"x": few, "order": few}, ("order",))
    assert not next(f for f in made.fields if f.name == "x").suspect
    shown = sampled.shown(made)
    assert "order: too few rows of one class" in shown


def test_outcomes_that_are_no_labels_are_left_out():
    made = draft({"click": DRAW.random(ROWS) < 0.3, "dwell_time": DRAW.random(ROWS)}, ("buy",))
    for name in ("click", "dwell_time"):
        found = next(f for f in made.fields if f.name == name)
        assert found.suspect
        assert "an outcome by its name, and none of --labels" in found.reason


def test_a_few_bad_rows_make_no_regression_of_a_label_nor_a_field():
    stray = BUY.copy()
    stray[[7, 8, 9]] = [2, 2, -1]
    for labels in (("click",), ()):
        made = task({"click": stray}, "click", labels)
        assert made.options == {}
        assert made.positives == stray[10:].sum() + stray[:7].sum()
        assert made.notes == [
            "0.075 % of its values are neither 0 nor 1, such as 2: bad rows, unless you say what "
            "they mean, as in label: click >= 1"
        ]
    (left,) = (f for f in draft({"click": stray}).fields if f.name == "click")
    assert "an outcome by its name" in left.reason
    stray[10:20] = 2  # too many for bad rows
    assert task({"click": stray}, "click", ("click",)).options["kind"] == "regression"
    zeros = np.zeros(ROWS, int)
    zeros[7:9] = 2, 3
    assert task({"click": zeros}, "click", ("click",)).options["kind"] == "regression"


def test_times_after_the_event_are_left_out():
    later = [t + datetime.timedelta(hours=2) for t in TIMES]
    before = [t - datetime.timedelta(hours=2) for t in TIMES]
    columns = {"t": TIMES, "paid_at": later, "since": before}
    assert "later than t in 100 % of the rows" in field(columns, "paid_at", time="t").reason
    assert not field(columns, "since", time="t").suspect
    near = {"t": TIMES, "sent_at": [t + datetime.timedelta(seconds=30) for t in TIMES]}
    assert not field(near, "sent_at", time="t").suspect
    days = {"t": TIMES, "day": [t.date() for t in TIMES]}
    assert not field(days, "day", time="t").suspect


def test_copies_are_left_out():
    item = DRAW.integers(0, 300, ROWS)
    price = np.exp(DRAW.normal(size=300))
    columns = {"item_id": item, "item": [str(n) for n in item], "sku": [f"s{n}" for n in item]}
    columns |= {
        "price": price[item],
        "fee": DRAW.random(ROWS),
        "other": DRAW.integers(0, 300, ROWS),
    }
    made = {f.name: f for f in draft(columns).fields}
    for name in ("item", "sku"):
        assert made[name].reason == "it tells what item_id does, value for value"
    assert not [name for name in ("price", "fee", "other") if made[name].reason]
    both = draft({"like": BUY, "buy": BUY}, ("like", "buy"))
    assert both.notes[:1] == ["the labels of like and buy are the same in all rows"]


def test_rows_that_stand_twice_are_counted():
    """Split at random, train knows most rows of test; by time, copies stay together."""
    twice = [*range(ROWS // 2)] * 2
    columns = {"x": np.array(twice) * 0.5, "code": twice, "buy": np.array(twice) % 2}
    (note,) = draft(columns).notes
    assert note.startswith("2,000 rows (50.0 %) are equal to an earlier one in all columns")
    times = [TIMES[n] for n in twice]
    assert not draft(columns | {"t": times}).notes
    assert not draft(columns | {"x": DRAW.random(ROWS)}).notes


def test_suspect_weights_are_named():
    sums = 0.3 + 2 * BUY + LISTED.random(ROWS)
    values = [[total / (1 + n % 3)] * (1 + n % 3) for n, total in enumerate(sums)]
    made = field({"seen_weight": values, "buy": BUY}, "seen_weight")
    assert made.suspect
    assert "The sums of its lists alone have AUC 1.0000 on buy" in made.reason


@pytest.mark.parametrize(("seed", "rows"), [(0, 400), (1, 2000)])
def test_random_labels_give_no_suspicion(seed, rows, monkeypatch):
    monkeypatch.setattr(leaks, "SUSPECT", 0.75)  # far above chance, below what is learnt by heart
    draw = sampled.draw(200 + seed)
    few = draw.permutation(rows) < 120  # about 60 rows of a class in each half
    columns = {
        "words": words(draw, rows),
        "rare": [draw.integers(0, 10**6, n).tolist() for n in draw.integers(0, 9, rows)],
        "one": [[n] for n in draw.permutation(rows)],
        "vector": vectors(draw, rows, 200).tolist(),
        "user_id": draw.integers(0, 700, rows),
        "rare_id": draw.zipf(1.5, rows) % 10**6,
        "price": np.exp(draw.normal(size=rows)),
        "device": draw.choice(["a", "b"], rows, p=[0.99, 0.01]),
        "gaps": where(draw.random(rows) < 0.02, draw.random(rows)),
        "holes": [None if n % 3 == 0 else v for n, v in enumerate(vectors(draw, rows).tolist())],
        "click": draw.random(rows) < 0.4,
        "order": few,
        "rating": draw.integers(1, 6, rows),
    }
    columns["words_weight"] = [draw.random(len(own)).tolist() for own in columns["words"]]
    columns = {name: pl.Series(own) for name, own in columns.items()}
    made = draft(columns, ("click", "order", "rating", "buy"))
    assert not [f.name for f in made.fields if f.suspect]
    assert not [t.name for t in made.tasks if "upstream" in t.options]

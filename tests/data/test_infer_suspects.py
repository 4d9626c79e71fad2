"""Planted leaks are named, with the figure; strong fields and rare labels are no leaks."""

import datetime

import numpy as np
import polars as pl
import pytest
import sampled
from sampled import ROWS, draft, field, task

DRAW = sampled.draw(2)
START = datetime.datetime(2026, 3, 1)
BUY = (DRAW.random(ROWS) < 0.1).astype(int)
TIMES = [START + datetime.timedelta(minutes=n) for n in range(ROWS)]


def where(mask, values):
    """`values` where the mask is 1, missing elsewhere."""
    return pl.Series([v if there else None for v, there in zip(values, mask, strict=True)])


LEAKS = [  # values of x, what is said of it
    (BUY, "a label in disguise? Alone it has AUC 1.0000 on buy"),
    (BUY + 0.1 * DRAW.normal(size=ROWS), "Alone it has AUC 0.99"),
    (-7 * (BUY + 0.1 * DRAW.normal(size=ROWS)), "Alone it has AUC 0.99"),
    (np.where(BUY, DRAW.choice([-1.0, 1.0], ROWS), DRAW.random(ROWS) / 2), "Alone it has AUC "),
    (2 * DRAW.integers(0, 40, ROWS) + BUY, "AUC 1.0000 on buy"),  # odd numbers
    (where(BUY, DRAW.random(ROWS)), "missing in 0 % of the rows with buy, and in 100 %"),
    (where(1 - BUY, ["card"] * ROWS), "missing in 100 % of the rows with buy, and in 0 %"),
    (where(BUY, TIMES), "known only after the fact? It is missing in 0 %"),
    ([[1] * int(b) for b in BUY], "empty or missing in 0 % of the rows with buy"),
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


CLICK = (DRAW.random(ROWS) < 0.3).astype(int)
RATED = CLICK * (DRAW.random(ROWS) < 0.2)
STRAY = np.where(np.arange(ROWS) == np.flatnonzero(CLICK == 0)[0], 1, RATED)  # one of 240


@pytest.mark.parametrize("name", ["rated_5", "order"])
@pytest.mark.parametrize(("values", "value"), [(RATED, 1), (STRAY, 1), (RATED + 3, 4)])
def test_an_event_that_only_comes_with_a_label_looks_like_one(name, values, value):
    drafted = draft({"click": CLICK, name: values}, ("click",))
    (made,) = (f for f in drafted.fields if f.name == name)
    assert made.suspect
    told = f"{name}: it looks like a label, since it is {value} only where click is 1: add it to"
    assert told in sampled.shown(drafted).partition("Suspect, and left out")[2]


def test_an_event_that_only_comes_with_one_that_is_no_label_looks_like_a_label():
    drafted = draft({"click": CLICK, "rated_5": RATED})
    reasons = {f.name: f.reason for f in drafted.fields}
    assert "it looks like a label, since it is 1 only where click is 1" in reasons["rated_5"]
    assert "an outcome by its name" in reasons["click"]


def test_a_column_around_a_label_is_asked_about():
    drafted = draft({"opened": CLICK, "rated_5": RATED}, ("rated_5",))
    assert not next(f for f in drafted.fields if f.name == "opened").reason
    told = "opened: rated_5 is 1 only where this is: if it is not known when a row is shown"
    assert told in sampled.shown(drafted)
    assert f"    # {told.removeprefix('opened: ')}" in sampled.text(drafted)


STRONG = BUY + 0.6 * DRAW.normal(size=ROWS)  # AUC 0.88


@pytest.mark.parametrize(
    "values",
    [
        STRONG,
        where(DRAW.random(ROWS) < 0.3 + 0.5 * BUY, STRONG),
        (DRAW.random(ROWS) < 0.005 + 0.5 * BUY).astype(int),
        (np.arange(ROWS) % 1000 > 0).astype(int),  # around nearly all
    ],
)
def test_a_strong_feature_is_no_leak(values):
    made = field({"x": pl.Series(values), "buy": BUY}, "x")
    assert (made.reason, made.notes) == ("", [])


def test_too_few_positives_are_not_judged():
    few = np.zeros(ROWS, int)
    few[:25] = 1
    made = draft({"x": few, "order": few}, ("order",))
    assert not next(f for f in made.fields if f.name == "x").suspect


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
        assert task({"click": stray}, "click", labels).options == {}
    (left,) = (f for f in draft({"click": stray}).fields if f.name == "click")
    assert "an outcome by its name" in left.reason
    stray[10:20] = 2  # too many for bad rows
    assert task({"click": stray}, "click", ("click",)).options["kind"] == "regression"
    zeros = np.zeros(ROWS, int)
    zeros[7:9] = 2, 3
    assert task({"click": zeros}, "click", ("click",)).options["kind"] == "regression"

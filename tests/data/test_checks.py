"""Checks of raw frames: each fault is named with its column, value and row."""

import polars as pl
import pytest
from shop import ENCODERS, TASKS

from dtn_jax.datasets.preparation.checks import check_frame
from dtn_jax.errors import UserError

GOOD = {
    "word": ["a", "b", None],
    "size": [1, None, 3],
    "speed": [0.5, float("nan"), None],
    "id": [1, None, 9],
    "click": [0, 1, 1],
    "seconds": [0.5, -3.0, 1e9],
    "w": [1.0, 0.0, 2.5],
}


def check(change, first_row=0):
    columns = {k: v for k, v in (GOOD | change).items() if v is not None}
    check_frame(pl.DataFrame(columns), ENCODERS, TASKS, "w", "shop/train", first_row)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"click": [None, 1, None], "seconds": [None, None, None]},
        {"click": [float("nan"), 1.0, 0.0], "seconds": [float("nan"), 1.0, 2.0]},
        {"click": [True, False, None]},
        {"size": [True, False, None], "speed": [None, None, None], "id": [None, None, None]},
        {"word": [1, 2, 3], "extra": ["x", "y", "z"]},
        {"w": [1, 2, 3]},
    ],
)
def test_a_good_frame(change):
    check(change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": None}, r"column 'size' is missing; the columns are: word, speed, id, click, sec"),
        ({"click": None}, r"column 'click' is missing"),
        ({"w": None}, r"column 'w' is missing"),
        (
            {"size": ["1", "?", "3"]},
            r"column 'size' must be numeric, got String \(such as '1', '?'",
        ),
        ({"speed": ["x"] * 3}, r"column 'speed' must be numeric, got String"),
        (
            {"click": ["yes", "no", "no"]},
            r"column 'click' must be numeric, got String .*'yes', 'no'",
        ),
        ({"w": ["1"] * 3}, r"column 'w' must be numeric"),
        ({"id": ["1"] * 3}, r"column 'id' must be of integers, got String"),
        (
            {"id": [1.5, 2.0, 3.0]},
            r"column 'id' must be of integers, got Float64 \(such as 1.5, 2.0",
        ),
        (
            {"click": [0, 2, 2]},
            r"label 'click' is 2 in row 102 \(2 such rows .*\); expected 0, 1 or",
        ),
        ({"click": [0.5, 1, 0]}, r"label 'click' is 0.5 in row 101 \(1 such"),
        ({"click": [0, 1, -1]}, r"label 'click' is -1 in row 103"),
        (
            {"seconds": [1.0, 2.0, float("inf")]},
            r"label 'seconds' is inf in row 103 .* a finite number or",
        ),
        ({"seconds": [1.0, 1e300, 3.0]}, r"label 'seconds' is 1e\+300 in row 102"),
        ({"w": [1.0, -0.5, 1.0]}, r"weight 'w' is -0.5 in row 102 .* a finite number, 0 or more"),
        ({"w": [1.0, None, 1.0]}, r"weight 'w' is None in row 102"),
        ({"w": [float("nan"), 1.0, 1.0]}, r"weight 'w' is nan in row 101"),
    ],
)
def test_a_bad_frame(change, message):
    with pytest.raises(UserError, match=f"^shop/train: {message}"):
        check(change, first_row=100)


def test_an_empty_frame_is_judged_by_its_types():
    empty = pl.DataFrame(GOOD).clear()
    check_frame(empty, ENCODERS, TASKS, "w", "shop/train")
    with pytest.raises(UserError, match="column 'size' must be numeric, got String"):
        check_frame(empty.cast({"size": pl.String}), ENCODERS, TASKS, "w", "shop/train")

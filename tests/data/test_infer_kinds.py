"""What is guessed of columns of single values."""

import datetime

import numpy as np
import polars as pl
import pytest
import sampled
from sampled import ROWS, field

DRAW = sampled.draw()
MANY = DRAW.integers(0, 1000, ROWS)
START = datetime.datetime(2026, 3, 1)


@pytest.mark.parametrize(
    ("name", "values", "options"),
    [
        ("device", DRAW.choice(["ios", "web"], ROWS), {}),
        ("place", MANY, {}),
        ("is_new", DRAW.random(ROWS) < 0.5, {}),
        ("position", DRAW.integers(0, 40, ROWS), {}),
        ("duration_ms", MANY, {"kind": "numeric"}),
        ("age", DRAW.integers(18, 80, ROWS), {"kind": "numeric"}),
        ("n_views", DRAW.integers(0, 300, ROWS), {"kind": "numeric"}),
        ("price_id", MANY, {}),
        ("countId", MANY, {}),
        ("children_count", DRAW.integers(0, 5, ROWS), {}),  # few: each has its own embedding
        ("delta", DRAW.integers(-500, 500, ROWS), {"kind": "numeric"}),
        ("hashed", DRAW.integers(-(2**60), 2**60, 900)[MANY % 900], {}),
        ("score", DRAW.normal(size=ROWS), {"kind": "numeric"}),
        ("whole", MANY.astype(float), {"kind": "numeric"}),
        ("from_pandas", np.where(MANY < 50, np.nan, MANY), {}),  # floats, as ids are missing
        ("income", np.exp(2 * DRAW.normal(size=ROWS)), {"kind": "numeric", "log": "true"}),
        ("text_price", MANY.astype(str), {"kind": "numeric"}),
        ("zero_padded", [f"{n:05d}" for n in MANY], {}),
        ("app_version", DRAW.choice(["1.0", "1.1", "2.0"], ROWS), {}),
        ("rare", [f"v{n}" for n in DRAW.zipf(1.3, ROWS)], {"min_count": 2}),
    ],
)
def test_kinds(name, values, options):
    made = field({name: values}, name)
    assert made.options == options
    assert not made.reason


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("env", ["prod"] * ROWS, "constant: always prod"),
        ("empty", [None] * ROWS, "always missing"),
        ("request_id", [f"r{n}" for n in range(ROWS)], "nearly unique: 4,000 different values in"),
        ("x", [n * 7919 for n in range(ROWS)], "nearly unique"),
        ("gap", [datetime.timedelta(seconds=n % 50) for n in range(ROWS)], "spans of time"),
        ("ratio", DRAW.choice([0.5, 0.7, np.inf], ROWS), "infinite"),
        ("title", [f"one of many titles, number {n}" for n in range(ROWS)], "nearly unique"),
        ("text", [f"one of many titles {n}" for n in np.arange(ROWS) * 3 // 5], "prose: 5 words"),
        ("born", [START - datetime.timedelta(days=int(n)) for n in MANY], "times are no categ"),
        ("day", [f"2026-03-{1 + n // 1440:02d}" for n in range(ROWS)], "times are no categories"),
    ],
)
def test_what_is_left_out(name, values, reason):
    frame = {"t": [START + datetime.timedelta(minutes=n) for n in range(ROWS)], name: values}
    made = field(frame, name, time="t")
    assert made.reason.startswith(reason) or reason in made.reason
    assert not made.suspect


def test_a_user_is_no_request_though_nearly_unique_in_a_sample():
    users = [f"u{n}" for n in range(ROWS)]
    assert field({"user_id": users}, "user_id", whole=True).reason
    made = field({"user_id": users}, "user_id", whole=False)
    assert not made.reason
    assert "nearly unique in the sample" in made.notes[0]
    assert field({"request_id": users}, "request_id", whole=False).reason


def test_facts_show_values_and_missing_ones():
    known = pl.Series(["a"] * 2000 + ["b"] * 1500 + [None] * 500)
    assert field({"x": known}, "x").facts == "2 different: a, b; 12.5 % missing"
    assert field({"x": np.arange(ROWS) / 10}, "x").facts == "0 to 400, median 200"
    facts = field({"duration_ms": MANY}, "duration_ms").facts
    assert facts.startswith("a quantity, 0 to 999, median ")
    assert "most often" in field({"place": MANY}, "place").facts


def test_texts_that_are_numbers_but_for_a_few_are_told():
    texts = ["n/a.", *map(str, MANY[1:])]
    made = field({"price": texts}, "price")
    assert "kind" not in made.options
    assert "a number but for a few values, such as n/a." in made.notes


@pytest.mark.parametrize(("sign", "told"), [("|", "separated by |"), (";", "separated by ;")])
def test_lists_in_texts_are_told(sign, told):
    texts = [sign.join(f"k{n % m}" for m in (3, 5, 7)) for n in range(ROWS)]
    assert told in field({"tags": texts}, "tags").notes[0]
    assert "JSON" in field({"tags": [f'["{t}"]' for t in texts]}, "tags").notes[0]


def test_min_count_loses_few_rows():
    """Half of the values come once, but a tenth of the rows would lose theirs at 5."""
    values = [f"a{n % 200}" for n in range(ROWS)]
    values[:190] = [f"b{n}" for n in range(190)]
    assert field({"x": values}, "x").options == {}
    values[:240] = [f"b{n}" for n in range(240)]
    assert field({"x": values}, "x").options == {"min_count": 10}
    values[:1200] = [f"b{n}" for n in range(1200)]
    assert field({"x": values}, "x").options == {"min_count": 2}

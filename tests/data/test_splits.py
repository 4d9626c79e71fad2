"""Which split a row belongs to, in every way in which a log can be split."""

import datetime
import json

import numpy as np
import polars as pl
import pytest
from world.log import prepared, rows

from dtn_jax.data.epochs.reader import SplitReader

SPLITS = ("train", "validation", "test")
FIELDS = "fields: {place: {kind: numeric, encoder: standardise}}\ntasks: {click: }\n"
FRAME = rows(900).with_columns(place=pl.int_range(900))


@pytest.fixture
def split(tmp_path):
    """Prepares a log with other lines in its schema file; {split: the places of its rows}."""

    def made(lines, frame=FRAME, folder="shop"):
        # A standardised number says which row it is.
        text = f"name: shop\n{FIELDS}group: user\n{lines}\n"
        found = prepared(tmp_path / folder, frame, text)
        numbers = {s: SplitReader(found, s).everything().numeric[:, 0] for s in SPLITS}
        fitted = json.loads((found.folder / "encoders.json").read_text())["place"]
        return {
            s: np.round(v * fitted["deviation"] + fitted["mean"]).astype(int)
            for s, v in numbers.items()
        }

    return made


def test_by_time_with_dates(split):
    found = split("time: t\nsplit: {by: time, validation: 2026-03-05 12:00, test: 2026-03-08}")
    validation, test = datetime.datetime(2026, 3, 5, 12), datetime.datetime(2026, 3, 8)
    time = FRAME["t"]
    for name, mask in (
        ("train", time < validation),
        ("validation", (time >= validation) & (time < test)),
        ("test", time >= test),
    ):
        np.testing.assert_array_equal(found[name], mask.arg_true())


def test_by_time_with_shares_cuts_between_days(split):
    found = split("time: t\nsplit: {by: time, validation: 0.2, test: 0.3}")
    days = FRAME["t"].dt.day().to_numpy()
    before = [(days < day).sum() for day in range(1, 11)]
    cuts = [1 + int(np.argmin(np.abs(np.subtract(before, rows)))) for rows in (450, 630)]
    assert all(len(set(days[places])) for places in found.values())
    ends = [set(days[found[name]]) for name in SPLITS]
    assert not ends[0] & ends[1]
    assert not ends[1] & ends[2]
    assert abs(min(ends[1]) - cuts[0]) <= 1
    assert abs(min(ends[2]) - cuts[1]) <= 1


def test_by_time_with_shares_of_times_that_are_numbers(split):
    frame = FRAME.with_columns(t=pl.int_range(900) // 30)
    found = split("time: t\nsplit: {by: time, validation: 0.2, test: 0.3}", frame)
    ends = [(places[0], places[-1]) for places in found.values()]
    assert ends == [(0, 449), (450, 629), (630, 899)]


def test_by_group_keeps_whole_groups_together(split):
    found = split("split: {by: group, validation: 0.25, test: 0.25}")
    users = {name: set(FRAME["user"].to_numpy()[places]) for name, places in found.items()}
    assert sum(len(u) for u in users.values()) == FRAME["user"].n_unique()
    assert len(set.union(*users.values())) == FRAME["user"].n_unique()
    assert all(users.values())


def test_at_random_by_a_seed(split):
    found = split("split: {by: random, validation: 0.2, test: 0.1, seed: 3}")
    assert sorted(np.concatenate(list(found.values()))) == list(range(900))
    assert abs(len(found["validation"]) - 180) < 50
    assert abs(len(found["test"]) - 90) < 40
    other = split("split: {by: random, validation: 0.2, test: 0.1, seed: 4}", folder="other")
    assert list(other["test"]) != list(found["test"])


VALUES = "values: {train: [1], validation: ['2', 3], test: [4]}"
FOLDS = pl.int_range(900) % 4 + 1


@pytest.mark.parametrize(
    ("fold", "more"),
    [
        (FOLDS, VALUES),
        (FOLDS.cast(pl.Float64), VALUES),  # as pandas has them beside a null
        (FOLDS.cast(pl.String), VALUES),
        (FOLDS.replace_strict(dict(zip(range(1, 5), [*SPLITS[:2], *SPLITS[1:]]))), ""),
    ],
)
def test_by_the_values_of_a_column(split, fold, more):
    """They are compared as ids are; by default they are the splits' names."""
    found = split(f"split: {{by: column, column: fold, {more}}}", FRAME.with_columns(fold=fold))
    for name, places in zip(SPLITS, ([0], [1, 2], [3])):
        np.testing.assert_array_equal(
            found[name], np.flatnonzero(np.isin(np.arange(900) % 4, places))
        )


def test_a_column_without_validation_has_a_share_of_trains_groups_there(split):
    lines = "split: {by: column, column: fold, values: {train: [0, 1, 2], test: [3]}, "
    frame = FRAME.with_columns(fold=pl.int_range(900) % 4)
    found = split(lines + "validation: 0.3}", frame)
    np.testing.assert_array_equal(found["test"], np.arange(3, 900, 4))
    train, validation = (set(FRAME["user"].to_numpy()[found[name]]) for name in SPLITS[:2])
    assert validation
    assert not train & validation
    assert abs(len(found["validation"]) - 0.3 * 675) < 100


def ordered(frame, validation, test):
    """{split: places}, a user at a time in plain Python."""
    found = {name: [] for name in SPLITS}
    for (_,), own in frame.group_by("user"):
        places = own.sort("t", "place")["place"].to_list()
        n = len(places)
        last = min(int(test) if test >= 1 else int(test * n + 1e-9), n - 1)
        before = int(validation) if validation >= 1 else int(validation * n + 1e-9)
        before = min(before, n - 1 - last)
        found["train"] += places[: n - last - before]
        found["validation"] += places[n - last - before : n - last]
        found["test"] += places[n - last :]
    return {name: sorted(places) for name, places in found.items()}


@pytest.mark.parametrize(("validation", "test"), [(1, 1), (2, 3), (0.2, 0.3)])
def test_each_users_last_rows(split, validation, test):
    """Three users have one row, which trains."""
    rng, place = np.random.default_rng(5), pl.int_range(900)
    alone = pl.when(place < 3).then(1000 + place).otherwise("user")
    shuffled = FRAME[rng.permutation(900)].with_columns(place=place, user=alone)
    lines = f"time: t\nsplit: {{by: user_order, validation: {validation}, test: {test}}}"
    found = split(lines, shuffled)
    expected = ordered(shuffled, validation, test)
    for name in SPLITS:
        np.testing.assert_array_equal(found[name], expected[name])

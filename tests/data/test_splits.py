"""Which split a row belongs to; which rows stay; positives where a task that theirs needs is 0."""

import datetime
import json

import numpy as np
import polars as pl
import pytest
import sampled
from world.log import SPLITS, by_user_order, prepared, rows, schema_file, write

from dtn_jax.data import prepare as logs
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.errors import UserError

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


@pytest.mark.parametrize(("validation", "test"), [(1, 1), (2, 3), (0.2, 0.3)])
def test_each_users_last_rows(split, validation, test):
    """Three users have one row, which trains."""
    rng, place = np.random.default_rng(5), pl.int_range(900)
    alone = pl.when(place < 3).then(1000 + place).otherwise("user")
    shuffled = FRAME[rng.permutation(900)].with_columns(place=place, user=alone)
    lines = f"time: t\nsplit: {{by: user_order, validation: {validation}, test: {test}}}"
    found = split(lines, shuffled)
    expected = by_user_order(shuffled, validation, test)
    for name in SPLITS:
        np.testing.assert_array_equal(found[name], np.flatnonzero(expected == name))


# Negative down-sampling: fewer train rows, with weights that make up for the others.


BY_CHANCE = """
name: shop
fields: {item: }
tasks: {click: , order: {upstream: [click]}}
split: {by: random, validation: 0.1, test: 0.1}
"""
MANY = rows(6000, seed=3)


def labels(shop, split):
    found = SplitReader(shop, split).everything()
    return found.labels, found.sample_weight


def test_positives_stay_and_a_share_of_negatives(tmp_path):
    text = f"{BY_CHANCE}sample_negatives: {{click: 0.2}}\n"
    whole = prepared(tmp_path / "whole", MANY, BY_CHANCE)
    sampled = prepared(tmp_path / "sampled", MANY, text)
    before, _ = labels(whole, "train")
    after, weight = labels(sampled, "train")
    assert (after[:, 0] == 1).sum() == (before[:, 0] == 1).sum()
    negatives = (before[:, 0] == 0).sum()
    assert abs((after[:, 0] == 0).sum() / negatives - 0.2) < 0.03
    np.testing.assert_allclose(weight, np.where(after[:, 0] == 0, 5, 1))
    for task in range(2):
        rate = (after[:, task] * weight).sum() / weight.sum()
        assert abs(rate - before[:, task].mean()) < 0.02
    for split in ("validation", "test"):
        assert sampled.rows[split] == whole.rows[split]
        assert (labels(sampled, split)[1] == 1).all()
    assert sampled.notes["sample_negatives"] == {"click": 0.2}


def test_a_row_stays_for_the_task_that_wants_it_most(tmp_path):
    text = f"{BY_CHANCE}sample_negatives: {{click: 0.1, order: 0.5}}\n"
    after, weight = labels(prepared(tmp_path, MANY, text), "train")
    expected = np.where(after[:, 0] == 1, 1, 2)  # no click: kept for order's half
    np.testing.assert_allclose(weight, expected)


def test_a_weight_column_is_multiplied(tmp_path):
    frame = MANY.with_columns(w=pl.int_range(6000) % 3 + 1)
    text = f"{BY_CHANCE}sample_negatives: {{click: 0.2}}\nweight: w\n"
    after, weight = labels(prepared(tmp_path, frame, text), "train")
    factor = np.where(after[:, 0] == 0, 5, 1)
    assert set((weight / factor).round(4)) == {1, 2, 3}


# Positives on rows where a task that theirs is taken to need is 0: counted, told, refused.


SPACES = """
name: shop
fields: {item: }
tasks:
  click: {known: item > 0}
  order: {upstream: [click], also_report: [click], positives_outside: 0.2}
  like: {space: click}
split: {by: random}
"""


def log():
    """1,000 rows: 100 orders with a click, 20 without, and 30 where no click is known."""
    place = np.arange(1000)
    click = place < 400
    order = (place < 100) | ((place >= 400) & (place < 420)) | (place >= 970)
    like = (place >= 390) & (place < 425)  # 10 with a click, 25 without
    item = np.where(place >= 970, 0, 1 + place % 7)
    columns = {"item": item, "click": click, "order": order, "like": like}
    frame = pl.DataFrame({name: values.astype(int) for name, values in columns.items()})
    return frame.sample(fraction=1.0, shuffle=True, seed=0)


def with_most(share):
    return SPACES.replace("positives_outside: 0.2", share)


def test_positives_are_counted_where_the_other_label_is_known(tmp_path):
    """In a whole log, of fewer negatives, and as an extension."""
    whole = prepared(tmp_path, log(), SPACES)
    first, second = whole.notes["account"][:2]
    assert first.startswith("20 of 120 positives of task 'order' (16.7 %) lie on rows")
    assert second.startswith("25 of 35 positives of task 'like' (71.4 %) lie on rows")
    later = SPACES.replace("shop", "later")
    fewer = prepared(tmp_path / "fewer", log(), later + "sample_negatives: {click: 0.1}\n")
    assert fewer.rows["train"] < whole.rows["train"] / 1.5
    source = write(tmp_path / "raw_later", log())
    schema = schema_file(tmp_path, later, "later.yaml")
    more = logs.prepare(schema, source, tmp_path / "data", processes=1, extend="shop")
    for made in (whole, fewer, more):
        assert made.notes["positives_outside"] == {
            "click": {"order": [400, 300], "like": [400, 390]},
            "order": {"click": [120, 20], "like": [150, 130]},
            "like": {"click": [35, 25], "order": [35, 15]},
        }


def test_positives_count_by_their_weights(tmp_path):
    """Each of the 20 without a click stands for 10 in a log that keeps a tenth of such rows."""
    weight = pl.when(pl.col("click") == 1).then(1).otherwise(10)
    text = SPACES.replace("0.2}", "0.7}") + "weight: w\n"
    made = prepared(tmp_path, log().with_columns(w=weight), text)
    assert made.notes["positives_outside"]["order"]["click"] == [300, 200]
    assert made.notes["account"][0].startswith(
        "200 of 300 positives of task 'order', counted by 'w', (66.7 %) lie on rows where 'click' "
    )
    with pytest.raises(
        UserError, match=r"200 of 300 .* \(66\.7 %\).* \{positives_outside: 0\.67\}"
    ):
        prepared(tmp_path / "few", log().with_columns(w=weight), text.replace("0.7}", "0.6}"))


def test_too_many_are_refused_until_the_schema_file_allows_them(tmp_path):
    told = r"shop.yaml, line 6: 20 of 120 positives of task 'order' \(16\.7 %\) lie on rows where"
    told += r" 'click' is 0, more than .* 0\.01 allows: .*\{positives_outside: 0\.17\}"
    with pytest.raises(UserError, match=told):
        prepared(tmp_path, log(), with_most(""))
    target = tmp_path / "data/logs/shop/1.0.0"
    assert not target.exists()
    prepared(tmp_path, log(), with_most("positives_outside: 0.17"))
    assert "positives_outside: 0.17" in (target / "schema_file.yaml").read_text()


@pytest.mark.parametrize(("stray", "drafted"), [(0.0, True), (0.005, False), (0.2, False)])
def test_a_draft_claims_no_relation_that_prepare_refuses(stray, drafted):
    draw = sampled.draw(2)
    click = draw.random(20_000) < 0.3
    order = click & (draw.random(20_000) < 0.5)
    elsewhere = np.flatnonzero(~click)[: round(stray * order.sum() / (1 - stray))]
    order[elsewhere] = True
    made = sampled.draft({"click": click, "order": order}, ("click", "order"))
    task = made.tasks[1]
    assert task.options == ({"upstream": ["click"], "also_report": ["click"]} if drafted else {})
    note = f"{order.sum() - len(elsewhere):,} of {order.sum():,} rows are among those of click: too"
    told = [n for n in task.notes if n.startswith(note) and "upstream: [click]" in n]
    assert len(told) == (not drafted)
    assert (note in sampled.text(made)) == (not drafted)

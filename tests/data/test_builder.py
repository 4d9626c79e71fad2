"""From raw frames to a prepared set on disk: rows, facts, groups and days; what is refused."""

import datetime
import hashlib
import json
import pathlib

import numpy as np
import polars as pl
import pytest
from shop import ENCODERS, TASKS, Shop, prepare, rows_of, shop_frame

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation import prepared
from dtn_jax.datasets.preparation.checks import check_frame
from dtn_jax.datasets.preparation.dates import check_day
from dtn_jax.datasets.preparation.groups import check_group
from dtn_jax.errors import UserError


class Grouped(Shop, skip_registration=True):
    """The same set, its rows grouped by a column that is a field too."""

    group = "word"


class Dated(Shop, skip_registration=True):
    """The same set, its rows dated by a column."""

    day = "date"


def built(builder):
    builder.download_and_prepare()
    return prepared.read(pathlib.Path(builder.data_dir))


def test_prepared_rows_are_the_raw_rows_in_order(splits, tmp_path, capfd):
    data = prepare(splits, tmp_path)
    assert data.rows == {"train": 101, "validation": 24, "test": 7}
    fitted = enc.fit(ENCODERS, splits["train"])
    assert data.encoders() == fitted
    assert [f.name for f in data.schema.fields] == ["word", "size", "speed", "id"]
    assert data.schema.tasks == TASKS
    assert data.schema.weight == "w"
    assert data.groups("train") is data.days("train") is None
    for split, frames in splits.items():
        frame, got = pl.concat(frames), rows_of(data, split)
        for slot, (name, encoder) in enumerate(fitted.items()):
            np.testing.assert_array_equal(got["ids"][:, slot], encoder.encode(frame[name]))
        np.testing.assert_array_equal(got["numeric"][:, 0], fitted["speed"].values(frame["speed"]))
        np.testing.assert_array_equal(got["sample_weight"], frame["w"].to_numpy())
        click, seconds = frame["click"], frame["seconds"].fill_nan(None)
        known = np.stack([click.is_not_null(), seconds.is_not_null()], axis=1)
        np.testing.assert_array_equal(got["label_mask"], known)
        labels = [click.fill_null(0).to_numpy(), seconds.fill_null(0).to_numpy()]
        np.testing.assert_array_equal(got["labels"], np.float32(np.stack(labels, axis=1)))
    shown = capfd.readouterr()
    assert shown.err == ""
    first, second = shown.out.splitlines()
    assert first == f"Preparing shop in {data.folder}"
    assert second.startswith("shop: 101 train, 24 validation, 7 test rows; unknown values")


def test_the_facts_of_a_set(splits, tmp_path):
    data = prepare(splits, tmp_path)
    facts = json.loads((data.folder / "prepared.json").read_text())
    unknown = {
        split: {"word": 0, "size": 0, "speed": 0, "id": int((~frame["id"].is_between(1, 5)).sum())}
        for split, frame in ((s, pl.concat(f)) for s, f in splits.items())
    }
    unknown["test"]["word"] = 3  # two that train did not show and one that is missing
    assert facts["unknown_values"] == data.unknown_values == unknown
    for split, frames in splits.items():
        frame = pl.concat(frames)
        missing = {"click": frame["click"].null_count(), "seconds": -(-len(frame) // 5)}
        assert facts["missing_labels"][split] == missing
    assert data.notes == {"shops": 1}
    for path in data.folder.iterdir():  # all that lies there is JSON or records: no pickles
        if "array_record" not in path.name:
            json.loads(path.read_text())


@pytest.mark.parametrize(
    ("split", "column", "value"),
    [("train", "speed", 0.123), ("validation", "seconds", None), ("test", "w", 99)],
)
def test_the_fingerprint_is_that_of_the_values(splits, tmp_path, split, column, value):
    first = prepare(splits, tmp_path / "1")
    cut = {s: list(pl.concat(f).iter_slices(5)) for s, f in splits.items()}  # the same rows
    assert prepare(cut, tmp_path / "2").fingerprint == first.fingerprint
    frame = splits[split][-1]
    row = next(i for i, v in enumerate(frame[column]) if v != value and v == v and v is not None)
    values = frame[column].to_list()
    values[row] = value
    changed = frame.with_columns(pl.Series(column, values, dtype=frame[column].dtype))
    splits[split] = [*splits[split][:-1], changed]
    assert prepare(splits, tmp_path / "3").fingerprint != first.fingerprint


def test_encoders_see_train_alone(splits, tmp_path):
    first = prepare(splits, tmp_path / "1")
    other = shop_frame(24, seed=9).with_columns(word=pl.lit("zzz"), size=pl.lit(1_000))
    second = prepare(splits | {"validation": [other]}, tmp_path / "2")
    assert second.encoders() == first.encoders()
    assert second.unknown_values["validation"]["word"] == 24


def test_groups_are_stored_in_row_order(splits, tmp_path):
    with pytest.raises(UserError, match="test: group 'word' is None in row 3"):
        built(Grouped(splits, data_dir=str(tmp_path)))
    splits["test"][0] = splits["test"][0].with_columns(pl.col("word").fill_null("nobody"))
    data = built(Grouped(splits, data_dir=str(tmp_path)))
    assert data.schema.group == "word"
    numbers = {}
    for split, frames in splits.items():
        groups = data.groups(split)
        for part in (slice(1, 2), slice(2, len(groups)), slice(3, 3)):
            np.testing.assert_array_equal(data.groups(split, part), groups[part])
        for word, number in zip(pl.concat(frames)["word"], groups, strict=True):
            assert numbers.setdefault(word, number) == number  # the same in every split and chunk
    assert len(set(numbers.values())) == len(numbers) == 6  # those that train lacks stay apart
    digest = hashlib.blake2b(b"a", digest_size=8).digest()  # fixed: prepared sets hold it
    assert numbers["a"] == int.from_bytes(digest, "little", signed=True) == 3405396810240292928


def test_days_are_stored_in_row_order(splits, tmp_path):
    first, dated = datetime.date(1969, 12, 30), {}
    for split, frames in splits.items():
        joined = pl.concat(frames)
        dates = [first + datetime.timedelta(n) for n in range(len(joined))]
        dated[split] = [joined.with_columns(date=pl.Series(dates))]
    data = built(Dated(dated, data_dir=str(tmp_path)))
    assert data.schema.day == "date"
    for split, frames in splits.items():
        expected = np.arange(len(pl.concat(frames))) - 2
        got = data.days(split)
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, expected)
        for part in (slice(1, 2), slice(2, len(got)), slice(3, 3)):
            np.testing.assert_array_equal(data.days(split, part), expected[part])
    dated["test"][0] = dated["test"][0].with_columns(date=pl.lit(3))
    with pytest.raises(UserError, match="test: day 'date' has the type Int32"):
        built(Dated(dated, data_dir=str(tmp_path / "bad")))


NAN, INF = float("nan"), float("inf")
GOOD = {
    "word": ["a", "b", None],
    "size": [1, None, 3],
    "speed": [0.5, NAN, None],
    "id": [1, None, 9],
    "click": [0, 1, 1],
    "seconds": [0.5, -3.0, 1e9],
    "w": [1.0, 0.0, 2.5],
}


def check(change):
    columns = {k: v for k, v in (GOOD | change).items() if v is not None}
    frame = pl.DataFrame(columns, strict=False)
    check_frame(frame, ENCODERS, TASKS, "w", "shop/train", 100)


def test_a_good_frame():
    check({})
    check({"click": [NAN, 1.0, 0.0], "seconds": [NAN, 1.0, None], "extra": ["x"] * 3})
    check({"click": [True, False, None], "size": [True, False, None], "speed": [None] * 3})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": None}, "column 'size' is missing; the columns are: word, speed, id, click"),
        ({"click": None}, "column 'click' is missing"),
        ({"w": None}, "column 'w' is missing"),
        ({"size": ["1", "?", "3"]}, "column 'size' must be numeric, got String .*'1', '?'"),
        ({"click": ["yes", "no", "no"]}, "column 'click' must be numeric, got String .*'yes'"),
        ({"w": ["1"] * 3}, "column 'w' must be numeric"),
        ({"id": [1.5, 2.0, 3.0]}, "column 'id' must be of integers, got Float64 .*1.5, 2.0"),
        ({"click": [0, 2, 2]}, r"label 'click' is 2 in row 102 \(2 such rows .* 0, 1 or"),
        ({"click": [0.5, 1, 0]}, "label 'click' is 0.5 in row 101"),
        ({"click": [0, 1, -1]}, "label 'click' is -1 in row 103"),
        ({"seconds": [1.0, 2.0, INF]}, "label 'seconds' is inf in row 103 .* a finite number"),
        ({"seconds": [1.0, 1e300, 3.0]}, r"label 'seconds' is 1e\+300 in row 102"),
        ({"w": [1.0, -0.5, 1.0]}, "weight 'w' is -0.5 in row 102 .* a finite number, 0 or more"),
        ({"w": [1.0, None, 1.0]}, "weight 'w' is None in row 102"),
        ({"w": [NAN, 1.0, 1.0]}, "weight 'w' is nan in row 101"),
    ],
)
def test_a_bad_frame(change, message):
    with pytest.raises(UserError, match=f"^shop/train: {message}"):
        check(change)


DAY = pl.Series([datetime.date(2022, 4, 8), None], dtype=pl.Date)


@pytest.mark.parametrize(
    ("checked", "column", "message"),
    [
        (check_group, {"other": [1]}, "column 'c' is missing; the columns are: other"),
        (check_group, {"c": [1, None]}, "group 'c' is None in row 102 .* expected a whole number"),
        (check_group, {"c": pl.Series([2**63], dtype=pl.UInt64)}, "group 'c' is 92233720368547758"),
        (check_group, {"c": [0.5]}, "group 'c' has the type Float64; expected a whole number"),
        (check_day, {"other": [1]}, "column 'c' is missing; the columns are: other"),
        (check_day, {"c": [20220408]}, "day 'c' has the type Int64; expected a date"),
        (check_day, {"c": DAY}, "day 'c' is None in row 102"),
    ],
)
def test_a_bad_group_or_day(checked, column, message):
    with pytest.raises(UserError, match=f"^shop/train: {message}"):
        checked(pl.DataFrame(column), "c", "shop/train", first_row=100)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_empty_split(splits, tmp_path, split):
    splits[split] = [splits[split][0].clear()] if split == "test" else []
    with pytest.raises(UserError, match=f"the {split} split is empty"):
        prepare(splits, tmp_path)
    assert not list(tmp_path.rglob("*.json"))  # nothing half prepared is left


def test_train_is_checked_before_the_encoders_see_it(splits, tmp_path):
    late = splits["train"][-1]
    bad = late["click"].to_list()
    bad[2] = 3
    for frame, message in (
        (late.drop("size"), "column 'size' is missing"),
        (late.with_columns(click=pl.Series(bad)), "label 'click' is 3 in row 43"),
    ):
        splits["train"][-1] = frame
        with pytest.raises(UserError, match=f"shop/train: {message}"):
            prepare(splits, tmp_path)

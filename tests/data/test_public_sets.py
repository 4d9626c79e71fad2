"""AliExpress and KuaiRand-Pure: splits by file and by date, every column, damage."""

import numpy as np
import polars as pl
import pytest
import twins
from public_sets import column, labels, load, same_values

from dtn_jax.errors import UserError


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    """(folder, frames, prepared set)."""
    folder = tmp_path_factory.mktemp("aliexpress")
    frames = twins.aliexpress(folder / "raw" / "aliexpress", "ES")
    return folder, frames, load(folder, "aliexpress", "country=ES")


def test_rows_and_splits(country):
    _, frames, prepared = country
    train, test = frames["train"], frames["test"]
    assert prepared.rows["test"] == len(test)
    np.testing.assert_array_equal(labels(prepared, "test"), test["click", "conversion"].to_numpy())
    np.testing.assert_array_equal(prepared.groups("test"), test["search_id"])
    # Whole searches of train are validation, about a tenth of them; both keep the file's order.
    held = set(prepared.groups("validation").tolist())
    assert 2 < len(held) < 20
    for split, rows in (
        ("train", train.filter(~train["search_id"].is_in(list(held)))),
        ("validation", train.filter(train["search_id"].is_in(list(held)))),
    ):
        assert prepared.rows[split] == len(rows)
        np.testing.assert_array_equal(prepared.groups(split), rows["search_id"])
        found = labels(prepared, split)
        np.testing.assert_array_equal(found, rows["click", "conversion"].to_numpy())
        for name in ("categorical_1", "categorical_7"):
            assert same_values(column(prepared, split, name), rows[name].to_list())


def test_fields_and_tasks_of_ali(country):
    _, frames, prepared = country
    names = [n for n in frames["train"].columns if n.startswith(("categorical", "numerical"))]
    assert len(names) == 79
    assert [field.name for field in prepared.schema.fields] == names
    click, conversion = prepared.schema.tasks
    assert (click.name, conversion.name) == ("click", "conversion")
    assert conversion.upstream == conversion.also_report == ("click",)
    assert conversion.space == "all"
    # A quantile bucket holds a span of values.
    ids = column(prepared, "test", "numerical_5")
    order = np.argsort(frames["test"]["numerical_5"].to_numpy(), kind="stable")
    assert (np.diff(ids[order]) >= 0).all()
    assert len(set(ids.tolist())) > 10


def test_missing_files_are_told_with_the_address(tmp_path):
    with pytest.raises(UserError) as caught:
        load(tmp_path, "aliexpress", raw="")
    for part in ("tianchi.aliyun.com", "AliExpress_NL/train.csv and AliExpress_NL/test.csv"):
        assert part in str(caught.value)
    twins.aliexpress(tmp_path / "raw" / "aliexpress")
    (tmp_path / "raw/aliexpress/AliExpress_NL/test.csv").unlink()
    with pytest.raises(UserError, match=r"raw/aliexpress lacks AliExpress_NL/test.csv\. Get the"):
        load(tmp_path, "aliexpress")


@pytest.fixture(scope="module")
def pure(tmp_path_factory):
    """(folder, frame, prepared set)."""
    folder = tmp_path_factory.mktemp("pure")
    frame = twins.kuairand_pure(folder / "raw" / "kuairand_pure")
    return folder, frame, load(folder, "kuairand_pure")


def of_split(frame, split):
    first, last = {
        "train": (20220408, 20220421),
        "validation": (20220422, 20220428),
        "test": (20220429, 20220508),
    }[split]
    return frame.filter(pl.col("date").is_between(first, last))


@pytest.mark.parametrize(("split", "days"), [("train", 14), ("validation", 7), ("test", 10)])
def test_rows_of_each_split(pure, split, days):
    _, frame, prepared = pure
    rows = of_split(frame, split)
    assert prepared.rows[split] == len(rows) == 25 * days
    np.testing.assert_array_equal(prepared.groups(split), rows["user_id"])
    np.testing.assert_array_equal(
        labels(prepared, split), rows[list(twins.TASKS.values())].to_numpy()
    )
    date = rows["date"].cast(pl.String).str.to_date("%Y%m%d")
    for field, values in (
        ("user", rows["user_id"]),
        ("video", rows["video_id"]),
        ("hour", rows["hourmin"] // 100),
        ("weekday", date.dt.weekday()),
        ("tab", rows["tab"]),
    ):
        assert same_values(column(prepared, split, field), values.to_list())


def test_fields_and_tasks_of_pure(pure):
    _, frame, prepared = pure
    names = ["user", "video", "hour", "weekday", "duration", "tab"]
    assert [field.name for field in prepared.schema.fields] == names
    assert [task.name for task in prepared.schema.tasks] == list(twins.TASKS)
    assert prepared.schema.tasks[1].upstream == prepared.schema.tasks[1].also_report == ("click",)
    # A video that train shows once shares the unknown id.
    counts = of_split(frame, "train")["video_id"].value_counts()
    known = counts.filter(pl.col("count") >= 2)["video_id"].to_list()
    shown = of_split(frame, "test")["video_id"].is_in(known)
    np.testing.assert_array_equal(column(prepared, "test", "video") > 0, shown)

"""KuaiRand-Pure: fixed dates decide the split, and the random log is not read."""

import numpy as np
import polars as pl
import pytest
import twins
from public_sets import column, groups, labels, load, same_values, trained

from dtn_jax.datasets.kuairand.files import LABELS
from dtn_jax.errors import UserError

EARLY = "KuaiRand-Pure/data/log_standard_4_08_to_4_21_pure.csv"


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
    np.testing.assert_array_equal(groups(prepared, split), rows["user_id"])
    np.testing.assert_array_equal(labels(prepared, split), rows[list(LABELS.values())].to_numpy())
    date = rows["date"].cast(pl.String).str.to_date("%Y%m%d")
    for field, values in (
        ("user", rows["user_id"]),
        ("video", rows["video_id"]),
        ("hour", rows["hourmin"] // 100),
        ("weekday", date.dt.weekday()),
        ("tab", rows["tab"]),
    ):
        assert same_values(column(prepared, split, field), values.to_list())


def test_fields_and_tasks(pure):
    _, frame, prepared = pure
    names = ["user", "video", "hour", "weekday", "duration", "tab"]
    assert [field.name for field in prepared.schema.fields] == names
    assert [task.name for task in prepared.schema.tasks] == list(LABELS)
    assert prepared.schema.tasks[1].upstream == prepared.schema.tasks[1].also_report == ("click",)
    # A video that train shows once shares the unknown id.
    counts = of_split(frame, "train")["video_id"].value_counts()
    known = counts.filter(pl.col("count") >= 2)["video_id"].to_list()
    shown = of_split(frame, "test")["video_id"].is_in(known)
    np.testing.assert_array_equal(column(prepared, "test", "video") > 0, shown)


@pytest.mark.slow
def test_it_trains(pure):
    found = trained(pure[0], "kuairand_pure")
    assert {"click@all", "long_view@click"} <= found["test"].keys()


def test_damage(tmp_path):
    twins.kuairand_pure(tmp_path / "raw" / "kuairand_pure")
    path = tmp_path / "raw" / "kuairand_pure" / EARLY
    whole = path.read_text()
    rows = whole.splitlines(keepends=True)
    for text, message in (
        ("".join([*rows[:8], "1,2,202\n", *rows[9:]]), r"too few columns: .*4_21_pure\.csv, row 9"),
        (whole.replace("hourmin", "hour_min", 1), r"4_21_pure\.csv.*'hourmin'"),
        (whole.replace("20220409", "20220431"), r"time that does not parse: .*row 27.*20220431"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            load(tmp_path, "kuairand_pure")
    path.unlink()
    with pytest.raises(UserError, match=rf"kuairand_pure lacks {EARLY}\. Get the set from https"):
        load(tmp_path, "kuairand_pure")

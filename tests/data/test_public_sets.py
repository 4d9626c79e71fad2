"""AliExpress and KuaiRand-Pure: splits by file and by date, every column; real sets' rows and
rates."""

import os
import pathlib

import numpy as np
import polars as pl
import pytest
import twins
from public_sets import column, labels, load, same_values

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets import catalog


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


# fmt: off
REAL = {  # {set: (rows by split, {task: positives, or (rows with the label, positives)} of train
    # with validation, those of test)}; docs/data.md names these of the seven labels
    "census_income": (
        (179_571, 19_952, 99_762),
        {"income": 12_382, "never_married": 86_485}, {"income": 6_186, "never_married": 43_143},
    ),
    "census_income tasks=seven": (
        (129_207, 14_324, 72_043),
        {
            "income": 12_380, "never_married": 30_587, "moved": (71_720, 11_448),
            "foreign_born": 19_679, "self_employed": 11_532, "union": (18_619, 3_019),
            "bachelor": 29_460,
        },
        {
            "income": 6_186, "never_married": 15_474, "moved": (35_959, 5_647),
            "foreign_born": 10_048, "self_employed": 5_850, "union": (9_269, 1_441),
            "bachelor": 14_687,
        },
    ),
    **dict.fromkeys(("kuairand", "kuairand_histories"), (
        (33_485, 4_508, 3_835),
        {"click": 25_048, "long_view": 17_610, "profile_enter": 2_043, "comment": 1_144,
         "forward": 304, "follow": 284},
        {"click": 2_436, "long_view": 1_710, "profile_enter": 171, "comment": 114, "forward": 22,
         "follow": 20},
    )),
}
# fmt: on
SHARED = pathlib.Path(os.environ.get("DTN_MANUAL_DIR", "nowhere"))


@pytest.mark.slow
@pytest.mark.parametrize("given", REAL)
def test_rows_and_rates_of_real_sets(given, tmp_path):
    name, _, options = given.partition(" ")
    if not (SHARED / name.removesuffix("_histories")).exists():
        pytest.skip("needs $DTN_MANUAL_DIR with the real files")
    rows, *rates = REAL[given]
    data = catalog.load(name, options, str(tmp_path), str(SHARED))
    assert tuple(data.rows.values()) == rows
    found = {split: SplitReader(data, split).everything() for split in data.rows}
    for splits, expected in zip((("train", "validation"), ("test",)), rates, strict=True):
        every = sum(data.rows[split] for split in splits)
        counts = [
            sum(np.asarray(getattr(found[s], a)).sum(axis=0, dtype=int) for s in splits).tolist()
            for a in ("label_mask", "labels")
        ]
        wanted = {t: n if isinstance(n, tuple) else (every, n) for t, n in expected.items()}
        assert dict(zip(data.schema.task_names, zip(*counts), strict=True)) == wanted

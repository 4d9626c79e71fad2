"""MovieLens' versions: files joined, splits by each user's order, fields, and training."""

import math

import numpy as np
import polars as pl
import pytest
import twins
from public_sets import column, labels, load, same_values, trained

VERSIONS = ("100k", "1m", "25m")


@pytest.fixture(scope="module", params=VERSIONS)
def movies(request, tmp_path_factory):
    """(version, folder, frame of all ratings, prepared set)."""
    version = request.param
    folder = tmp_path_factory.mktemp(version)
    frame = twins.movielens(folder / "raw" / "movielens", version)
    return version, folder, frame, load(folder, "movielens", f"version={version}")


def split_of(frame):
    """The split of each row: of a user's n rows the last n // 10 are test, as many validation."""
    found = np.full(len(frame), "train", object)
    for user in frame["user"].unique():
        own = np.flatnonzero(frame["user"] == user)
        own = own[np.argsort(frame["t"].to_numpy()[own], kind="stable")]
        tenth = math.floor(len(own) / 10)
        found[own[len(own) - tenth :]] = "test"
        found[own[len(own) - 2 * tenth : len(own) - tenth]] = "validation"
    return found


def test_rows_splits_and_labels(movies):
    _, _, frame, prepared = movies
    splits = split_of(frame)
    for split in ("train", "validation", "test"):
        rows = frame.filter(pl.Series(splits == split))
        assert prepared.rows[split] == len(rows) > 10
        np.testing.assert_array_equal(prepared.groups(split), rows["user"])
        expected = np.stack([rows["rating"] >= 4, rows["rating"]], axis=1)
        np.testing.assert_array_equal(labels(prepared, split), expected)
        assert same_values(column(prepared, split, "user"), rows["user"].to_list())
        assert same_values(column(prepared, split, "movie"), rows["movie"].to_list())


def test_fields(movies):
    version, _, frame, prepared = movies
    people = [] if version == "25m" else ["gender", "age", "occupation", "zip"]
    names = ["user", "movie", "genres", "year", *people]
    assert [field.name for field in prepared.schema.fields] == names
    rows = frame.filter(pl.Series(split_of(frame) == "train"))
    bags = column(prepared, "train", "genres")
    np.testing.assert_array_equal((bags >= 0).sum(axis=1), rows["genres"].list.len())
    once = rows["genres"].list.len() == 1
    single = rows.filter(once)["genres"].list.first().to_list()
    assert same_values(bags[once.to_numpy()].max(axis=1), single)
    year = column(prepared, "train", "year")
    order = rows["year"].fill_null(0).arg_sort()
    known = year[order][rows["year"].null_count() :]
    assert (np.diff(known) >= 0).all()
    assert len(set(known.tolist())) > 10
    for name in set(people) - ({"age"} if version == "100k" else set()):
        assert same_values(column(prepared, "train", name), rows[name].cast(pl.String).to_list())


@pytest.mark.slow
@pytest.mark.parametrize(
    "version", [VERSIONS[1], *(pytest.param(v, marks=pytest.mark.nightly) for v in VERSIONS[::2])]
)
def test_it_trains(tmp_path, version):
    twins.movielens(tmp_path / "raw" / "movielens", version)
    load(tmp_path, "movielens", f"version={version}")
    found = trained(tmp_path, "movielens", f"version={version}", **{"train.select": "like"})
    assert {"like@all", "rating@all"} <= found["test"].keys()

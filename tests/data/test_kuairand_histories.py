"""KuaiRand with histories: the rows of the set kuairand, and what users did strictly before."""

import numpy as np
import polars as pl
import pytest
import twins
from public_sets import column, labels, load, same_values

from dtn_jax.data.sets import catalog

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(folder, frame, the set with histories, the set kuairand of the same files)."""
    folder = tmp_path_factory.mktemp("histories")
    raw = folder / "raw" / "kuairand"
    frame = twins.kuairand_pure(folder)
    raw.mkdir(parents=True)
    for path in (folder / "KuaiRand-Pure" / "data").glob("log_standard*"):
        path.rename(raw / path.name)
    plain = catalog.load("kuairand", "min_count=1", str(folder / "data"), str(folder / "raw"))
    return folder, frame, load(folder, "kuairand_histories"), plain


def test_the_set_is_that_without_histories_but_for_these(both):
    _, _, made, plain = both
    assert made.rows == plain.rows == {"train": 250, "validation": 50, "test": 50}
    assert made.schema.tasks == plain.schema.tasks
    own, usual = made.schema.fields, plain.schema.fields
    assert [f.name for f in own] == [*(f.name for f in usual), "clicked", "viewed"]
    assert [(f.name, f.kind, f.rows) for f in own[: len(usual)]] == [
        (f.name, f.kind, f.rows) for f in usual
    ]
    for split in SPLITS:
        np.testing.assert_array_equal(made.groups(split), plain.groups(split))
        np.testing.assert_array_equal(labels(made, split), labels(plain, split))
        for field in usual:
            ids = column(plain, split, field.name)
            mine = column(made, split, field.name)
            np.testing.assert_array_equal(mine > 0, ids > 0)
            assert same_values(mine, ids.tolist()), field.name


@pytest.mark.parametrize(("field", "label"), [("clicked", "is_click"), ("viewed", "long_view")])
def test_a_history_lists_what_is_strictly_earlier(both, field, label):
    """In the twin all rows of a day have one time, so that none of them is in a history of it."""
    _, frame, made, _ = both
    rows = frame.filter(pl.col("date") <= 20220421)
    video, lists = (
        np.concatenate([column(made, s, name) for s in SPLITS]) for name in ("video", field)
    )
    user, time, happened = (rows[c].to_numpy() for c in ("user_id", "time_ms", label))
    for row, ids in enumerate(lists):
        before = (user == user[row]) & (time < time[row]) & (happened == 1)
        # As many slots as the longest of train needs.
        np.testing.assert_array_equal(ids[ids >= 0], video[before][-lists.shape[1] :])
    assert (lists >= 0).any()

"""The embedded Adult data: whole, as UCI published it, and as it is prepared."""

import itertools
import json

import numpy as np
import polars as pl
import pytest

from dtn_jax.data import vocabulary
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets import adult, catalog


@pytest.fixture(scope="module")
def data(prepared_dir):
    return catalog.load("adult", data_dir=prepared_dir)


@pytest.fixture(scope="module")
def frame():
    return adult.read().with_columns(
        income=pl.col("income") == ">50K",
        never_married=pl.col("marital-status") == "Never-married",
    )


def test_the_file_is_small_and_whole(frame):
    assert adult.FILE.stat().st_size < 500_000
    assert frame.shape == (48_842, 15 + 1)  # `never_married` beside UCI's columns
    test, train = frame[:16_281], frame[16_281:]
    assert len(train) == 32_561
    # UCI's adult.names: 24.08 % and 23.62 % earn more.
    assert train["income"].sum() == 7_841
    assert test["income"].sum() == 3_846
    assert train["never_married"].sum() == 10_683
    assert frame["never_married"].sum() == 16_117
    for column, unknown in (("workclass", 2_799), ("occupation", 2_809), ("native-country", 857)):
        assert (frame[column] == "?").sum() == unknown
    assert frame.null_count().sum_horizontal().item() == 0


def test_test_rows_can_be_read_back(data, frame):
    batch = SplitReader(data, "test").everything()
    raw = frame[:16_281]
    np.testing.assert_array_equal(batch.labels, raw["income", "never_married"].to_numpy())
    assert batch.label_mask.all()
    np.testing.assert_array_equal(batch.sample_weight, raw["fnlwgt"].to_numpy())
    encoders = json.loads((data.folder / "encoders.json").read_text())
    folder = data.folder / vocabulary.FOLDER
    assert data.schema.field_names[6:8] == ("native-country", "age")
    for field, column in zip(data.schema.fields, batch.ids.T, strict=True):
        if field.kind == "categorical":
            values = {0: "?"} | vocabulary.names(folder, field.table, column)
            assert [values[row] for row in column.tolist()] == raw[field.name].to_list()
            continue
        # A number's bucket holds no number of another bucket.
        assert (column > 0).all()
        values, alone = raw[field.name].to_numpy(), encoders[field.name]["dominating"]
        plain = sorted(set(column.tolist()))[len(alone) :]
        spans = [(values[column == row].min(), values[column == row].max()) for row in plain]
        assert all(high < low for (_, high), (low, _) in itertools.pairwise(spans))

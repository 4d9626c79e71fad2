"""Census-Income from Parquet and from UCI's text, which give the same set."""

import os
import pathlib

import census_table
import numpy as np
import polars as pl
import pytest
from census_table import COLUMNS, gzipped, load, table, write_parquet, write_text

from dtn_jax.datasets import census_income
from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader

small_official = census_table.small_official
surroundings = census_table.surroundings
manual = census_table.manual
fingerprint = census_table.fingerprint

REAL = pathlib.Path(os.environ.get("DTN_MANUAL_DIR") or "/nowhere")
needs_real_data = pytest.mark.skipif(
    not (REAL / "census_income" / "train.parquet").exists(),
    reason="needs $DTN_MANUAL_DIR/census_income/train.parquet",
)

# --- the real data -------------------------------------------------------------------------------


@needs_real_data
def test_the_official_splits(tmp_path):
    data = catalog.load("census_income", data_dir=str(tmp_path), manual_dir=str(REAL))
    assert data.rows == {"train": 179_571, "validation": 19_952, "test": 99_762}
    assert data.rows["train"] + data.rows["validation"] == 199_523
    assert len(data.schema.fields) == 39
    assert not {"income_50k", "marital_stat", "instance_weight"} & set(data.schema.field_names)
    assert data.schema.task_names == ("income", "never_married")
    assert data.schema.weight == "instance_weight"
    labels = {s: SplitReader(data, s).everything().labels for s in data.rows}
    train = labels["train"].sum(axis=0) + labels["validation"].sum(axis=0)
    assert train.tolist() == [12_382, 86_485]
    assert labels["test"].sum(axis=0).tolist() == [6_186, 43_143]


@needs_real_data
def test_duplicate_rows_are_kept():
    for split, rows, duplicates in (("train", 199_523, 3_229), ("test", 99_762, 883)):
        frame = pl.read_parquet(REAL / "census_income" / f"{split}.parquet")
        assert len(frame) == rows
        assert rows - len(frame.unique()) == duplicates


# --- the small table -----------------------------------------------------------------------------


def test_from_parquet(manual):
    write_parquet(manual)
    data = load(manual)
    assert data.rows == {"train": 270, "validation": 30, "test": 150}
    assert len(data.schema.fields) == 39
    batch, raw = SplitReader(data, "test").everything(), table("test")
    np.testing.assert_array_equal(batch.labels[:, 0], raw["income_50k"] == "50000+.")
    np.testing.assert_array_equal(batch.labels[:, 1], raw["marital_stat"] == "Never married")
    np.testing.assert_array_equal(batch.sample_weight, raw["instance_weight"].to_numpy())
    # Unknown values take row 0, in columns of text.
    sex = batch.ids[:, data.schema.field_names.index("sex")]
    np.testing.assert_array_equal(sex == 0, raw["sex"] == "?")


def test_numbers_have_as_many_buckets_as_asked_for(manual):
    write_parquet(manual)
    usual, coarse = load(manual), load(manual, options="buckets=8")
    rows = {f.name: f.rows for f in coarse.schema.fields}
    for field in usual.schema.fields:  # up to 50 values each, which 64 buckets keep apart
        numeric = field.name in census_income.NUMERIC
        assert rows[field.name] == (1 + 8 if numeric else field.rows), field.name
        assert not numeric or field.rows > 40
    everything = [SplitReader(data, "test").everything() for data in (usual, coarse)]
    np.testing.assert_array_equal(everything[0].labels, everything[1].labels)


@pytest.mark.parametrize("buckets", [1, 10**12])
def test_numbers_of_buckets_that_cannot_be(manual, buckets):
    told = f"buckets={buckets}: expected a whole number at least 2 and at most 1000000"
    with pytest.raises(UserError, match=told):
        load(manual, options=f"buckets={buckets}")


def windows(data):
    """Lines as Windows ends them, and blank ones among them."""
    return data.replace(b"\n", b"\r\n\r\n")


@pytest.mark.parametrize(
    ("pack", "suffix"), [(bytes, ""), (gzipped, ".gz"), (windows, "")], ids=["plain", "gz", "crlf"]
)
def test_text_gives_the_same_as_parquet(manual, fingerprint, pack, suffix):
    write_text(manual, pack, suffix)
    assert load(manual).fingerprint == fingerprint


def test_text_and_parquet_may_be_mixed(manual, fingerprint):
    write_text(manual)
    (manual / "census_income" / census_income.RAW["train"]).unlink()
    table("train").write_parquet(manual / "census_income" / "train.parquet")
    assert load(manual).fingerprint == fingerprint


def test_columns_are_those_of_the_names_file():
    assert len(COLUMNS) == len(set(COLUMNS)) == 42
    assert set(census_income.NUMERIC) | set(census_income.LABELS) <= set(COLUMNS)

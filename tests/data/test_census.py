"""Adult and Census-Income: whole, as UCI published them, and as they are prepared."""

import gzip
import itertools
import json
import re

import numpy as np
import polars as pl
import pytest
import twins
from public_sets import load
from small_runs import small

from dtn_jax.data import vocabulary
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets import adult, catalog, census_income
from dtn_jax.errors import UserError
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """The folder of the set prepared from Parquet; the set."""
    folder = tmp_path_factory.mktemp("parquet")
    twins.census_income(folder / "raw/census_income", "parquet")
    return folder, load(folder, "census_income")


def test_from_parquet(parquet):
    _, data = parquet
    assert data.rows == {"train": 270, "validation": 30, "test": 150}
    batch, raw = SplitReader(data, "test").everything(), twins.census_table("test")
    np.testing.assert_array_equal(batch.labels[:, 0], raw["income_50k"] == "50000+.")
    np.testing.assert_array_equal(batch.labels[:, 1], raw["marital_stat"] == "Never married")
    np.testing.assert_array_equal(batch.sample_weight, raw["instance_weight"].to_numpy())
    # Unknown values take row 0, in columns of text.
    sex = batch.ids[:, data.schema.field_names.index("sex")]
    np.testing.assert_array_equal(sex == 0, raw["sex"] == "?")


def test_numbers_have_as_many_buckets_as_asked_for(parquet):
    for field in load(parquet[0], "census_income", "buckets=8").schema.fields:
        assert (field.rows == 1 + 8) == (field.name in census_income.NUMERIC)


SEVEN = {
    "income": pl.col("income_50k") == "50000+.",
    "never_married": pl.col("marital_stat") == "Never married",
    "moved": pl.col("mig_same") == "No",
    "foreign_born": pl.col("country_self") != "United-States",
    "self_employed": pl.col("class_worker").is_in(twins.OWNERS),
    "union": pl.col("union_member") == "Yes",
    "bachelor": pl.col("education").is_in(twins.DEGREES),
}
ASKED = {"moved": "mig_same", "union": "union_member"}  # some were not, and lack the label


def test_seven_labels_of_adults(parquet):
    folder, usual = parquet
    data = load(folder, "census_income", "tasks=seven")
    assert data.folder.parts[-2:] == ("tasksseven", "1.0.0")
    assert data.schema.task_names == tuple(SEVEN)
    assert len(data.schema.fields) == 15
    taken = {*usual.schema.field_names, *twins.WORDS, "income_50k"} - {*data.schema.field_names}
    giving_away = {"citizenship", "country_mother", "mig_chg_msa", "tax_filer_stat"}
    assert {*twins.WORDS, *giving_away} < taken
    adults = (
        twins.census_table("test").cast({pl.Categorical: pl.String}).filter(pl.col("age") >= 18)
    )
    known = np.ones((len(adults), len(SEVEN)), bool)
    for name, column in ASKED.items():
        known[:, list(SEVEN).index(name)] = ~adults[column].str.starts_with("Not in universe")
    batch = SplitReader(data, "test").everything()
    np.testing.assert_array_equal(batch.label_mask, known)
    np.testing.assert_array_equal(batch.labels, adults.select(**SEVEN).to_numpy() * known)
    # Validation has the adults of the usual validation, in the same order.
    for split in ("train", "validation"):
        all_rows = SplitReader(usual, split).everything()
        weights = twins.census_table("train").filter(pl.col("age") >= 18)["instance_weight"]
        expected = all_rows.sample_weight[np.isin(all_rows.sample_weight, weights)]
        found = SplitReader(data, split).everything().sample_weight
        np.testing.assert_array_equal(found, expected)


def windows(data):
    """Lines as Windows ends them, and blank ones among them, packed."""
    return gzip.compress(data.replace(b"\n", b"\r\n\r\n"))


@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (windows, ".gz")], ids=["plain", "gz"])
def test_text_gives_the_same_as_parquet(parquet, tmp_path, pack, suffix):
    folder = tmp_path / "raw/census_income"
    twins.census_income(folder)
    for path in list(folder.iterdir()):
        data = pack(path.read_bytes())
        path.unlink()
        (folder / f"{path.name}{suffix}").write_bytes(data)
    assert load(tmp_path, "census_income").fingerprint == parquet[1].fingerprint


# The embedded Adult data: whole, as UCI published it, and as it is prepared.


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


# Its numbers, kept as they are.

NUMERIC = ["age", "educational-num", "capital-gain", "capital-loss", "hours-per-week"]


def of_adult(prepared_dir, numbers, options="numbers=standardise", **changes):
    return small(prepared_dir, data__options=options, model__numbers=numbers, **changes)


def test_the_set_keeps_its_numbers_beside_the_one_in_buckets(prepared_dir):
    usual, kept, logged = (
        catalog.load("adult", options, data_dir=prepared_dir)
        for options in ("", "numbers=standardise", "numbers=log")
    )
    assert len({usual.folder, kept.folder, logged.folder}) == 3
    assert usual.folder == usual.folder.parents[1] / "adult" / usual.folder.name  # as before
    assert [f.name for f in kept.schema.fields if f.standardised] == NUMERIC
    assert not usual.schema.numbers
    raw = adult.read()[:16_281]  # the test split
    found, logarithms = (SplitReader(made, "test").everything() for made in (kept, logged))
    for place, field in enumerate(kept.schema.number_fields()):
        x, own = found.numeric[:, place], raw[field.name].to_numpy()
        assert np.corrcoef(x, own)[0, 1] == pytest.approx(1)
        assert np.corrcoef(logarithms.numeric[:, place], np.log1p(own))[0, 1] == pytest.approx(1)
        assert field.edges[0] <= x.min() + 1
        assert len(field.edges) <= 49


@pytest.mark.slow
def test_a_run_embeds_them(prepared_dir, tmp_path):
    numbers = "age=piecewise_linear,capital-gain=periodic,hours-per-week=autodis"
    config = of_adult(prepared_dir, numbers, train__max_steps=20)
    found = train(config, tmp_path / "run")
    assert found["test"]["income@all"]["auc"] > 0.6


@pytest.mark.parametrize(
    ("numbers", "changes", "named"),
    [
        ("periodic", {"options": ""}, "model.numbers='periodic': data set 'adult' has no standard"),
        ("age=periodic", {"options": ""}, "'age' is numeric, in buckets"),
    ],
)
def test_a_choice_that_makes_no_sense(numbers, changes, named, prepared_dir):
    with pytest.raises(UserError, match=re.escape(named)):
        build_run(of_adult(prepared_dir, numbers, **changes))

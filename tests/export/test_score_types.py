"""Kept columns lose nothing: they stay what they are, or are refused before anything is scored."""

import datetime
import decimal
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from made_models import FRAME

from dtn_jax.errors import UserError
from dtn_jax.export import raw_rows
from dtn_jax.export.encoded import Bad
from dtn_jax.export.score_files import Job

pytest_plugins = ["score_fixtures"]

LONG = decimal.Decimal("12345678901234567891")
PRICE = decimal.Decimal("12345678901234567.25")


def run(made_model, given, output, **changes):
    job = Job(made_model, [str(given)], output, say=lambda _: None, **changes)
    list(job.run())
    return job


@pytest.fixture
def odd(tmp_path):
    """A day with columns of odd types beside those of the model, whose `id` is a decimal."""
    six = len(FRAME)
    frame = FRAME.with_columns(
        id=FRAME["id"].cast(pl.Decimal(38, 0)),
        key=pl.Series([LONG + n for n in range(six)], dtype=pl.Decimal(38, 0)),
        price=pl.Series([PRICE, None] * 3, dtype=pl.Decimal(20, 2)),
        prices=pl.Series([[PRICE]] * six, dtype=pl.List(pl.Decimal(20, 2))),
        took=pl.Series([datetime.timedelta(seconds=n) for n in range(six)]),
        photo=pl.Series([b"\xff\xd8"] * six),
        photos=pl.Series([[b"\xff\xd8", b"a"]] * six),
    )
    frame.write_parquet(tmp_path / "odd.parquet")
    frame.write_ipc(tmp_path / "odd.arrow", compat_level=pl.CompatLevel.oldest())
    return frame


@pytest.mark.parametrize("source", ["parquet", "arrow"])
def test_parquet_keeps_decimals_and_bytes(made_model, odd, tmp_path, source):
    names = ["id", "key", "price", "prices", "photo", "photos", "took"]
    job = run(made_model, tmp_path / f"odd.{source}", tmp_path / "s.parquet", columns=names)
    got = pl.read_parquet(tmp_path / "s.parquet")
    assert got.select(names).equals(odd.select(names))
    assert got.schema["key"] == pl.Decimal(38, 0)
    assert job.tally.account.rejected == 0
    expected = made_model.score(FRAME)
    np.testing.assert_allclose(got.select(made_model.outputs), expected.to_numpy(), rtol=1e-6)


def test_text_keeps_all_digits(made_model, odd, tmp_path):
    for suffix, reader in ((".csv", pl.read_csv), (".jsonl", pl.read_ndjson)):
        run(made_model, tmp_path / "odd.parquet", tmp_path / f"s{suffix}", columns=["key", "price"])
        got = reader(
            tmp_path / f"s{suffix}", schema_overrides={"key": pl.String, "price": pl.String}
        )
        assert got["key"].to_list() == [str(LONG + n) for n in range(len(FRAME))]
        assert got["price"].to_list() == [str(PRICE), None] * 3


@pytest.mark.parametrize(
    ("name", "suffix", "told"),
    [
        ("took", ".csv", "'took' holds durations, which CSV does not have"),
        ("prices", ".csv", "'prices' holds lists, which CSV does not have"),
        ("photo", ".csv", "'photo' holds bytes, which CSV does not have"),
        ("photo", ".jsonl", "'photo' holds bytes, which JSON does not have"),
        ("photos", ".jsonl", "'photos' holds bytes, which JSON does not have"),
    ],
)
def test_what_a_format_lacks_is_refused_at_the_start(made_model, odd, tmp_path, name, suffix, told):
    given = [str(tmp_path / "odd.parquet")]
    with pytest.raises(UserError, match=f"{told}; leave it out, with --columns=.* write Parquet"):
        Job(made_model, given, tmp_path / f"s{suffix}", columns=["id", name])
    assert not (tmp_path / f"s{suffix}.parts").exists()


def test_a_decimal_is_not_rounded_where_another_file_has_floats(made_model, tmp_path):
    of = pl.Series([decimal.Decimal("1.50")] * 6, dtype=pl.Decimal(20, 2))
    FRAME.with_columns(x=of).write_parquet(tmp_path / "a.parquet")
    FRAME.with_columns(x=pl.lit(0.5)).write_parquet(tmp_path / "b.parquet")
    run(made_model, tmp_path / "*.parquet", tmp_path / "s.csv", columns=["x"])
    assert pl.read_csv(tmp_path / "s.csv")["x"].to_list() == [1.5] * 6 + [0.5] * 6
    of = pl.Series([PRICE] * 6, dtype=pl.Decimal(20, 2))
    FRAME.with_columns(x=of).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=rf"'x' holds .*{PRICE}.*, where the output has Float64"):
        run(made_model, tmp_path / "*.parquet", tmp_path / "t.csv", columns=["x"])


def test_a_decimal_that_no_column_holds_is_told(made_model, tmp_path):
    big = pa.array([decimal.Decimal("1" * 60)] * 6, pa.decimal256(70, 0))
    pa.parquet.write_table(FRAME.to_arrow().append_column("big", big), tmp_path / "a.parquet")
    run(made_model, tmp_path / "a.parquet", tmp_path / "s.csv", columns=["id"])
    with pytest.raises(UserError, match=r"a\.parquet: row group 0 cannot be read: .*ecimal"):
        run(made_model, tmp_path / "a.parquet", tmp_path / "t.csv", columns=["big"])


def test_decimals_are_the_floats_that_training_read():
    """Arrow's floats differ from polars' in the last bit, and are what a file's decimals become."""
    single = pl.Series("a", np.arange(100) / 100 + 10, dtype=pl.Float64).cast(pl.Decimal(10, 2))
    floats = pl.from_arrow(single.to_arrow().cast(pa.float64())).alias("a")
    assert (floats != single.cast(pl.Float64)).any()
    bad = Bad(np.arange(100))
    assert raw_rows.plain(single, bad).equals(floats, check_names=True)
    lists = raw_rows.plain(single.implode(), bad)
    assert lists.explode().equals(floats, check_names=True)


@pytest.mark.parametrize("name", ["size", "speed", "id"])
def test_a_number_of_json_that_no_float_holds_is_a_bad_row(made_model, tmp_path, name):
    rows = FRAME.to_dicts()
    rows[1][name] = 1e999
    lines = [json.dumps(row).replace("Infinity", "1e999") for row in rows]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    job = run(made_model, tmp_path / "a.jsonl", tmp_path / "s.csv", columns=[])
    assert job.tally.account.counts == {"number that is not finite": 1}
    assert f"row 2, column '{name}': inf" in job.tally.reasons()[0]
    missing = pl.read_csv(tmp_path / "s.csv")["click@all"].is_null()
    assert missing.to_list() == [False, True, False, False, False, False]

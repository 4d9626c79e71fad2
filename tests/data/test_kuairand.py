"""KuaiRand's reader: days decide the split, files as published and in Parquet."""

import os
import pathlib

import numpy as np
import polars as pl
import pytest
from kuairand_logs import log, prepare, rows

from dtn_jax.datasets.kuairand import files as kuairand_files
from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError

SHARED = pathlib.Path(os.environ.get("DTN_MANUAL_DIR", "nowhere"))


def test_days_decide_the_split(tmp_path, capsys):
    frame = log()
    published = {  # two files, as published
        "log_standard_4_08_to_4_21_1k.csv": frame[:400],
        "log_standard_4_22_to_5_08_1k.csv": frame[400:],
    }
    prepared = prepare(published, tmp_path)
    assert prepared.rows == {"train": 400, "validation": 80, "test": 80}
    assert (
        "kuairand: skipped 40 rows of 1 later days (2022-04-22 to 2022-04-22)"
        in capsys.readouterr().out
    )
    assert prepared.notes["account"] == [
        "skipped 40 rows of 1 later days (2022-04-22 to 2022-04-22)"
    ]
    assert [t.name for t in prepared.schema.tasks] == list(kuairand_files.LABELS)
    long_view = prepared.schema.tasks[1]
    assert long_view.upstream == long_view.also_report == ("click",)
    test, expected = rows(prepared, "test"), frame[480:560]
    np.testing.assert_array_equal(test["group"], expected["user_id"])
    days = expected["date"].cast(pl.String).str.to_date("%Y%m%d").to_physical()
    np.testing.assert_array_equal(prepared.days("test"), days)
    labels = expected.select(kuairand_files.LABELS.values()).to_numpy()
    np.testing.assert_array_equal(test["labels"], labels)
    np.testing.assert_array_equal(test["ids"][:, 2], expected["hourmin"] // 100 + 1)
    # The thirteenth and fourteenth days are a Wednesday and a Thursday.
    np.testing.assert_array_equal(test["ids"][:, 3], [3] * 40 + [4] * 40)


def test_long_views_without_a_click_are_kept_and_counted(tmp_path, capsys):
    frame = log().with_columns(long_view=pl.lit(1))
    prepared = prepare({"log_standard.csv": frame}, tmp_path)
    odd = (frame["is_click"] == 0).to_numpy()
    counts = f"{odd[:400].sum()} of train, {odd[400:480].sum()} of validation, "
    counts += f"{odd[480:560].sum()} of test"
    line = f"long views without a click, kept as they are: {counts}"
    assert line in capsys.readouterr().out
    assert line in prepared.notes["account"]
    assert rows(prepared, "train")["labels"][:, 1].all()


def test_rare_videos_share_the_unknown_id(tmp_path):
    frame = log()
    prepared = prepare({"log_standard.csv": frame}, tmp_path, options="min_count=8")
    counts = frame[:400]["video_id"].value_counts()
    often = counts.filter(pl.col("count") >= 8)["video_id"].to_list()
    assert 0 < len(often) < 60
    assert prepared.schema.fields[1].rows == 1 + len(often)
    unknown = rows(prepared, "train")["ids"][:, 1] == 0
    np.testing.assert_array_equal(unknown, ~frame[:400]["video_id"].is_in(often).to_numpy())


def test_durations_may_stay_numbers(tmp_path):
    frames = {"log_standard.csv": log()}
    kept = prepare(frames, tmp_path, options="min_count=1,numbers=standardise")
    assert kept.folder == tmp_path / "data" / "kuairand" / "min_count1_standardised" / "1.0.0"
    duration, first = log()["duration_ms"].to_numpy()[:400], kept.layout.blocks(400)[0]
    expected = (duration[:first] - duration.mean()) / duration.std()
    stored = kept.source("train")[0]["numeric"][:first, 0]
    np.testing.assert_allclose(stored, expected, rtol=1e-5, atol=1e-6)
    logs = prepare(frames, tmp_path, options="min_count=1,numbers=log")
    assert logs.folder == tmp_path / "data" / "kuairand" / "min_count1_logarithms" / "1.0.0"
    expected = np.log1p(duration)
    stored = logs.source("train")[0]["numeric"][:first, 0]
    np.testing.assert_allclose(
        stored, (expected[:first] - expected.mean()) / expected.std(), rtol=1e-4, atol=1e-5
    )
    usual = prepare(frames, tmp_path, options="min_count=1")
    assert [f.standardised for f in (usual.schema.fields[4], kept.schema.fields[4])] == [
        False,
        True,
    ]
    np.testing.assert_array_equal(
        rows(usual, "test")["ids"][:, :4], rows(kept, "test")["ids"][:, :4]
    )


@pytest.mark.parametrize("count", [0, -2])
def test_a_min_count_that_cannot_be(count, tmp_path):
    with pytest.raises(UserError, match=f"min_count={count}: expected a whole number at least 1"):
        prepare({"log_standard.csv": log()}, tmp_path, options=f"min_count={count}")


def test_a_subset_in_parquet_gives_the_same(tmp_path):
    csv = prepare({"log_standard.csv": log()}, tmp_path / "csv")
    parquet = prepare({"subset.parquet": log().drop("tab")}, tmp_path / "parquet")
    assert csv.fingerprint == parquet.fingerprint


def test_what_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("DTN_MANUAL_DIR", raising=False)
    with pytest.raises(UserError, match=r"not downloaded: get it from https://kuairand\.com"):
        catalog.load("kuairand", data_dir=str(tmp_path / "data"))
    (tmp_path / "kuairand").mkdir()
    with pytest.raises(UserError, match="holds neither log_standard"):
        catalog.load("kuairand", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))
    (tmp_path / "kuairand" / "x.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match="cannot be read"):
        catalog.load("kuairand", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))


@pytest.mark.skipif(not (SHARED / "kuairand").exists(), reason="needs the real subset")
def test_the_real_subset(tmp_path):
    prepared = catalog.load("kuairand", data_dir=str(tmp_path), manual_dir=str(SHARED))
    assert sum(prepared.rows.values()) == 41_828
    labels = np.concatenate([rows(prepared, split)["labels"] for split in prepared.rows])
    assert labels[:, 1].sum() == 19_320
    np.testing.assert_allclose(labels[:, 0].mean(), 0.657, atol=5e-4)

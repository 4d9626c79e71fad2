"""KuaiRand's reader: days decide the split, values may be missing."""

import polars as pl
import pytest
from public_sets import load
from twins import kuairand

from dtn_jax.data.epochs.reader import SplitReader


def prepare(frames, tmp_path, options=""):
    """Writes {file name: frame} and prepares them."""
    folder = tmp_path / "raw/kuairand"
    folder.mkdir(parents=True)
    for name, frame in frames.items():
        write = frame.write_csv if name.endswith(".csv") else frame.write_parquet
        write(folder / name)
    return load(tmp_path, "kuairand", options)


def rows(prepared, split):
    """The ids, labels and groups of a split, in file order."""
    batch = SplitReader(prepared, split).everything()
    return {"ids": batch.ids, "labels": batch.labels, "group": prepared.groups(split)}


def account_of(prepared, capsys):
    """What was said of a set when it was prepared, which is also kept."""
    lines = prepared.notes.get("account", [])
    shown = capsys.readouterr().out
    assert all(line in shown for line in lines)
    return lines


def test_a_subset_in_parquet_gives_the_same(tmp_path):
    csv = prepare({"log_standard.csv": kuairand()}, tmp_path / "csv")
    parquet = prepare({"subset.parquet": kuairand().drop("tab")}, tmp_path / "parquet")
    assert csv.fingerprint == parquet.fingerprint


def test_empty_columns_hold_missing_values(tmp_path):
    empty = {name: pl.lit(None) for name in ("hourmin", "duration_ms", "long_view", "is_follow")}
    prepared = prepare({"log_standard.csv": kuairand().with_columns(**empty)}, tmp_path)
    assert not rows(prepared, "test")["ids"][:, [2, 4]].any()
    known = SplitReader(prepared, "train").everything().label_mask.any(axis=0)
    names = [task.name for task in prepared.schema.tasks]
    assert {name for name, some in zip(names, known) if not some} == {"long_view", "follow"}


@pytest.mark.parametrize("date", [20220105, 20991231])
def test_a_stray_date_does_not_shift_the_split(date, tmp_path, capsys):
    dates = kuairand()["date"].to_list()
    dates[570] = date
    prepared = prepare({"subset.parquet": kuairand().with_columns(date=pl.Series(dates))}, tmp_path)
    line = f"of other days ({min(date, 20220422)} to {max(date, 20220422)})"
    assert f"skipped 40 rows {line}" in account_of(prepared, capsys)
    assert prepared.rows == {"train": 400, "validation": 80, "test": 80}

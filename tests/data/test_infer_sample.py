"""The sample is from all over the log, in bounded memory, and says what it is of."""

import gzip

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.logs.infer import infer, places, sample
from dtn_jax.datasets.logs.infer.sample import Sample
from dtn_jax.datasets.logs.raw import files as raw_files
from dtn_jax.datasets.logs.raw import lines
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.errors import UserError


def table(rows, first=0):
    return pl.DataFrame({"n": np.arange(first, first + rows), "file": [first] * rows})


def read(folder, format="parquet"):
    return sample.read(raw_files.find([str(folder)]), InputSpec(format=format))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 101])
def test_an_order_that_covers_all_from_the_beginning(count):
    order = places.spread(count)
    assert sorted(order) == list(range(count))
    assert order[: 3 if count > 2 else count] == [0, count - 1, (count - 1) // 2][:count]


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv", "jsonl"])
def test_a_small_log_is_read_whole(tmp_path, suffix):
    writers = {"arrow": "write_ipc", "jsonl": "write_ndjson"}
    for first in (0, 100, 200):
        writer = getattr(table(100, first), writers.get(suffix, f"write_{suffix}"))
        writer(tmp_path / f"{first:03d}.{suffix}")
    found = read(tmp_path, suffix)
    assert found.frame["n"].cast(int).to_list() == list(range(300))
    assert found.whole
    assert found.told() == "all 300 rows, from all 3 files"


def test_a_large_log_is_sampled_from_its_beginning_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "ROWS", 1000)
    for part in range(20):
        table(500, 500 * part).write_parquet(tmp_path / f"{part:02d}.parquet", row_group_size=100)
    found = read(tmp_path)
    assert found.told() == "1,000 of 10,000 rows, from all 20 files"
    assert not found.whole
    assert set(found.frame["file"].unique()) == {500 * part for part in range(20)}


def test_of_many_files_some_are_read_with_the_first_and_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "ROWS", 100)
    for name, value in (("PLACES", 10), ("MOST", 0), ("WHOLE", 0)):
        monkeypatch.setattr(places, name, value)
    for part in range(40):
        table(50, 50 * part).write_parquet(tmp_path / f"{part:02d}.parquet")
    found = read(tmp_path)
    assert found.told() == "100 of 2,000 rows, from 10 of 40 files"
    parts = found.frame["file"].unique() // 50
    assert (parts.min(), parts.max()) == (0, 39)
    assert parts.sort().diff().max() < 6


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_large_text_file_is_not_read_whole(tmp_path, monkeypatch, suffix):
    for name, value in (("WHOLE", 0), ("PIECE", 1000), ("PLACES", 8)):
        monkeypatch.setattr(places, name, value)
    monkeypatch.setattr(lines, "ranges", None)  # what goes through a whole file
    monkeypatch.setattr(sample, "ROWS", 100)
    made = table(20_000)
    made.write_csv(tmp_path / "a.csv") if suffix == "csv" else made.write_ndjson(
        tmp_path / "a.jsonl"
    )
    found = read(tmp_path, suffix)
    numbers = found.frame["n"].cast(int)
    assert found.frame.height == 100
    assert numbers.n_unique() == 100
    assert numbers.min() == 0
    assert numbers.max() > 16_000
    assert not found.exact
    assert 15_000 < found.rows < 25_000
    assert found.told().startswith("100 of about ")


def test_a_packed_file_is_read_from_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "ROWS", 100)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(table(20_000).write_csv().encode()))
    found = read(tmp_path, "csv")
    assert found.told() == "100 rows, from 1 file"


def test_memory_and_time_bound_the_sample(tmp_path, monkeypatch):
    for part in range(10):
        table(5000, part).write_parquet(tmp_path / f"{part}.parquet")
    monkeypatch.setattr(sample, "BYTES", 200_000)  # 16 bytes a row
    assert 5_000 < read(tmp_path).frame.height < 20_000
    monkeypatch.setattr(sample, "SECONDS", 0.0)
    assert 0 < read(tmp_path).frame.height <= 5000


def test_columns_that_not_all_files_have_are_refused(tmp_path):
    pl.DataFrame({"a": [1], "b": [1], "c": [1], "d": [{"x": 1}], "e": [1]}).write_parquet(
        tmp_path / "1.parquet"
    )
    pl.DataFrame({"a": [1.5], "c": [[1]], "d": [{"x": 1}], "e": ["7"]}).write_parquet(
        tmp_path / "2.parquet"
    )
    found = read(tmp_path)
    assert found.frame.to_dict(as_series=False) == {"a": [1.0, 1.5], "e": ["1", "7"]}
    assert "2.parquet has no such column" in found.refused["b"]
    assert "numbers in" in found.refused["c"]
    assert "lists in" in found.refused["c"]
    assert "nested" in found.refused["d"]


def test_a_column_that_breaks_rows_is_refused(tmp_path):
    bad = [b"ok", b"\xff\xfe"] * 50
    pl.DataFrame({"n": range(100), "bytes": bad}).write_parquet(tmp_path / "a.parquet")
    found = read(tmp_path)
    assert found.frame.columns == ["n"]
    assert found.frame.height == 100
    assert "not UTF-8" in found.refused["bytes"]


def test_broken_lines_are_counted(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n" + "1,2\n" * 90 + "1\n" * 10)
    found = read(tmp_path, "csv")
    assert (found.frame.height, found.broken) == (90, 10)


def test_a_log_without_rows_is_told(tmp_path):
    table(0).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="no rows"):
        read(tmp_path)


@pytest.mark.parametrize(("sign", "suffix"), [(";", "csv"), ("\t", "csv"), ("|", "txt")])
def test_the_separator_of_csv_is_found(tmp_path, sign, suffix):
    table(5).write_csv(tmp_path / f"a.{suffix}", separator=sign)
    (file,) = raw_files.find([str(tmp_path)])
    assert infer.how_read(file).separator == sign


def test_what_is_told_of_a_sample():
    def told(rows, exact, files=9, seen=3):
        frame = pl.DataFrame({"a": range(1000)})
        return Sample(frame, {}, files, seen, rows, exact, 0, InputSpec()).told()

    assert told(2000, True) == "1,000 of 2,000 rows, from 3 of 9 files"
    assert told(2000, False) == "1,000 of about 2,000 rows, from 3 of 9 files"
    assert told(0, False) == "1,000 rows, from 3 of 9 files"

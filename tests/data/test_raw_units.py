"""Units and chunks: together they are the file, however it is cut."""

import gzip
import itertools

import numpy as np
import polars as pl
import pytest
import raw_logs
from polars.testing import assert_frame_equal

from dtn_jax.datasets.logs.raw import read
from dtn_jax.datasets.logs.raw.units import Unit
from dtn_jax.errors import UserError

SUFFIXES = (".parquet", ".arrow", ".csv", ".jsonl")


def expected(suffix):
    """What a file of `raw_logs.table` reads as."""
    frame = raw_logs.table()
    if suffix in (".parquet", ".arrow"):
        return frame
    flat = raw_logs.flat(frame)
    if suffix == ".jsonl":
        return flat.with_columns(frame["tags"])
    text = flat.cast(dict.fromkeys(flat.columns, str))
    return text.with_columns(text["word"].replace("", None))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_read_as_it_was_written(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}")
    frame, numbers, broken = raw_logs.whole(path)
    assert_frame_equal(frame, expected(suffix))
    header = suffix == ".csv"
    assert numbers == list(range(1 + header, raw_logs.ROWS + 1 + header))
    assert not broken


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("size", "rows"), [(1, 7), (1_000, 64), (5_001, 1_000), (10**6, 111)])
def test_units_and_chunks_join_to_the_file(tmp_path, suffix, size, rows):
    path = raw_logs.write(tmp_path / f"a{suffix}", pieces=30)
    given = {"size": size} if suffix in (".csv", ".jsonl") else {"rows": size}
    one, numbers, _ = raw_logs.whole(path)
    found = raw_logs.chunks(path, chunk_rows=rows, **given)
    assert max(len(chunk.numbers) for chunk in found) <= rows
    assert all(len(chunk.numbers) == len(chunk.frame) for chunk in found)
    assert_frame_equal(pl.concat([chunk.frame for chunk in found]), one)
    assert [n for chunk in found for n in chunk.numbers] == numbers


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_units_cover_the_file_once(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}", pieces=30)
    text = suffix in (".csv", ".jsonl")
    file, units = raw_logs.plan(path, **({"size": 1_000} if text else {"rows": 50}))
    assert len(units) > 5
    for before, after in itertools.pairwise(units):
        assert after.start == before.stop
        assert after.first_row == before.first_row + before.rows
    assert sum(unit.rows for unit in units) == raw_logs.ROWS
    assert units[0].first_row == 1 + (suffix == ".csv")
    if text:
        assert units[-1].stop == file.size
        assert all(path.read_bytes()[unit.stop - 1] == ord("\n") for unit in units)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_large_row_group_is_one_unit(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}", pieces=120)
    assert [unit.rows for unit in raw_logs.plan(path, rows=100)[1]] == [120, 120, 60]
    assert [unit.rows for unit in raw_logs.plan(path, rows=180)[1]] == [120, 180]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_gzip_file_is_one_unit_and_reads_the_same(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}")
    packed = tmp_path / f"b{suffix}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    (unit,) = raw_logs.plan(packed, size=1_000)[1]
    assert (unit.stop, unit.rows) == (-1, -1)
    frame, numbers, _ = raw_logs.whole(path)
    of_packed, packed_numbers, _ = raw_logs.whole(packed)
    assert_frame_equal(of_packed, frame)
    assert packed_numbers == numbers


def test_a_unit_goes_through_json():
    unit = Unit(file=3, start=10, stop=-1, first_row=2, rows=-1)
    assert Unit.from_json(unit.to_json()) == unit


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_wanted_columns_come_in_the_wanted_order(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}")
    frame, _, _ = raw_logs.whole(path, ["price", "user"])
    assert frame.columns == ["price", "user"]
    assert_frame_equal(frame, expected(suffix).select("price", "user"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_rows_has_columns_but_no_units(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}", raw_logs.table(0))
    assert raw_logs.plan(path)[1] == []


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_last_line_without_its_end_counts(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}")
    ended = raw_logs.whole(path)[0]
    path.write_bytes(path.read_bytes()[:-1])
    frame, numbers, _ = raw_logs.whole(path)
    assert_frame_equal(frame, ended)
    units = raw_logs.plan(path, size=1_000)[1]
    assert sum(unit.rows for unit in units) == raw_logs.ROWS
    assert np.all(np.diff(numbers) == 1)


def test_text_is_cut_at_the_first_line_end_from_a_size_on(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n" * 7)
    cut = {1: 3, 3: 3, 4: 6, 6: 6, 7: 9, 100: 21}
    for size, stop in cut.items():
        assert raw_logs.plan(path, size=size)[1][0] == Unit(0, 0, stop, 1, stop // 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_changed_since_it_was_counted(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}", pieces=1_000)
    file, (unit,) = raw_logs.plan(path)
    raw_logs.write(path, raw_logs.table(100), pieces=1_000)
    with pytest.raises(UserError, match=rf"a\{suffix}: \d+ rows are read .* 300 were counted"):
        list(read.chunks(file, unit, ["user"], raw_logs.PLAIN))

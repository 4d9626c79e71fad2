"""Parquet and Arrow: which types columns become, and what damaged files are told as."""

import datetime
import decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import raw_logs

from dtn_jax.datasets.logs.raw import read
from dtn_jax.datasets.logs.raw.lines import NOT_UTF8
from dtn_jax.errors import UserError

SUFFIXES = (".parquet", ".arrow")
DAY = datetime.date(2026, 1, 2)


def write(path, table, pieces=1_000, **options):
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=pieces, **options)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=pieces)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("array", "expected", "dtype"),
    [
        (pa.array(["x", None, "y", "x"]).dictionary_encode(), ["x", None, "y", "x"], pl.String),
        (pa.array([5, None, 5]).dictionary_encode(), [5, None, 5], pl.Int64),
        (pa.array([decimal.Decimal("1.25"), None]), [1.25, None], pl.Float64),
        (pa.array([None, None]), [None, None], pl.Null),
        (pa.array([[1, 2], None, []]), [[1, 2], None, []], pl.List(pl.Int64)),
        (pa.array([[1.5, 2]], pa.list_(pa.float32(), 2)), [[1.5, 2]], pl.List(pl.Float32)),
        (pa.array([["x", None]]), [["x", None]], pl.List(pl.String)),
        (pa.array([[decimal.Decimal("0.5")]]), [[0.5]], pl.List(pl.Float64)),
        (pa.array([b"x", None]), ["x", None], pl.String),
        (pa.array([1.5], pa.float16()), [1.5], pl.Float32),
        (pa.array([DAY]), [DAY], pl.Date),
        (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1], pl.UInt64),
        (pa.array(["x"], pa.string_view()), ["x"], pl.String),
    ],
)
def test_types(tmp_path, suffix, array, expected, dtype):
    path = write(tmp_path / f"a{suffix}", pa.table({"a": array}))
    frame, _, broken = raw_logs.whole(path)
    assert frame["a"].to_list() == expected
    assert frame["a"].dtype == dtype
    assert not broken
    file, _ = raw_logs.plan(path)
    assert read.schema(file, raw_logs.PLAIN) == {"a": dtype}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nested_columns_are_refused_where_they_are_wanted(tmp_path, suffix):
    nested = {"s": [{"x": 1}], "l": [[{"x": 1}]], "m": pa.array([[("x", 1)]], pa.map_("str", "i4"))}
    path = write(tmp_path / f"a{suffix}", pa.table({"a": [1]} | nested))
    file, _ = raw_logs.plan(path)
    assert list(read.schema(file, raw_logs.PLAIN)) == ["a", "s", "l", "m"]
    assert raw_logs.whole(path, ["a"])[0]["a"].to_list() == [1]
    for name in nested:
        with pytest.raises(UserError, match=rf"a\{suffix}: column '{name}' is of type"):
            raw_logs.whole(path, [name])


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".csv"])
def test_a_missing_column_is_told_with_the_nearest(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}")
    with pytest.raises(UserError) as told:
        raw_logs.whole(path, ["user", "prise"])
    text = str(told.value)
    assert all(word in text for word in (f"a{suffix}", "'prise'", "'price'?", "user, price, word"))


def not_utf8():
    """Text of five rows, of which the second and the last are not UTF-8, as text and in lists."""
    raw = pa.array([b"a", b"\xff\xfe", None, b"b", b"c\xff"])
    text = pa.StringArray.from_buffers(5, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
    lists = pa.ListArray.from_arrays([0, 1, 2, 3, 4, 5], text)
    return {"raw": raw, "text": text, "lists": lists}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["raw", "text", "lists"])
def test_text_that_is_not_utf8_is_rejected(tmp_path, suffix, name):
    table = pa.table({"n": range(5), "a": not_utf8()[name]})
    path = write(tmp_path / f"a{suffix}", table, pieces=3)
    frame, numbers, broken = raw_logs.whole(path)
    assert numbers == [1, 3, 4]
    assert frame["n"].to_list() == [0, 2, 3]
    assert [(r.row, r.reason, r.column) for r in broken] == [(n, NOT_UTF8, "a") for n in (2, 5)]
    assert "xff" in broken[0].value


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_cut_or_of_another_kind(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}")
    whole = path.read_bytes()
    for wrong in (whole[:-10], whole[: len(whole) // 2], b"", b"a,b\n1,2\n" * 100, b"PAR1ARROW1"):
        path.write_bytes(wrong)
        with pytest.raises(UserError, match=rf"a\{suffix} is cut, or is no"):
            raw_logs.chunks(path)


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "lz4"])
def test_a_damaged_row_group_is_named(tmp_path, compression):
    draw = np.random.default_rng(0).integers(0, 2**62, 900)
    table = pa.table({"a": draw, "b": draw})
    path = tmp_path / "a.parquet"
    write(path, table, pieces=300, compression=compression, use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    text = bytearray(path.read_bytes())
    start = column.data_page_offset + 40
    text[start : start + 200] = bytes(200)
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"a\.parquet: row group 1 cannot be read"):
        raw_logs.chunks(path)
    assert len(raw_logs.whole(path, ["b"])[0]) == 900


def test_a_wrong_checksum_is_damage(tmp_path):
    table = pa.table({"a": np.arange(900)})
    path = tmp_path / "a.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    write(path, table, pieces=300, **options)
    text = path.read_bytes()
    place = text.index(np.arange(700, 704).tobytes())
    path.write_bytes(text[:place] + b"\1" + text[place + 1 :])
    with pytest.raises(UserError, match="row group 2 cannot be read"):
        raw_logs.chunks(path)


def test_a_damaged_record_batch_is_named(tmp_path):
    table = pa.table({"b": [None] * 90, "a": [f"word {n}" for n in range(90)]})
    path = tmp_path / "a.arrow"
    with pa.ipc.new_file(
        path, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as w:
        w.write_table(table, max_chunksize=30)
    text = bytearray(path.read_bytes())
    place = text.index(b"\x28\xb5\x2f\xfd", text.index(b"\x28\xb5\x2f\xfd", len(text) // 3) + 4)
    text[place + 6 : place + 30] = bytes(24)
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"a\.arrow: record batch 1 cannot be read"):
        raw_logs.chunks(path)
    assert len(raw_logs.whole(path, ["b"])[0]) == 90


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.int64()), pa.list_(pa.string())])
def test_offsets_out_of_range_are_damage(tmp_path, kind):
    values = [["7" * 5]] * 30 if kind != pa.string() else ["7" * 5] * 30
    values = [[7] * 5] * 30 if kind == pa.list_(pa.int64()) else values
    path = write(tmp_path / "a.arrow", pa.table({"a": pa.array(values, kind)}), pieces=10)
    text = path.read_bytes()
    step = 1 if kind == pa.list_(pa.string()) else 5
    offsets = np.arange(0, 11 * step, step, dtype=np.int32)
    wrong = np.append(offsets[:-1], 2**30).astype(np.int32)
    first = text.index(offsets.tobytes())
    place = text.index(offsets.tobytes(), first + 1)
    path.write_bytes(text[:place] + wrong.tobytes() + text[place + wrong.nbytes :])
    with pytest.raises(UserError, match=r"a\.arrow: record batch 1 cannot be read"):
        raw_logs.chunks(path)


def test_an_arrow_stream_is_one_unit(tmp_path):
    path = tmp_path / "a.arrow"
    frame = raw_logs.table()
    with pa.ipc.new_stream(path, frame.to_arrow().schema) as writer:
        writer.write_table(frame.to_arrow(), max_chunksize=70)
    (unit,) = raw_logs.plan(path)[1]
    assert (unit.stop, unit.rows) == (-1, -1)
    found, numbers, _ = raw_logs.whole(path)
    assert found.equals(frame)
    assert numbers == list(range(1, raw_logs.ROWS + 1))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"a\.arrow: record batch \d cannot be read"):
        raw_logs.chunks(path)


def test_old_timestamps_of_spark_do_not_wrap_around(tmp_path):
    when = datetime.datetime(1500, 1, 1)
    path = tmp_path / "a.parquet"
    table = pa.table({"t": pa.array([when], pa.timestamp("us"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    assert raw_logs.whole(path)[0]["t"].to_list() == [when]


def test_a_name_with_a_dot_is_one_column(tmp_path):
    path = write(tmp_path / "a.parquet", pa.table({"a": [1], "a.b": [2], "b": [3]}))
    assert raw_logs.whole(path, ["a.b"])[0].to_dict(as_series=False) == {"a.b": [2]}
    assert raw_logs.whole(path, ["a"])[0].to_dict(as_series=False) == {"a": [1]}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_column_that_is_there_twice_is_told(tmp_path, suffix):
    table = pa.table([[1], [2], [3]], names=["a", "a", "b"])
    path = write(tmp_path / f"a{suffix}", table)
    assert raw_logs.whole(path, ["b"])[0]["b"].to_list() == [3]
    with pytest.raises(UserError, match="'a' more than once"):
        raw_logs.whole(path, ["a"])

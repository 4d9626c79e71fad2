"""Raw files, schema files and options that are wrong as a whole: each a message that says where."""

import io
import os
import pathlib
import re

import polars as pl
import pyarrow.parquet as pq
import pytest
from damaged_logs import FLAT, ROWS, SCHEMA, Finished, frame, schema_file, small_pieces, write

from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.datasets.logs.work import table_file
from dtn_jax.errors import UserError

GOOD = frame()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        return Finished(tmp_path_factory.mktemp("finished"))


def refused(finished, raw, message, text=SCHEMA, **options):
    """The message says `message`, where FILE is the raw file; the finished set is as it was."""
    schema = schema_file(pathlib.Path(raw).parent, text)
    options = {"processes": 1, "replace": True} | options
    with pytest.raises(UserError) as told:
        prepare(schema, str(raw), finished.data_dir, **options)
    said = str(told.value)
    pattern = message.replace("FILE", re.escape(str(raw))).replace("SCHEMA", re.escape(str(schema)))
    assert re.search(pattern, said), said
    finished.check()


def cut(data, share):
    return data[: int(len(data) * share)]


def zeroed(data, group, column):
    """A Parquet file whose page of a column has zeros in it."""
    place = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(group).column(column)
    at = (place.dictionary_page_offset or place.data_page_offset) + 30
    return data[:at] + bytes(50) + data[at + 50 :]


BYTES = [
    ("parquet", lambda data: b"", "FILE is cut, or is no Parquet file"),
    ("parquet", lambda data: cut(data, 0.99), "FILE is cut, or is no Parquet file"),
    ("parquet", lambda data: b"user,item\n1,2\n", "FILE is cut, or is no Parquet file"),
    ("parquet", lambda data: zeroed(data, 0, 2), "FILE: row group 0 cannot be read"),
    ("parquet", lambda data: zeroed(data, 4, 8), "FILE: row group 4 cannot be read"),
    ("arrow", lambda data: b"", "FILE is cut, or is no Arrow file"),
    ("arrow", lambda data: cut(data, 0.5), "FILE is cut, or is no Arrow file"),
    ("csv", lambda data: b"", "FILE has no header line"),
    ("csv", lambda data: data.split(b"\n")[0] + b"\n", "hold no rows: FILE"),
    ("csv", lambda data: b"\n\n", "FILE has no header line"),
    ("csv", lambda data: data.replace(b"item,", b"user,", 1), "FILE: the header.*'user' more than"),
    ("csv", lambda data: b"\xff\xfe" + data, "FILE is UTF-16"),
    ("csv", lambda data: data.replace(b"price", b"prize", 1), "FILE: .*line 6.*mean 'prize'"),
    ("csv", lambda data: data.replace(b",", b";"), "FILE.*'t'"),
    ("jsonl", lambda data: b"", "hold no rows: FILE"),
    ("jsonl", lambda data: b"[" + data.replace(b"\n", b",") + b"{}]", "FILE: .* it is an array"),
    ("jsonl", lambda data: b"no json\n" * 9, "FILE: none of the first"),
    ("jsonl", lambda data: data.replace(b'"price"', b'"prize"'), "FILE: .*mean 'prize'"),
]


@pytest.mark.parametrize(
    ("kind", "way", "message"), BYTES, ids=[f"{b[0]}-{n}" for n, b in enumerate(BYTES)]
)
def test_damaged_files_are_told(kind, way, message, finished, tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    raw = write(tmp_path / f"log.{kind}")
    raw.write_bytes(way(raw.read_bytes()))
    refused(finished, raw, message, SCHEMA if kind in ("parquet", "arrow") else FLAT)


FRAMES = [
    (GOOD.head(0), "hold no rows: FILE"),
    (GOOD.drop("w"), "FILE: SCHEMA: weight: unknown column 'w'"),
    (GOOD.drop("order"), "FILE: SCHEMA, line 13: label of 'order'.*'order'"),
    (GOOD.rename({"age": "Age"}), "FILE: SCHEMA, line 7: .*Did you mean 'Age'"),
    (GOOD.with_columns(pl.struct("age", "w").alias("age")), "FILE: SCHEMA, line 7: field 'age'"),
    (GOOD.with_columns(pl.col("tags").list.first()), "line 8: .*'tags' of FILE holds Int64"),
    (GOOD.with_columns(pl.concat_list("item")), "line 5: .*'item' of FILE holds List.*bag"),
    (GOOD.with_columns(pl.concat_list("user")), "'user' of FILE holds List"),
    (
        GOOD.with_columns(t=pl.lit("soon")),
        "time that does not parse: FILE, row 1, column 't': 'soon'",
    ),
    (GOOD.with_columns(t=pl.lit(True)), "line 10: .*hour"),
    (GOOD.with_columns(click=pl.lit(2)), "label of 'click' .*: FILE, row 1, column 'click': 2"),
    (GOOD.with_columns(price=pl.lit("dear")), "wrong type: FILE, row 1, column 'price': 'dear'"),
    (GOOD.head(1), "rows of 1 different times"),
    (GOOD.with_columns(t=GOOD["t"][0]), "rows of 1 different times"),
]


@pytest.mark.parametrize(("data", "message"), FRAMES, ids=[m for _, m in FRAMES])
def test_logs_that_are_not_as_the_schema_file_says_are_told(data, message, finished, tmp_path):
    refused(finished, write(tmp_path / "log.parquet", data), message)


SPLITS = [
    ("train", "SCHEMA: the validation split is empty .2,000 train, 0 validation, 0 test rows"),
    ("test", "SCHEMA: the train split is empty"),
    ("trian", "split of no known name, .*: FILE, row 1, column 'part': 'trian'"),
]


@pytest.mark.parametrize(("part", "message"), SPLITS)
def test_empty_splits_are_told(part, message, finished, tmp_path):
    raw = write(tmp_path / "log.parquet", GOOD.with_columns(part=pl.lit(part)))
    refused(finished, raw, message, FLAT)


def test_a_log_of_which_every_row_is_bad_has_an_empty_train_split(finished, tmp_path):
    raw = write(tmp_path / "log.parquet", GOOD.with_columns(click=pl.lit(2)))
    refused(finished, raw, "SCHEMA: the train split is empty", max_reject_rate=1.0)


OTHERS = [  # of two files, the second is changed
    (lambda data: data.drop("price"), "b.parquet: .*line 6.*'price'"),
    (lambda data: data.with_columns(pl.col("tags").list.first()), "b.parquet holds Int64"),
    (lambda data: data.with_columns(pl.col("t").cast(pl.Int64)), "b.parquet: .*time"),
]


@pytest.mark.parametrize(("way", "message"), OTHERS)
@pytest.mark.parametrize("fields", [SCHEMA, SCHEMA.replace("  hour: {value: hour(t)}\n", "")])
def test_one_file_of_several_is_named(way, message, fields, finished, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    write(folder / "a.parquet")
    write(folder / "b.parquet", way(GOOD))
    refused(finished, folder, message, fields)


def test_files_of_two_formats_are_told(finished, tmp_path):
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.csv")
    refused(finished, tmp_path, r"several formats: csv \(.*b.csv\), parquet \(.*a.parquet\)")


def test_places_without_files_are_told(finished, tmp_path):
    raw = tmp_path / "log.parquet"
    refused(finished, raw, "no raw files at 'FILE'")
    refused(finished, tmp_path / "*.parquet", "no raw files at ")
    refused(finished, tmp_path, "no raw files at 'FILE'; expected a file, a glob, or a folder")
    raw.symlink_to(tmp_path / "gone.parquet")
    refused(finished, raw, "FILE, a link to .*gone.parquet, cannot be read: No such file")
    refused(finished, tmp_path, "log.parquet, a link to .*gone.parquet, cannot be read")
    raw.unlink()
    os.mkfifo(raw)
    refused(finished, tmp_path, "log.parquet is no regular file")


def test_a_file_without_the_right_to_read_is_told(finished, tmp_path, monkeypatch):
    raw = write(tmp_path / "log.parquet")

    def forbidden(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("pyarrow.OSFile", forbidden)
    monkeypatch.setattr("pyarrow.memory_map", forbidden)
    refused(finished, raw, "FILE cannot be read: .*Permission denied")


def test_the_folder_of_sets_may_be_no_folder(tmp_path):
    raw = write(tmp_path / "log.parquet")
    for data_dir in (raw, "/proc/self"):
        with pytest.raises(UserError, match=rf"shop cannot be prepared in {data_dir}/logs/shop: "):
            prepare(schema_file(tmp_path), str(raw), data_dir, processes=1)


OPTIONS = [
    ({"memory_gb": 0.5}, "--memory_gb=0.5: at least"),
    ({"memory_gb": float("nan")}, "--memory_gb=nan"),
    ({"processes": -1}, "--processes=-1: expected"),
    ({"max_reject_rate": -0.1}, "--max_reject_rate=-0.1: expected a share"),
    ({"max_reject_rate": 10.0}, "--max_reject_rate=10: expected a share"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_options_out_of_range_are_told(options, message, finished, tmp_path):
    raw = write(tmp_path / "log.parquet", GOOD.head(900))
    refused(finished, raw, re.escape(message), **options)


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3", "1/3/5"])
def test_shards_out_of_range_are_told(shard):
    from experiments.prepare import machine

    with pytest.raises(UserError, match=f"--shard={shard}: expected I/N"):
        machine(shard)


def test_a_table_that_is_none_is_told(tmp_path):
    with pytest.raises(UserError, match="input is a object; expected a path"):
        prepare(schema_file(tmp_path), object(), tmp_path)
    assert table_file.as_frame(GOOD).height == ROWS

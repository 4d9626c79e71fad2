"""Raw files, logs and options that are wrong as a whole: each a message that says where, and no
finished set is harmed."""

import gzip
import io
import pathlib
import re

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damaged_bytes import DAMAGE, damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import log

from dtn_jax.data.prepare import prepare
from dtn_jax.errors import UserError

TEXT = log.without("viewed", "action", "clicked", "ago")
FLAT = log.without("seen", "embedding", text=TEXT)
LISTS = ("seen", "seen_weights", "embedding", "viewed", "viewed_action")
GOOD = log.rows(600)


class Finished:
    """A data_dir with a finished set, which no later call may harm."""

    def __init__(self, folder):
        self.folder = folder
        self.target = log.prepared(folder, GOOD, TEXT).folder
        self.bytes = log.everything(self.target)

    def refuses(self, raw, message, text=TEXT, **options):
        """The message says `message`, where FILE is the raw file."""
        schema = log.schema_file(pathlib.Path(raw).parent, text)
        options = {"processes": 1, "replace": True} | options
        with pytest.raises(UserError) as told:
            prepare(schema, str(raw), self.folder / "data", **options)
        pattern = message.replace("FILE", re.escape(str(raw)))
        pattern = pattern.replace("SCHEMA", re.escape(str(schema)))
        assert re.search(pattern, str(told.value)), told.value
        assert log.everything(self.target) == self.bytes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("finished"))


def bytes_of(kind, frame=GOOD):
    """A file of the log; text files have no lists."""
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(frame.to_arrow(), out, row_group_size=200, write_page_checksum=True)
    elif kind == "arrow":
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(out, frame.to_arrow().schema, options=options) as writer:
            writer.write_table(frame.to_arrow(), max_chunksize=200)
    else:
        frame = frame.drop(LISTS, strict=False).with_columns(pl.col("t").cast(pl.String))
        getattr(frame, {"csv": "write_csv", "jsonl": "write_ndjson"}[kind])(out)
    return out.getvalue()


def cut(share):
    return lambda data: data[: int(len(data) * share)]


def replaced(old, new, count=-1):
    return lambda data: data.replace(old, new, count)


def zeroed(group, column):
    """Zeros in a page of a Parquet file."""

    def way(data):
        place = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(group).column(column)
        at = (place.dictionary_page_offset or place.data_page_offset) + 30
        return data[:at] + bytes(50) + data[at + 50 :]

    return way


def frame_zeroed(data):
    """Zeros in a compressed buffer of the second record batch of an Arrow file."""
    mark = b"\x28\xb5\x2f\xfd"
    place = data.index(mark, len(data) // 2)
    return data[: place + 6] + bytes(24) + data[place + 30 :]


BYTES = [  # (format, what becomes of its bytes, message)
    ("parquet", cut(0), "FILE is damaged, or is no Parquet file"),
    ("parquet", cut(0.99), "FILE is damaged, or is no Parquet file"),
    ("parquet", lambda data: b"user,item\n1,2\n", "FILE is damaged, or is no Parquet file"),
    ("parquet", zeroed(2, 6), "FILE is damaged"),
    ("arrow", cut(0), "FILE is damaged, or is no Arrow file"),
    ("arrow", cut(0.5), "FILE is damaged, or is no Arrow file"),
    ("arrow", frame_zeroed, "FILE is damaged"),
    ("arrow", replaced(b"item", b"it\xc4\x00"), "FILE"),  # Polars panics at such a name
    ("csv", cut(0), "FILE has no header line"),
    ("csv", lambda data: b"\n\n", "FILE has no header line"),
    ("csv", lambda data: data.split(b"\n")[0] + b"\n", "hold no rows: FILE"),
    ("csv", replaced(b"item,", b"user,", 1), "FILE: the header.*'user' more than"),
    ("csv", replaced(b"item,", b"it\xffm,", 1), "FILE: the header.*line 1"),
    ("csv", replaced(b"item,", b'"item,', 1), "FILE: the header.*line 1"),
    ("csv", lambda data: data.decode().encode("utf-16"), "FILE: the header, line 1, is broken"),
    ("csv", replaced(b"price", b"prize", 1), "FILE: SCHEMA, line 7: .*mean 'prize'"),
    ("csv", replaced(b",", b";"), "FILE.*'t'"),
    ("csv.gz", cut(0.9), "FILE cannot be read to its end"),
    ("csv.gz", lambda data: data[:500] + bytes(50) + data[550:], "FILE cannot be read to its end"),
    ("jsonl.gz", lambda data: b"no gzip file", "FILE cannot be read to its end"),
    ("jsonl", cut(0), "hold no rows: FILE"),
    ("jsonl", lambda data: b"[" + data.replace(b"\n", b",") + b"{}]", "FILE: .* it is an array"),
    ("jsonl", lambda data: b"no json\n" * 9, "FILE: none of the first"),
    ("jsonl", replaced(b'"price"', b'"prize"'), "FILE: .*line 7.*mean 'prize'"),
    ("jsonl", replaced(b'"user":', b'"user":{"a":1},"old":'), "'user' of FILE .*nested columns"),
]


@pytest.mark.parametrize(
    ("kind", "way", "message"), BYTES, ids=[f"{b[0]}-{n}" for n, b in enumerate(BYTES)]
)
def test_damaged_files_are_told(kind, way, message, finished, tmp_path):
    raw, plain = tmp_path / f"log.{kind}", kind.removesuffix(".gz")
    data = bytes_of(plain)
    raw.write_bytes(way(gzip.compress(data) if plain != kind else data))
    finished.refuses(raw, message, TEXT if kind in ("parquet", "arrow") else FLAT)


FRAMES = [  # (frame, message)
    (GOOD.head(0), "hold no rows: FILE"),
    (GOOD.drop("w"), "FILE: SCHEMA: weight: unknown column 'w'"),
    (GOOD.drop("order"), "FILE: SCHEMA, line 15: label of 'order': unknown column 'order'"),
    (GOOD.drop("t"), "FILE: SCHEMA.*unknown column 't'"),
    (GOOD.rename({"speed": "Speed"}), "FILE: SCHEMA, line 9: .*Did you mean 'Speed'"),
    (GOOD.with_columns(speed=pl.struct("speed", "w")), "FILE: SCHEMA, line 9: field 'speed'"),
    (GOOD.with_columns(pl.col("seen").list.first()), "line 6: .*'seen' of FILE holds Int64"),
    (GOOD.with_columns(pl.concat_list("item")), "line 5: .*'item' of FILE holds List.*bag"),
    (GOOD.with_columns(pl.concat_list("t")), "'t' of FILE .* expected single values"),
    (GOOD.with_columns(t=pl.lit("soon")), "time that does not parse: FILE, row 1, column 't': 's"),
    (GOOD.with_columns(t=pl.lit(True)), "the time column 't' holds Boolean; expected dates"),
    (GOOD.with_columns(t=pl.int_range(600)), "line 7: .*t holds plain numbers, not times"),
    (GOOD.with_columns(click=pl.lit(2)), "label of 'click' .*: FILE, row 1, column 'click': 2"),
    (GOOD.with_columns(price=pl.lit("dear")), "wrong type: FILE, row 1, column 'price': 'dear'"),
    (GOOD.with_columns(t=GOOD["t"][0]), "rows of 1 different times, too few to split"),
]


PART = FLAT + "split: {by: column, column: part}\n"
OPTIONS = [  # (`part` of all rows, message, how the log is prepared)
    ("train", "SCHEMA: the validation split is empty .600 train, 0 validation, 0 test rows", {}),
    ("trian", "split of no known name: FILE, row 1, column 'part': 'trian'", {}),
    ("trian", "no row of .* is good: 600 of 600 rows rejected: split", {"max_reject_rate": 1.0}),
    ("train", "--memory_gb=0.5: at least", {"memory_gb": 0.5}),
    ("train", "--memory_gb=nan", {"memory_gb": float("nan")}),
    ("train", "--processes=-1: expected", {"processes": -1}),
    ("train", "--max_reject_rate=-0.1: expected a share", {"max_reject_rate": -0.1}),
    ("train", "--max_reject_rate=10: expected a share", {"max_reject_rate": 10.0}),
]
CASES = [(data, message, {}) for data, message in FRAMES]
for part, message, options in OPTIONS:
    data = GOOD.with_columns(part=pl.lit(part))
    CASES.append((data, message, {"text": PART, "max_reject_rate": 0.0} | options))


@pytest.mark.parametrize(("data", "message", "options"), CASES, ids=[m for _, m, _ in CASES])
def test_logs_that_are_not_as_the_schema_file_says(data, message, options, finished, tmp_path):
    (tmp_path / "log.parquet").write_bytes(bytes_of("parquet", data))
    finished.refuses(tmp_path / "log.parquet", message, **options)


OTHERS = [  # of two files, the second is changed
    (lambda data: data.drop("price"), "b.parquet: .*line 8.*'price'"),
    (lambda data: data.with_columns(pl.col("seen").list.first()), "b.parquet holds Int64"),
    (lambda data: data.with_columns(pl.col("t").cast(pl.Int64)), "b.parquet: .*time"),
]


@pytest.mark.parametrize(("way", "message"), OTHERS)
def test_one_file_of_several_is_named(way, message, finished, tmp_path):
    (tmp_path / "logs").mkdir()
    GOOD.write_parquet(tmp_path / "logs/a.parquet")
    way(GOOD).write_parquet(tmp_path / "logs/b.parquet")
    finished.refuses(tmp_path / "logs", message)


def test_places_without_files_are_told(finished, tmp_path):
    raw = tmp_path / "log.parquet"
    finished.refuses(raw, "no raw files at 'FILE'")
    finished.refuses(tmp_path / "*.parquet", "no raw files at ")
    finished.refuses(tmp_path, "no raw files at 'FILE'; expected a file, a glob, or a folder")
    (tmp_path / "x.md").write_text("")
    finished.refuses(tmp_path / "x.md", "FILE.*does not say the format")
    raw.symlink_to(tmp_path / "gone.parquet")
    finished.refuses(tmp_path, "cannot be read: .*No such file.*log.parquet")
    raw.unlink()
    for kind in ("csv", "parquet"):
        (tmp_path / f"log.{kind}").write_bytes(bytes_of(kind))
    finished.refuses(tmp_path, r"several formats: csv \(.*log.csv\), parquet \(.*log.parquet\)")


def test_a_file_without_the_right_to_read_is_told(finished, tmp_path, monkeypatch):
    GOOD.write_parquet(tmp_path / "log.parquet")

    def forbidden(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("pyarrow.OSFile", forbidden)
    monkeypatch.setattr("pyarrow.memory_map", forbidden)
    finished.refuses(tmp_path / "log.parquet", "FILE cannot be read: .*Permission denied")


def test_folders_and_tables_that_are_none_are_told(tmp_path):
    GOOD.write_parquet(tmp_path / "log.parquet")
    schema = log.schema_file(tmp_path, TEXT)
    for data_dir in (tmp_path / "log.parquet", "/proc/self"):
        with pytest.raises(UserError, match=rf"shop cannot be prepared in {data_dir}/logs/shop: "):
            prepare(schema, str(tmp_path / "log.parquet"), data_dir, processes=1)
    with pytest.raises(UserError, match="input is a object; expected a path"):
        prepare(schema, object(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv", "jsonl"])
def test_whatever_a_file_holds_it_is_read_or_refused_with_its_name(tmp_path, kind):
    path, text = tmp_path / f"log.{kind}", "name: shop\nfields: [user, item]\ntasks: [click]\n"
    data, refused = bytes_of(kind, GOOD[:200]), []
    schema, number = log.schema_file(tmp_path, text), iter(np.arange(10_000))

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(DAMAGE, min_size=1, max_size=3))
    def harm(every):
        changed = data
        for damage in every:
            changed = damaged(changed, damage)
        path.write_bytes(changed)
        try:
            to = tmp_path / f"{next(number)}"
            prepare(schema, str(path), to, processes=1, max_reject_rate=1.0)
        except UserError as error:
            refused.append(str(error))

    harm()
    assert refused  # most damage to text is a broken line, which is no error
    assert all(str(path) in message or "split is empty" in message for message in refused)

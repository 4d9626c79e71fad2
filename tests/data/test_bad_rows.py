"""Bad rows are counted, kept and told; so are changed files, odd times and skipped files. Raw
files, logs and options that are wrong as a whole: each a message that says where, and no
finished set is harmed."""

import gzip
import io
import json
import math
import os
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

from dtn_jax.cli.prepare import main
from dtn_jax.data.prepare import prepare
from dtn_jax.errors import UserError

INF = math.inf
ROWS = 2_000
# What the log's own schema file lacks: a range of labels, the longest list, a split by a column.
TEXT = log.without("clicked", "ago")
TEXT = TEXT.replace("max_values: 3", "max_values: 3, longest: 4")
TEXT = TEXT.replace("label: log1p(seconds)", "label: seconds, range: [0, 500]")
TEXT = TEXT.replace(
    "  watch:",
    "  again: {label: again, known: click == 1}\n  dear: {label: cost * n > 9}\n  watch:",
)
TEXT += "split: {by: column, column: part}\n"
ENDLESS, LARGE, TYPE = "not finite", "32-bit floats", "wrong type"
WEIGHT, RANGE, LENGTHS = "weight that is no finite", "outside its range", "another length than"
NUMBERS, TIME, MISSING = "list of other than 3 numbers", "time that does not parse", "missing"

CASES = [  # (column, its bad value, reason); each in another row
    ("price", "cheap", TYPE),
    ("price", INF, ENDLESS),
    ("price", -INF, ENDLESS),
    ("price", "inf", ENDLESS),
    ("price", 1e39, LARGE),
    ("speed", "old", TYPE),
    ("speed", -1e300, LARGE),
    ("click", 2, RANGE),
    ("click", 0.5, RANGE),
    ("click", "yes", TYPE),
    ("click", "", TYPE),
    ("click", None, MISSING),
    ("again", 2, RANGE),
    ("again", None, MISSING),
    ("again", "often", TYPE),
    ("seconds", -0.1, RANGE),
    ("seconds", 500.5, RANGE),
    ("seconds", INF, ENDLESS),
    ("seconds", None, MISSING),
    ("w", -1.0, WEIGHT),
    ("w", None, WEIGHT),
    ("w", "heavy", TYPE),
    ("w", 1e300, LARGE),
    ("user", None, MISSING),
    ("t", None, MISSING),
    ("t", "yesterday", TIME),
    ("t", "2026-02-30 10:00:00", TIME),
    ("t", "2026-03-02T10:00:00+25:99x", TIME),
    ("seen", ["1"] * 5, "list of more than 4 values"),
    ("seen_weights", ["1.0"] * 3, LENGTHS),
    ("seen_weights", None, LENGTHS),
    ("seen_weights", ["a"], TYPE),
    ("seen_weights", [None], TYPE),
    ("seen_weights", ["inf"], ENDLESS),
    ("seen_weights", ["1e39"], LARGE),
    ("viewed_action", ["look", "cart"], LENGTHS),
    ("viewed_action", None, LENGTHS),
    ("embedding", ["1.0", "2.0"], NUMBERS),
    ("embedding", [], NUMBERS),
    ("embedding", ["1.0"] * 4, NUMBERS),
    ("embedding", ["1.0", None, "2.0"], TYPE),
    ("embedding", ["1.0", "nan", "2.0"], ENDLESS),
    ("embedding", ["1.0", "1e39", "2.0"], LARGE),
    ("part", "trian", "split of no known name"),
    ("part", None, MISSING),
    ("cost * n > 9", {"cost": INF}, TYPE),  # an expression shows all that it reads
]


def frame():
    """The log, every row with a click and one seen item, so that all its columns are wanted."""
    part = np.random.default_rng(7).choice(log.SPLITS, ROWS, p=[0.8, 0.1, 0.1])
    return log.rows(ROWS).with_columns(
        pl.col("seconds").clip(0, 400),
        click=1,
        seen=pl.Series([[5]] * ROWS),
        seen_weights=pl.Series([[1.0]] * ROWS),
        viewed=pl.Series([[5]] * ROWS),
        viewed_action=pl.Series([["look"]] * ROWS),
        again=pl.lit(1),
        cost=pl.lit(1.5),
        n=pl.lit(4),
        part=pl.Series(part),
    )


def changed(data, column, row, value):
    """The frame with another value in a row; its column of texts, where it must be."""
    values = data[column].to_list()
    values[row] = value
    if isinstance(value, list) or isinstance(values[0], list):
        return data.with_columns(
            pl.Series(column, [v and [x and str(x) for x in v] for v in values], strict=False)
        )
    if isinstance(value, str) or data[column].dtype == pl.String:
        values = [v if v is None else str(v) for v in values]
    return data.with_columns(pl.Series(column, values, strict=False))


def kept(folder):
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]


def prepared(folder, data, most, text=TEXT, **options):
    data.write_parquet(folder / "log.parquet")
    schema, given = log.schema_file(folder, text), str(folder / "log.parquet")
    return prepare(schema, given, folder, processes=1, max_reject_rate=most, **options)


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """(the set of a log of which each case is a row, from row 1,001 on; its folder)."""
    folder, data = tmp_path_factory.mktemp("bad"), frame()
    for row, (column, value, _) in enumerate(CASES, 1_000):
        if isinstance(value, dict):
            column, value = next(iter(value.items()))
        data = changed(data, column, row, value)
    return prepared(folder, data, 0.05), folder


def test_bad_rows_are_counted_and_kept_and_all_others_are_prepared(every):
    made, folder = every
    assert made.notes["read"] == ROWS
    assert (
        sum(made.rows.values()) == ROWS - len(CASES) == ROWS - sum(made.notes["rejected"].values())
    )
    found = kept(made.folder)
    assert len(found) == len(CASES)
    for line in found:
        column, value, reason = CASES[line["row"] - 1_001]
        assert line["file"] == str(folder / "log.parquet")
        assert line["column"] == column
        assert reason in line["reason"], line
        shown = line["value"].strip("'")
        if isinstance(value, int | float):
            assert float(shown) == value
        else:
            assert shown == str(value) or isinstance(value, dict), line


def test_too_many_bad_rows_are_told_and_no_set_is_harmed(every, capsys):
    """The first rows of each reason with file, row and value, counts, and where all of them are."""
    made, folder = every
    before, raw = log.everything(made.folder), folder / "log.parquet"
    call = [f"--schema={folder / 'shop.yaml'}", f"--input={raw}", f"--data_dir={folder}"]
    main([*call])  # a set that is there already: its account again
    first = f"1 of 2,000 rows rejected: list of more than 4 values: {raw}, row 1,029, column 'seen'"
    assert first in capsys.readouterr().out
    log.schema_file(folder, TEXT.replace("buckets: 8", "buckets: 9"))
    with pytest.raises(UserError) as told:
        main([*call, "--processes=1", "--replace"])
    assert first in capsys.readouterr().out
    text = str(told.value)
    assert f"{len(CASES)} of 2,000 rows are bad (2.3 %), more than --max_reject_rate=0.001" in text
    assert f"wrong type: {raw}, row 1," in text
    assert f"are in {folder}/logs/shop/rejects.jsonl" in text
    assert len(kept(folder / "logs/shop")) == len(CASES)
    assert log.everything(made.folder) == before


@pytest.mark.parametrize("bad", [2, 3])
def test_a_tenth_of_a_percent_is_allowed(bad, tmp_path):
    data = frame().with_columns(w=pl.when(pl.int_range(ROWS) < bad).then(-1.0).otherwise("w"))
    if bad == 3:
        with pytest.raises(UserError, match=r"3 of 2,000 rows are bad \(0.15 %\)"):
            prepared(tmp_path, data, 0.001)
        assert not (tmp_path / "logs/shop/1.0.0").exists()
    else:
        assert sum(prepared(tmp_path, data, 0.001).rows.values()) == ROWS - 2


def test_a_row_that_is_bad_twice_is_counted_once_and_what_known_spares_is_not_bad(tmp_path):
    data = changed(changed(frame(), "w", 5, -1.0), "seconds", 5, None)
    data = changed(changed(data, "click", 7, 0), "again", 7, "never")
    made = prepared(tmp_path, data, 0.1)
    assert list(made.notes["rejected"].values()) == [1]
    assert sum(made.rows.values()) == ROWS - 1


def test_the_first_rows_of_each_reason_are_kept(tmp_path):
    data = frame().with_columns(w=pl.when(pl.int_range(ROWS) < 1_050).then(-1.0).otherwise("w"))
    made = prepared(tmp_path, changed(data, "seconds", 1_500, -1), 1.0)
    assert [line["row"] for line in kept(made.folder)] == [*range(1, 1_001), 1_501]
    assert list(made.notes["rejected"].values()) == [1_050, 1]


# What must not go wrong in silence: files in, numbers and messages out.


def of_raw(folder, text, **options):
    """The set of the files in `folder/raw`."""
    options = {"processes": 1, "max_reject_rate": 1.0} | options
    return prepare(log.schema_file(folder, text), str(folder / "raw"), folder / "data", **options)


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


RANDOM = "split: {by: random, validation: 0.1, test: 0.2}\n"
SHOP = f"name: shop\nfields: [user, item]\ntasks: [click]\n{RANDOM}"


# --- a: a file that has changed -----------------------------------------------------------------


def test_labels_corrected_in_the_middle_of_a_file_are_noticed(tmp_path, raw):
    """A file whose time differs is read whole."""
    path = raw / "a.csv"
    frame = log.rows(5000).select("user", "item", "click", text=pl.lit("x" * 90))
    middle = pl.int_range(5000).is_between(1000, 3999)
    corrected = frame.with_columns(click=pl.when(middle).then(1).otherwise("click"))
    frame.write_csv(path)
    size, before = path.stat().st_size, of_raw(tmp_path, SHOP)
    os.utime(path, (2e9, 2e9))
    assert (
        of_raw(tmp_path, SHOP).fingerprint == before.fingerprint
    )  # another time alone is no change
    corrected.write_csv(path)
    os.utime(path, (2e9 + 1, 2e9 + 1))
    assert path.stat().st_size == size
    with pytest.raises(UserError, match=re.escape(path.name)):
        of_raw(tmp_path, SHOP)
    assert of_raw(tmp_path, SHOP, replace=True).fingerprint != before.fingerprint


# --- b: a missing group -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "value"), [("parquet", float("nan")), ("parquet", ""), ("ndjson", "")]
)
def test_rows_without_a_group_are_bad(format, value, tmp_path, raw):
    frame = log.rows(2000).select("user", "item", "click")
    users = frame["user"].cast(pl.String if isinstance(value, str) else pl.Float64)
    frame = frame.with_columns(users.set(frame["user"] % 3 == 0, value))
    path = raw / ("a.parquet" if format == "parquet" else "a.jsonl")
    getattr(frame, f"write_{format}")(path)
    whole = log.rows(2000).select("user", "item", "click")
    if format == "parquet":
        whole.write_parquet(raw / "b.parquet")
    data, gone = of_raw(tmp_path, SHOP + "group: user\n"), (log.rows(2000)["user"] % 3 == 0).sum()
    rows = 2000 if format == "ndjson" else 4000  # of a file where users are whole numbers, too
    assert sum(data.notes["rejected"].values()) == gone == rows - sum(data.rows.values())
    lines = (data.folder / "rejects.jsonl").read_text().splitlines()
    assert {json.loads(line)["column"] for line in lines} == {"user"}


# --- c: times that are none ---------------------------------------------------------------------

T, PLACE = pl.col("t"), pl.int_range(3000)
TIMES = {  # what of milliseconds is written: what a message says
    "seconds": (pl.when(PLACE >= 2713).then(T // 1000).otherwise(T), r"\b287 .*1970"),
    "zeros": (pl.when(PLACE % 10 == 3).then(0).otherwise(T), r"\b300 .*1970"),
    # 2026030112 is noon of March 1st.
    "hours": (
        pl.from_epoch("t", "ms").dt.to_string("%Y%m%d%H").cast(pl.Int64),
        r"\bt\b.*20260\d{5}",
    ),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_far_from_the_rest_and_odd_ones_are_named(name, tmp_path, raw, capsys):
    times, told = TIMES[name]
    frame = log.rows(3000).select("user", "item", "click", t=T.dt.timestamp("ms"))
    frame.with_columns(t=times).write_parquet(raw / "a.parquet")
    try:
        of_raw(tmp_path, SHOP.replace(RANDOM, "time: t\n"))
        shown = capsys.readouterr().out
    except UserError as error:
        shown = str(error)
    assert re.search(told, " ".join(shown.split()))


# --- d: files that are skipped ------------------------------------------------------------------


def test_files_that_are_skipped_are_named(tmp_path, raw, capsys):
    """With the reason; what lies beside a log is not."""
    frame = log.rows(600).select("user", "item", "click")
    for place in range(6):
        name = f"part-{place}.csv{'.bz2' if place % 3 == 1 else ''}"
        frame[place * 100 : (place + 1) * 100].write_csv(raw / name)
    (raw / "_SUCCESS").write_text("")
    assert sum(of_raw(tmp_path, SHOP).rows.values()) == 400
    shown = capsys.readouterr().out
    assert re.search(r"skipped 2 files .* no suffix .*part-1.csv.bz2, .*part-4.csv.bz2", shown)
    assert "_SUCCESS" not in shown


# --- what is wrong as a whole --------------------------------------------------------------------


LISTED = log.without("viewed", "action", "clicked", "ago")
FLAT = log.without("seen", "embedding", text=LISTED)
LISTS = ("seen", "seen_weights", "embedding", "viewed", "viewed_action")
GOOD = log.rows(600)


class Finished:
    """A data_dir with a finished set, which no later call may harm."""

    def __init__(self, folder):
        self.folder = folder
        self.target = log.prepared(folder, GOOD, LISTED).folder
        self.bytes = log.everything(self.target)

    def refuses(self, raw, message, text=LISTED, **options):
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
    finished.refuses(raw, message, LISTED if kind in ("parquet", "arrow") else FLAT)


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
WHOLES = [(data, message, {}) for data, message in FRAMES]
for part, message, options in OPTIONS:
    data = GOOD.with_columns(part=pl.lit(part))
    WHOLES.append((data, message, {"text": PART, "max_reject_rate": 0.0} | options))


@pytest.mark.parametrize(("data", "message", "options"), WHOLES, ids=[m for _, m, _ in WHOLES])
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
    schema = log.schema_file(tmp_path, LISTED)
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

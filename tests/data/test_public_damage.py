"""Public sets: what is wrong in their files, what is not there and where to get it; downloads."""

import functools
import http.server
import io
import pathlib
import re
import tarfile
import threading
import zipfile

import polars as pl
import pytest
import twins
from public_sets import load

from dtn_jax.data import sets
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.sets import data_set
from dtn_jax.data.sets.census_income import COLUMNS, CensusIncome
from dtn_jax.data.sets.kuairand import KuaiRandPure
from dtn_jax.data.sets.movielens import MovieLens
from dtn_jax.errors import UserError

FRAME = twins.kuairand().drop("time_ms")


def kuairand(folder, kind="csv"):
    folder.mkdir(parents=True)
    for name, frame in (("a", FRAME[:300]), ("b", FRAME[300:])):
        getattr(frame, f"write_{kind}")(folder / f"log_standard_{name}.{kind}")


WRITE = {  # {set, with its options: writes its raw files}
    "movielens": lambda to: twins.movielens(to, "1m"),
    "movielens version=25m": lambda to: twins.movielens(to, "25m"),
    "census_income": twins.census_income,
    "census_income tasks=seven": lambda to: twins.census_income(to, "parquet"),
    "kuairand": kuairand,
    "kuairand min_count=1": lambda to: kuairand(to, "parquet"),
    "kuairand_pure": twins.kuairand_pure,
    "aliexpress": twins.aliexpress,
}


def rows(change):
    """Other lines."""
    return lambda data: "\n".join(change(data.decode("latin-1").split("\n"))).encode("latin-1")


def line(number, change):
    return rows(lambda rows: [*rows[: number - 1], change(rows[number - 1]), *rows[number:]])


def more(*added):
    return rows(lambda rows: [*rows[:-1], *added, ""])


def cell(number, place, text, separator=","):
    """Another value in a line."""

    def change(line):
        values = line.split(separator)
        return separator.join([*values[:place], text, *values[place + 1 :]])

    return line(number, change)


def table(change):
    """Another frame in a Parquet file."""

    def changed(data):
        out = io.BytesIO()
        change(pl.read_parquet(data)).write_parquet(out)
        return out.getvalue()

    return changed


def one(column, value):
    """A value in the second row of a Parquet file."""
    put = pl.when(pl.int_range(pl.len()) == 1).then(value).otherwise(column)
    return table(lambda frame: frame.with_columns(put.alias(column)))


PLACES = {name: place for place, name in enumerate(COLUMNS)}
LOG = {name: place for place, name in enumerate(FRAME.columns)}
CENSUS, B, PARQUET = "census-income.data", "log_standard_b.csv", "log_standard_b.parquet"
DAMAGE = {  # {set: [(file, what becomes of its bytes, the message, where FILE is the path)]}
    "movielens": [
        ("ratings.dat", line(3, lambda _: "1::2::3"), "FILE cannot be read: .* Line: 3 "),
        ("ratings.dat", cell(8, 2, "x", "::"), 'FILE cannot be read: .*"x"'),
        ("users.dat", rows(lambda _: []), "FILE holds no rows"),
    ],
    "movielens version=25m": [
        ("movies.csv", line(4, lambda _: '9,"a'), "FILE cannot be read: .* Line: 4 "),
        ("ratings.csv", more("1,3,0,9"), "label of 'rating' outside its"),
    ],
    "census_income": [
        (CENSUS, line(17, lambda row: row + ", more"), "FILE cannot be read: "),
        (CENSUS, cell(9, PLACES["age"], "forty"), "FILE cannot be read: .*forty"),
        (CENSUS, cell(9, PLACES["sex"], " Mail"), "FILE: the rows differ from the o"),
        ("census-income.test", rows(lambda rows: rows[:1]), "FILE: 1 rows, but .* 150"),
    ],
    "census_income tasks=seven": [
        ("train.parquet", lambda data: data[:-100], "FILE cannot be read: "),
        ("train.parquet", table(lambda f: f.drop("sex")), "FILE cannot be read: .*sex"),
    ],
    "kuairand": [
        (B, line(8, lambda row: row.rpartition(",")[0]), "FILE cannot be read: .* Line: 8 "),
        (B, cell(3, LOG["user_id"], "u7"), 'FILE cannot be read: .*"u7"'),
        (B, cell(3, LOG["is_click"], "2"), "label of 'click' outside its range"),
    ],
    "kuairand min_count=1": [
        (PARQUET, one("is_follow", -1), "label of 'follow' outside its range"),
        (PARQUET, table(lambda frame: frame.drop("is_follow")), "FILE cannot be read: .*is_follow"),
        (PARQUET, table(lambda f: f.filter(pl.col("date") < 20220420)), "the test split is empty"),
    ],
}
CASES = [(name, *case) for name, cases in DAMAGE.items() for case in cases]


def written(folder, given):
    """The set's name, its options and the raw files of its twin."""
    name, _, options = given.partition(" ")
    raw = folder / "raw" / name
    WRITE[given](raw)
    return name, options, {path.name: path for path in raw.rglob("*.*") if path.is_file()}


@pytest.mark.parametrize(("given", "file", "change", "message"), CASES)
def test_damage(given, file, change, message, tmp_path):
    name, options, files = written(tmp_path, given)
    path = files[file.removesuffix(".gz")]
    data = path.read_bytes()
    path.unlink()
    path = path.with_name(file)
    path.write_bytes(change(data))
    with pytest.raises(UserError) as told:
        load(tmp_path, name, options)
    assert re.search(message.replace("FILE", re.escape(str(path))), str(told.value))
    assert not list((tmp_path / "data").rglob("prepared.json"))


MISSING = [  # (set, its options, whose files are there; which is not; the message)
    ("aliexpress", "", "", "aliexpress needs .*tianchi.*AliExpress_NL/train.csv and .*/test.csv"),
    ("aliexpress", "aliexpress", "test.csv", r"lacks AliExpress_NL/test.csv\. Get the set from h"),
    ("movielens", "movielens", "users.dat", r"lacks ml-1m/users\.dat\. .* https://g"),
    ("census_income", "census_income", "census-income.test", r"lacks census-income\.test\. "),
    ("kuairand_histories", "", "", "kuairand needs its raw files. Get the set from https://kuai"),
    ("ali_ccp", "", "", "needs its raw files. Get the set from https://tianchi"),
    ("kuairand_histories", "kuairand min_count=1", "", "'time_ms'"),
]


@pytest.mark.parametrize(("name", "given", "file", "message"), MISSING)
def test_what_is_not_there_is_told_with_the_address(name, given, file, message, tmp_path):
    if given:
        files = written(tmp_path, given)[2]
        if file:
            files[file].unlink()
    with pytest.raises(UserError, match=message):
        load(tmp_path, name, raw="raw" if given else "")


def test_a_folder_without_files_is_told(tmp_path):
    for name, message in (
        ("kuairand", r"lacks log_standard\*\.csv. Get the set from .* as Parquet files"),
        ("ali_ccp", r"lacks sample_skeleton_train\.csv and .*Get the set from https://tianchi"),
    ):
        (tmp_path / "raw" / name).mkdir(parents=True)
        with pytest.raises(UserError, match=rf"/{name} {message}"):
            load(tmp_path, name)


# Public sets from their archives, which a server here serves; what the catalog says of them.


SCHEMAS = sorted(pathlib.Path(sets.__file__).parent.rglob("*.yaml"))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_every_schema_file_says_where_its_set_is_from(path):
    spec = schema_file.load(path)
    assert spec.about.keys() == {"citation", "licence", "home", "protocol"}
    assert "https://" in spec.about["home"]
    assert {field.embedding for field in spec.fields} == {"scaled"}  # as a config takes for granted


def test_a_set_of_another_schema_file_is_refused(tmp_path, monkeypatch):
    twins.movielens(tmp_path / "raw" / "movielens", "1m")
    first = load(tmp_path, "movielens")
    path = tmp_path / "movielens.yaml"
    text = MovieLens(data_dir="").schema_text()
    monkeypatch.setattr(MovieLens, "schema", path)
    path.write_text(text.replace("ACM", "A. C. M."))  # what is only said of it counts for nothing
    assert load(tmp_path, "movielens") == first
    path.write_text(text.replace("rating >= 4", "rating >= 5"))
    with pytest.raises(UserError, match=r"movielens/1\.0\.0 was prepared by other rules"):
        load(tmp_path, "movielens")


SETS = {  # {name: (its class, what is published)}
    "movielens": (MovieLens, "ml-1m.zip"),
    "kuairand_pure": (KuaiRandPure, "pure.tar.gz"),
    "census_income": (CensusIncome, "census+income+kdd.zip"),
}


def write(folder, name):
    """The raw files of a set's twin."""
    WRITE[name](folder)
    return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}


def packed_files(files, suffix, leave=""):
    """The files as a zip or a tar.gz, or as UCI's zip that holds a tar.gz, without one of them."""
    packed = io.BytesIO()
    kept = {name: path.read_bytes() for name, path in files.items() if name != leave}
    if suffix.endswith(".zip"):
        if "+" in suffix:
            kept = {"census.tar.gz": tar_of({f"./{name}": data for name, data in kept.items()})}
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in {"README": b"what it is", **kept}.items():
                file.writestr(name, data)
        return packed.getvalue()
    return tar_of(kept)


def tar_of(entries):
    """The bytes of a tar.gz of {name: the bytes that it holds}."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setattr(data_set, "RETRIES", 0)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture(params=SETS)
def served(request, monkeypatch, tmp_path):
    """What is served: what is written to the path `at`; `name` of the set, its `files`, the `file`
    that has them, and how often that was asked for."""
    builder, file = SETS[request.param]
    (tmp_path / "served").mkdir()
    served = {"requests": 0, "name": request.param, "file": file, "at": tmp_path / "served" / file}
    served["files"] = write(tmp_path / "elsewhere", request.param)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            served["requests"] += 1

    handler = functools.partial(Handler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setattr(builder, "url", f"http://127.0.0.1:{listening.server_port}/{file}")
        yield served
        listening.shutdown()
        thread.join()


def test_a_set_is_downloaded_once_it_can_be(served, tmp_path, capsys):
    """And is the same."""

    def message():
        with pytest.raises(UserError) as caught:
            load(tmp_path, served["name"], raw="")
        assert not list((tmp_path / "data").rglob("prepared.json"))
        return str(caught.value)

    told = message()
    assert "cannot be downloaded" in told
    assert "Without a connection, give data.manual_dir (or $DTN_MANUAL_DIR), a folder" in told
    whole = packed_files(served["files"], served["file"])
    middle = len(whole) // 2
    wanted = [n for n in served["files"] if "random" not in n]
    for data, part in (
        (b"<html>moved</html>", "cannot be unpacked"),
        (whole[: len(whole) - 3000], "the archive from"),
        (whole[:middle] + bytes(64) + whole[middle + 64 :], "the archive from"),
        (packed_files(served["files"], served["file"], wanted[0]), f"lacks {wanted[0]}"),
    ):
        served["at"].write_bytes(data)
        told = message()
        assert part in told
        assert "it was discarded, and the next run downloads it again" in told
        assert not list((tmp_path / "data" / "downloads").rglob("*.unpacked*"))
    served["at"].write_bytes(whole)
    (tmp_path / "raw").mkdir()
    capsys.readouterr()
    served["requests"] = 0
    first = load(tmp_path, served["name"])
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("Downloading http://127.0.0.1")
    assert shown.err == ""
    assert load(tmp_path, served["name"]) == load(tmp_path, served["name"], raw="") == first
    assert served["requests"] == 1
    given = tmp_path / "given"
    write(given / "raw" / served["name"], served["name"])
    assert load(given, served["name"]).fingerprint == first.fingerprint
    assert served["requests"] == 1
    # What the user has goes before the download, and a part of it is no reason for one.
    part = tmp_path / "part"
    files = write(part / "raw" / served["name"], served["name"])
    next(path for name, path in files.items() if "random" not in name).unlink()
    with pytest.raises(UserError, match=r" lacks .*Get the set from https://"):
        load(part, served["name"])
    assert served["requests"] == 1

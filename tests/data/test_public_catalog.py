"""Public sets from their archives, which a server here serves; what the catalog says of them."""

import functools
import http.server
import io
import pathlib
import tarfile
import threading
import zipfile

import pytest
import twins
from public_sets import load

from dtn_jax.data import sets
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.sets import data_set
from dtn_jax.data.sets.census_income import CensusIncome
from dtn_jax.data.sets.kuairand import KuaiRandPure
from dtn_jax.data.sets.movielens import MovieLens
from dtn_jax.errors import UserError

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


SETS = {  # {name: (its class, what is published, how its twin is written)}
    "movielens": (MovieLens, "ml-1m.zip", lambda to: twins.movielens(to, "1m")),
    "kuairand_pure": (KuaiRandPure, "pure.tar.gz", twins.kuairand_pure),
    "census_income": (CensusIncome, "census+income+kdd.zip", twins.census_income),
}


def write(folder, name):
    """The raw files of a set's twin."""
    SETS[name][2](folder)
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
    builder, file, _ = SETS[request.param]
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


def test_a_downloaded_set_is_the_same(served, tmp_path, capsys):
    served["at"].write_bytes(packed_files(served["files"], served["file"]))
    (tmp_path / "raw").mkdir()
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


def test_downloads_that_fail(served, tmp_path):
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
    assert load(tmp_path, served["name"], raw="").rows["test"]

"""Public sets from their archives, which a server here serves."""

import http.server
import io
import tarfile
import threading
import zipfile

import pytest
import twins
from public_sets import load

from dtn_jax.datasets.preparation import download
from dtn_jax.datasets.public.kuairand_pure import KuaiRandPure
from dtn_jax.datasets.public.movielens import MovieLens
from dtn_jax.errors import UserError

SETS = {"movielens": (MovieLens, "ml-1m.zip"), "kuairand_pure": (KuaiRandPure, "pure.tar.gz")}


def write(folder, name):
    """The raw files of a set's twin."""
    make = {"movielens": lambda to: twins.movielens(to, "1m"), "kuairand_pure": twins.kuairand_pure}
    make[name](folder)
    return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}


def archive(files, suffix, leave=""):
    """The files as a zip or a tar.gz, with a README, without one of them."""
    packed = io.BytesIO()
    kept = [(name, path.read_bytes()) for name, path in files.items() if name != leave]
    if suffix.endswith(".zip"):
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in [("README", b"what it is"), *kept]:
                file.writestr(name, data)
    else:
        with tarfile.open(fileobj=packed, mode="w:gz") as file:
            for name, data in kept:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                file.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 0)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture(params=SETS)
def served(request, monkeypatch, tmp_path):
    """What is served: `data`; `name` of the set, its `files`, and how often it was asked for."""
    builder, file = SETS[request.param]
    files = write(tmp_path / "elsewhere", request.param)
    served = {"requests": 0, "name": request.param, "files": files, "file": file}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served["requests"] += 1
            if "data" not in served:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", len(served["data"]))
            self.end_headers()
            self.wfile.write(served["data"])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setattr(builder, "url", f"http://127.0.0.1:{listening.server_port}/{file}")
        yield served
        listening.shutdown()
        thread.join()


def test_a_downloaded_set_is_the_same(served, tmp_path, capsys):
    served["data"] = archive(served["files"], served["file"])
    (tmp_path / "raw").mkdir()
    first = load(tmp_path, served["name"])
    shown = capsys.readouterr().out
    assert f"{tmp_path}/raw/{served['name']} holds no raw files." in shown
    assert "Downloading http://127.0.0.1" in shown
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


def test_downloads_that_fail(served, tmp_path, monkeypatch):
    def message():
        with pytest.raises(UserError) as caught:
            load(tmp_path, served["name"], raw="")
        assert not list((tmp_path / "data").rglob("prepared.json"))
        return str(caught.value)

    told = message()
    assert "cannot be downloaded" in told
    assert "Without a connection, give data.manual_dir (or $DTN_MANUAL_DIR), a folder" in told
    whole = archive(served["files"], served["file"])
    middle = len(whole) // 2
    wanted = [n for n in served["files"] if "random" not in n]
    for data, part in (
        (b"<html>moved</html>", "cannot be unpacked"),
        (whole[: len(whole) - 3000], "cannot be unpacked"),
        (whole[:middle] + bytes(64) + whole[middle + 64 :], "cannot be unpacked"),
        (archive(served["files"], served["file"], wanted[0]), f"lacks {wanted[0]}"),
    ):
        served["data"] = data
        told = message()
        assert part in told
        assert "it was discarded, and the next run downloads it again" in told
        assert not list((tmp_path / "data" / "downloads").rglob("*.unpacked*"))
    served["data"] = whole
    with monkeypatch.context() as patch:
        patch.setattr(download, "MOST", 2000)
        assert "it holds more than 2,000 bytes" in message()
    assert load(tmp_path, served["name"], raw="").rows["test"]

"""Census-Income from UCI's archive, and downloads that fail."""

import http.server
import io
import socket
import tarfile
import threading
import zipfile

import census_table
import pytest
from census_table import damaged, failure, load, raw_text, table

from dtn_jax.datasets import census_income
from dtn_jax.datasets.census_income import CensusIncome
from dtn_jax.datasets.preparation import catalog, download
from dtn_jax.errors import UserError

small_official = census_table.small_official
surroundings = census_table.surroundings
manual = census_table.manual
fingerprint = census_table.fingerprint

# --- the archive ---------------------------------------------------------------------------------


def archive(splits=("train", "test"), member="census.tar.gz", texts=()):
    """UCI's archive: a zip that holds a tar.gz that holds the raw pair, or other `texts`."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for split in splits:
            data = dict(texts).get(split, raw_text(table(split))).encode()
            entry = tarfile.TarInfo(f"./{census_income.RAW[split]}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as file:
        file.writestr("census-income.names", "| what it is")
        file.writestr(member, inner.getvalue())
    return outer.getvalue()


@pytest.fixture
def server(monkeypatch):
    """Serves `served["data"]` as the archive's address; answers 404 while there is none."""
    served = {"requests": 0}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served["requests"] += 1
            if "data" not in served:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", served.get("length", len(served["data"])))
            self.end_headers()
            self.wfile.write(served["data"])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        served["url"] = f"http://127.0.0.1:{listening.server_port}/census+income+kdd.zip"
        monkeypatch.setattr(CensusIncome, "url", served["url"])
        yield served
        listening.shutdown()
        thread.join()


def test_the_download_gives_the_same_as_parquet(manual, server, fingerprint, capsys):
    server["data"] = archive()
    assert load(manual).fingerprint == fingerprint
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert len(lines) == 4
    assert lines[1] == f"{manual}/census_income holds no raw files."
    assert lines[2] == f"Downloading {server['url']}"
    # Once is enough, also where the set itself is prepared anew.
    folder = manual.parent / "prepared"
    for path in sorted((folder / "census_income").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "census_income").rmdir()
    assert load(manual).fingerprint == fingerprint
    assert server["requests"] == 1


def test_the_download_needs_no_manual_folder(tmp_path, server, fingerprint, capsys):
    server["data"] = archive()
    data = catalog.load("census_income", data_dir=str(tmp_path))
    assert data.fingerprint == fingerprint
    assert f"\nDownloading {server['url']}\n" in capsys.readouterr().out


# --- failures of the download --------------------------------------------------------------------


def test_http_404(manual, server):
    message = failure(manual)
    assert f"{server['url']} cannot be downloaded" in message
    assert "404" in message
    assert "data.manual_dir" in message
    assert "census-income.data and census-income.test" in message


def test_nobody_listens(manual, monkeypatch):
    with socket.socket() as taken:  # bound, but never listened on
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x.zip"
        monkeypatch.setattr(CensusIncome, "url", url)
        message = failure(manual)
    assert f"{url} cannot be downloaded" in message
    assert "Without a connection, give data.manual_dir" in message


def test_the_connection_breaks_off(manual, server):
    whole = archive()
    server |= {"data": whole[: len(whole) // 2], "length": len(whole)}
    assert f"{server['url']} cannot be downloaded" in failure(manual)
    server["data"] = whole  # nothing broken is kept: the next try starts afresh
    assert load(manual).rows["test"] == 150


def test_a_download_that_is_another_is_not_kept(manual, server):
    """It unpacks, but is not the official table: once the same error came for ever."""
    other = raw_text(table("train")).replace("Never married", "Ever married", 1)
    server["data"] = archive(texts={"train": other})
    with pytest.raises(UserError, match="rows differ from the official split's") as caught:
        load(manual)
    assert f"It came from {server['url']}: that archive was discarded" in str(caught.value)
    server["data"] = archive()
    assert load(manual).rows["test"] == 150


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(manual, server, monkeypatch):
    monkeypatch.setattr(download, "MOST", 100_000)
    server["data"] = archive(texts={"train": "0" * 10_000_000})
    assert len(server["data"]) < 40_000
    with pytest.raises(UserError, match="it holds more than 100,000 bytes") as caught:
        load(manual)
    assert "it was discarded" in str(caught.value)
    assert not list((manual.parent / "prepared").rglob("*.unpacked"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>moved</html>", "cannot be unpacked .* not a zip file"),
        (archive(member="census.tar"), "cannot be unpacked .*census.tar.gz"),
        (damaged(archive()), "cannot be unpacked"),
        (archive()[:-3_000], "cannot be unpacked"),
        (archive(splits=["train"]), "lacks census-income.test"),
        (archive(splits=[]), "lacks census-income.data and census-income.test"),
    ],
    ids=["no zip", "no member", "damaged", "cut", "one file", "no file"],
)
def test_a_download_that_is_not_the_archive(manual, server, data, message):
    server["data"] = data
    with pytest.raises(UserError, match=message) as caught:
        load(manual)
    assert f"the archive from {server['url']} " in str(caught.value)
    assert "it was discarded, and the next run downloads it again" in str(caught.value)
    server["data"] = archive()
    assert load(manual).rows["test"] == 150

"""Census-Income from Parquet, from UCI's text and from a download: the same, or a clear error."""

import gzip
import hashlib
import http.server
import io
import os
import pathlib
import socket
import tarfile
import threading
import zipfile

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets import census_income
from dtn_jax.datasets.census_income import CensusIncome
from dtn_jax.datasets.preparation import catalog, download
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader

REAL = pathlib.Path(os.environ.get("DTN_MANUAL_DIR") or "/nowhere")
needs_real_data = pytest.mark.skipif(
    not (REAL / "census_income" / "train.parquet").exists(),
    reason="needs $DTN_MANUAL_DIR/census_income/train.parquet",
)
ROWS = {"train": 300, "test": 150}
COLUMNS = census_income.COLUMNS


# --- the real data -------------------------------------------------------------------------------


@needs_real_data
def test_the_official_splits(tmp_path):
    data = catalog.load("census_income", data_dir=str(tmp_path), manual_dir=str(REAL))
    assert data.rows == {"train": 179_571, "validation": 19_952, "test": 99_762}
    assert data.rows["train"] + data.rows["validation"] == 199_523
    assert len(data.schema.fields) == 39
    assert not {"income_50k", "marital_stat", "instance_weight"} & set(data.schema.field_names)
    assert data.schema.task_names == ("income", "never_married")
    assert data.schema.weight == "instance_weight"
    labels = {s: SplitReader(data, s).everything().labels for s in data.rows}
    train = labels["train"].sum(axis=0) + labels["validation"].sum(axis=0)
    assert train.tolist() == [12_382, 86_485]
    assert labels["test"].sum(axis=0).tolist() == [6_186, 43_143]


@needs_real_data
def test_duplicate_rows_are_kept():
    for split, rows, duplicates in (("train", 199_523, 3_229), ("test", 99_762, 883)):
        frame = pl.read_parquet(REAL / "census_income" / f"{split}.parquet")
        assert len(frame) == rows
        assert rows - len(frame.unique()) == duplicates


# --- a small table in its place ------------------------------------------------------------------


def table(split):
    """Rows as in `<split>.parquet`, except for their number."""
    rng = np.random.default_rng(list(ROWS).index(split))
    n = ROWS[split]
    columns = {}
    for name in COLUMNS:
        if name in (*census_income.NUMERIC, "det_ind_code", "year"):
            columns[name] = rng.integers(0, 50, n)
        elif name == "instance_weight":
            columns[name] = rng.integers(3_000, 900_000, n)  # in hundredths
        elif name == "income_50k":
            columns[name] = rng.choice(["- 50000.", "50000+."], n, p=[0.9, 0.1])
        elif name == "marital_stat":
            columns[name] = rng.choice(["Never married", "Divorced", "Widowed"], n)
        else:
            columns[name] = rng.choice(["?", f"{name} one", "Not in universe", "a & b (c)"], n)
    texts = [n for n, c in columns.items() if c.dtype.kind == "U"]
    return pl.DataFrame(columns).with_columns(pl.col(texts).cast(pl.Categorical))


def sha256(frame):
    digest = hashlib.sha256()
    names = [c for c in COLUMNS if c != "instance_weight"]
    for row in frame.select(names).iter_rows():
        digest.update((",".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()


def raw_text(frame):
    """As UCI writes it: no header, blanks around values, weights with two decimals."""
    lines = []
    for row in frame.iter_rows(named=True):
        row["instance_weight"] = f"{row['instance_weight'] / 100:8.2f}"
        lines.append(", ".join(f" {v}" if v == "?" else str(v) for v in row.values()))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def small_official():
    """The generated table's entries of OFFICIAL."""
    return {split: (rows, sha256(table(split))) for split, rows in ROWS.items()}


@pytest.fixture(autouse=True)
def surroundings(request, monkeypatch, small_official):
    """The generated table passes for the official one, except where the real one is read."""
    if not request.node.get_closest_marker("skipif"):
        monkeypatch.setattr(census_income, "OFFICIAL", small_official)
    # No test may reach the net, nor wait for it.
    monkeypatch.setattr(CensusIncome, "url", "http://127.0.0.1:9/nobody-listens.zip")
    monkeypatch.setattr(download, "RETRIES", 0)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv("DTN_MANUAL_DIR", raising=False)


@pytest.fixture
def manual(tmp_path):
    """A manual folder; its `census_income` is made, and empty."""
    (tmp_path / "manual" / "census_income").mkdir(parents=True)
    return tmp_path / "manual"


def write_parquet(manual):
    for split in ROWS:
        table(split).write_parquet(manual / "census_income" / f"{split}.parquet")


def write_text(manual, pack=lambda data: data, suffix=""):
    for split, name in census_income.RAW.items():
        data = pack(raw_text(table(split)).encode("latin-1"))
        (manual / "census_income" / f"{name}{suffix}").write_bytes(data)


def load(manual, data_dir=None, options=""):
    data_dir = data_dir or manual.parent / "prepared"
    return catalog.load("census_income", options, str(data_dir), str(manual))


def failure(manual):
    with pytest.raises(UserError) as caught:
        load(manual)
    assert not list((manual.parent / "prepared").rglob("prepared.json"))
    return str(caught.value)


@pytest.fixture(scope="module")
def fingerprint(tmp_path_factory, small_official):
    """That of the set prepared from Parquet."""
    manual = tmp_path_factory.mktemp("parquet") / "manual"
    (manual / "census_income").mkdir(parents=True)
    write_parquet(manual)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(census_income, "OFFICIAL", small_official)
        return load(manual).fingerprint


# --- the three sources ---------------------------------------------------------------------------


def test_from_parquet(manual):
    write_parquet(manual)
    data = load(manual)
    assert data.rows == {"train": 270, "validation": 30, "test": 150}
    assert len(data.schema.fields) == 39
    batch, raw = SplitReader(data, "test").everything(), table("test")
    np.testing.assert_array_equal(batch.labels[:, 0], raw["income_50k"] == "50000+.")
    np.testing.assert_array_equal(batch.labels[:, 1], raw["marital_stat"] == "Never married")
    np.testing.assert_array_equal(batch.sample_weight, raw["instance_weight"].to_numpy())
    # Unknown values take row 0, in columns of text.
    sex = batch.ids[:, data.schema.field_names.index("sex")]
    np.testing.assert_array_equal(sex == 0, raw["sex"] == "?")


def test_numbers_have_as_many_buckets_as_asked_for(manual):
    write_parquet(manual)
    usual, coarse = load(manual), load(manual, options="buckets=8")
    rows = {f.name: f.rows for f in coarse.schema.fields}
    for field in usual.schema.fields:  # up to 50 values each, which 64 buckets keep apart
        numeric = field.name in census_income.NUMERIC
        assert rows[field.name] == (1 + 8 if numeric else field.rows), field.name
        assert not numeric or field.rows > 40
    everything = [SplitReader(data, "test").everything() for data in (usual, coarse)]
    np.testing.assert_array_equal(everything[0].labels, everything[1].labels)


def test_one_bucket_is_refused(manual):
    with pytest.raises(UserError, match="buckets=1: expected a whole number"):
        load(manual, options="buckets=1")


def gzipped(data):
    return gzip.compress(data, mtime=0)


def windows(data):
    """Lines as Windows ends them, and blank ones among them."""
    return data.replace(b"\n", b"\r\n\r\n")


@pytest.mark.parametrize(
    ("pack", "suffix"), [(bytes, ""), (gzipped, ".gz"), (windows, "")], ids=["plain", "gz", "crlf"]
)
def test_text_gives_the_same_as_parquet(manual, fingerprint, pack, suffix):
    write_text(manual, pack, suffix)
    assert load(manual).fingerprint == fingerprint


def test_text_and_parquet_may_be_mixed(manual, fingerprint):
    write_text(manual)
    (manual / "census_income" / census_income.RAW["train"]).unlink()
    table("train").write_parquet(manual / "census_income" / "train.parquet")
    assert load(manual).fingerprint == fingerprint


def archive(splits=("train", "test"), member="census.tar.gz"):
    """UCI's archive: a zip that holds a tar.gz that holds the raw pair."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for split in splits:
            data = raw_text(table(split)).encode()
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


def damaged(data):
    middle = len(data) // 2
    return data[:middle] + bytes(64) + data[middle + 64 :]


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


# --- failures of the raw files -------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["train.parquet", "census-income.data", "census-income.data.gz"])
def test_one_of_the_pair_is_missing(manual, kept):
    (manual / "census_income" / kept).write_bytes(b"")
    message = failure(manual)
    assert f"{manual}/census_income lacks the test split: expected test.parquet" in message
    assert "census-income.test or census-income.test.gz" in message


def test_the_other_of_the_pair_is_missing(manual):
    write_text(manual)
    (manual / "census_income" / "census-income.data").unlink()
    assert "lacks the train split: expected train.parquet, census-income.data" in failure(manual)


@pytest.mark.parametrize("keep", [0, 5, -100])
def test_truncated_parquet(manual, keep):
    write_parquet(manual)
    path = manual / "census_income" / "test.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} is not a readable Parquet file" in failure(manual)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        damaged,
        lambda data: data[:10] + b"\xff" * 100,
        lambda data: b"not gzip",
        lambda data: data[:-4] + b"abcd",
    ],
    ids=["truncated", "damaged", "not deflated", "not gzip", "wrong length"],
)
def test_damaged_gz(manual, spoil):
    write_text(manual, gzipped, ".gz")
    path = manual / "census_income" / "census-income.data.gz"
    path.write_bytes(spoil(path.read_bytes()))
    assert f"{path} cannot be read: " in failure(manual)


@pytest.fixture
def train_text(manual):
    """The lines of the train file, and a function that writes them back."""
    write_text(manual)
    path = manual / "census_income" / "census-income.data"
    return path, path.read_text().split("\n"), lambda lines: path.write_text("\n".join(lines))


def test_a_line_of_41_values(manual, train_text):
    path, lines, write = train_text
    lines[16] = lines[16].rpartition(",")[0]
    write(lines)
    assert f"{path}, line 17: 41 values, expected 42" in failure(manual)


def test_lines_are_counted_as_an_editor_counts_them(manual, train_text):
    path, lines, write = train_text
    lines[16] += ", more"
    write(["", " ", *lines])
    assert f"{path}, line 19: 43 values, expected 42" in failure(manual)


def test_a_file_that_ends_within_a_line(manual, train_text):
    path, lines, write = train_text
    write([*lines[:200], lines[200][:40]])
    assert f"{path}, line 201: " in failure(manual)


@pytest.mark.parametrize(
    ("column", "value"),
    [("age", "forty"), ("capital_gains", ""), ("weeks_worked", "1.5"), ("instance_weight", "x")],
)
def test_a_value_that_is_no_number(manual, train_text, column, value):
    path, lines, write = train_text
    values = lines[99].split(",")
    values[COLUMNS.index(column)] = f" {value}"
    lines[99] = ",".join(values)
    write(["", *lines])
    message = failure(manual)
    assert f"{path}, line 101: column '{column}' is '{value}', expected a number" in message


def test_too_few_rows(manual, train_text):
    path, lines, write = train_text
    write(lines[:250])
    assert f"{path}: 250 rows, but the official split has 300" in failure(manual)


def test_a_changed_value(manual, train_text):
    path, lines, write = train_text
    lines[5] = lines[5].replace("Not in universe", "In the universe", 1)
    write(lines)
    message = failure(manual)
    assert f"{path}: the rows differ from the official split's (SHA-256 " in message
    assert census_income.OFFICIAL["train"][1][:12] in message


def test_rows_in_another_order(manual):
    write_parquet(manual)
    path = manual / "census_income" / "test.parquet"
    table("test").reverse().write_parquet(path)
    assert f"{path}: the rows differ" in failure(manual)


def test_swapped_splits(manual):
    write_parquet(manual)
    folder = manual / "census_income"
    (folder / "train.parquet").rename(folder / "x")
    (folder / "test.parquet").rename(folder / "train.parquet")
    (folder / "x").rename(folder / "test.parquet")
    assert f"{folder}/train.parquet: 150 rows, but the official split has 300" in failure(manual)


def test_a_missing_column(manual):
    write_parquet(manual)
    path = manual / "census_income" / "train.parquet"
    table("train").drop("sex").write_parquet(path)
    assert f"{path}: column 'sex' is missing; the columns are: age, " in failure(manual)


def test_columns_are_those_of_the_names_file():
    assert len(COLUMNS) == len(set(COLUMNS)) == 42
    assert set(census_income.NUMERIC) | set(census_income.LABELS) <= set(COLUMNS)

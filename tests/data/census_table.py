"""A small generated table in place of Census-Income, as Parquet and as UCI's text."""

import gzip
import hashlib

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets import census_income
from dtn_jax.datasets.census_income import CensusIncome
from dtn_jax.datasets.preparation import catalog, download
from dtn_jax.errors import UserError

ROWS = {"train": 300, "test": 150}
COLUMNS = census_income.COLUMNS


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


def gzipped(data):
    return gzip.compress(data, mtime=0)


def damaged(data):
    middle = len(data) // 2
    return data[:middle] + bytes(64) + data[middle + 64 :]

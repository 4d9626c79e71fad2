"""What must not go wrong in silence: files in, numbers and messages out.

Of a message only what it must name is checked: counts, files, columns. Equal rows are in
test_described_fields.py, what `--infer` says in test_infer_*.py.
"""

import json
import os
import re

import polars as pl
import pytest
from world import log

from dtn_jax.data.prepare import prepare
from dtn_jax.errors import UserError


class Shop:
    """A folder with raw files in `raw`, to be prepared by a schema file."""

    def __init__(self, folder, text):
        self.raw, self.data_dir = folder / "raw", folder / "data"
        self.raw.mkdir()
        self.schema = log.schema_file(folder, text)

    def prepare(self, **options):
        options = {"processes": 1, "max_reject_rate": 1.0} | options
        return prepare(self.schema, str(self.raw), self.data_dir, **options)


RANDOM = "split: {by: random, validation: 0.1, test: 0.2}\n"
SHOP = f"name: shop\nfields: [user, item]\ntasks: [click]\n{RANDOM}"


# --- a: a file that has changed -----------------------------------------------------------------


def test_labels_corrected_in_the_middle_of_a_file_are_noticed(tmp_path):
    """A file whose time differs is read whole."""
    shop, path = Shop(tmp_path, SHOP), tmp_path / "raw/a.csv"
    frame = log.rows(5000).select("user", "item", "click", text=pl.lit("x" * 90))
    middle = pl.int_range(5000).is_between(1000, 3999)
    corrected = frame.with_columns(click=pl.when(middle).then(1).otherwise("click"))
    frame.write_csv(path)
    size, before = path.stat().st_size, shop.prepare()
    os.utime(path, (2e9, 2e9))
    assert shop.prepare().fingerprint == before.fingerprint  # another time alone is no change
    corrected.write_csv(path)
    os.utime(path, (2e9 + 1, 2e9 + 1))
    assert path.stat().st_size == size
    with pytest.raises(UserError, match=re.escape(path.name)):
        shop.prepare()
    assert shop.prepare(replace=True).fingerprint != before.fingerprint


# --- b: a missing group -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "value"), [("parquet", float("nan")), ("parquet", ""), ("ndjson", "")]
)
def test_rows_without_a_group_are_bad(format, value, tmp_path):
    frame = log.rows(2000).select("user", "item", "click")
    users = frame["user"].cast(pl.String if isinstance(value, str) else pl.Float64)
    frame = frame.with_columns(users.set(frame["user"] % 3 == 0, value))
    shop = Shop(tmp_path, SHOP + "group: user\n")
    path = shop.raw / ("a.parquet" if format == "parquet" else "a.jsonl")
    getattr(frame, f"write_{format}")(path)
    whole = log.rows(2000).select("user", "item", "click")
    if format == "parquet":
        whole.write_parquet(shop.raw / "b.parquet")
    data, gone = shop.prepare(), (log.rows(2000)["user"] % 3 == 0).sum()
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
def test_times_far_from_the_rest_and_odd_ones_are_named(name, tmp_path, capsys):
    shop, (times, told) = Shop(tmp_path, SHOP.replace(RANDOM, "time: t\n")), TIMES[name]
    frame = log.rows(3000).select("user", "item", "click", t=T.dt.timestamp("ms"))
    frame.with_columns(t=times).write_parquet(shop.raw / "a.parquet")
    try:
        shop.prepare()
        shown = capsys.readouterr().out
    except UserError as error:
        shown = str(error)
    assert re.search(told, " ".join(shown.split()))


# --- d: files that are skipped ------------------------------------------------------------------


def test_files_that_are_skipped_are_named(tmp_path, capsys):
    """With the reason; what lies beside a log is not."""
    shop, frame = Shop(tmp_path, SHOP), log.rows(600).select("user", "item", "click")
    for place in range(6):
        name = f"part-{place}.csv{'.bz2' if place % 3 == 1 else ''}"
        frame[place * 100 : (place + 1) * 100].write_csv(shop.raw / name)
    (shop.raw / "_SUCCESS").write_text("")
    assert sum(shop.prepare().rows.values()) == 400
    shown = capsys.readouterr().out
    assert re.search(r"skipped 2 files .* no suffix .*part-1.csv.bz2, .*part-4.csv.bz2", shown)
    assert "_SUCCESS" not in shown

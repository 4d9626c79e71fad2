"""What must not go wrong in silence: files in, numbers and messages out.

Of a message only what it must name is checked: counts, files, columns. Equal rows are in
test_described_fields.py, what `--infer` says in test_infer_*.py.
"""

import json
import os
import re

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax.data.epochs.reader import SplitReader
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


# --- b: one value, one key ----------------------------------------------------------------------

LONG, HUGE, EXACT = 1234567890123456789, 2**63 + 5, 2**53 + 1
DECIMAL = pl.Decimal(20, 0)
TYPES = {  # {column: (its value, its type in each Parquet file in turn)}
    "few": (5, [pl.Int64, pl.Int8, pl.UInt64, pl.Float64, pl.Float32, DECIMAL, pl.String]),
    "exact": (EXACT, [pl.Int64, pl.UInt64, pl.String]),
    "exact_decimal": (EXACT, [pl.Int64, DECIMAL]),
    "long": (LONG, [pl.Int64, pl.UInt64, pl.String]),
    "below_zero": (-LONG, [pl.Int64, pl.String]),
    "huge": (HUGE, [pl.UInt64, pl.String]),
    "flag": (1, [pl.Boolean, pl.Int64, pl.Float64, pl.String]),
}
LINES = {  # {column: how each file of JSON lines in turn writes it}
    "few": [5, 5.0, "5"],
    "exact": [EXACT, str(EXACT)],
    "long": [LONG, str(LONG)],
    "huge": [HUGE, str(HUGE)],
    "flag": [True, 1, 1.0, "1"],
}


def below(value):
    """The whole number below it, written as it is."""
    return False if value is True else type(value)(int(value) - 1)


def write_parquet(raw):
    for number in range(7):
        columns = {"click": [0, 1]}
        for name, (value, types) in TYPES.items():
            whole = pl.Series([value - 1, value], dtype=pl.UInt64 if value > 2**63 else pl.Int64)
            columns[name] = whole.cast(types[number % len(types)])
        pl.concat([pl.DataFrame(columns)] * 40).write_parquet(raw / f"{number}.parquet")


def write_lines(raw):
    for number in range(4):
        row = {name: ways[number % len(ways)] for name, ways in LINES.items()}
        other = {name: below(value) for name, value in row.items()}
        lines = [json.dumps(other | {"click": 0}), json.dumps(row | {"click": 1})]
        (raw / f"{number}.jsonl").write_text("\n".join(lines * 40))


def write_csv(raw):
    """As pandas writes whole numbers beside a missing one."""
    for number, end in enumerate(("", ".0")):
        (raw / f"{number}.csv").write_text("few,click\n" + f"4{end},0\n5{end},1\n" * 40)


FORMATS = [(write_parquet, TYPES), (write_lines, LINES), (write_csv, ["few"])]


@pytest.mark.parametrize(("write", "columns"), FORMATS)
def test_files_of_several_types_have_one_key_for_one_value(write, columns, tmp_path):
    """As an id, hashed, and as a group."""
    fields = [
        f"{name}: , {name}_: {{column: {name}, encoder: hash, size: 1e6}}" for name in columns
    ]
    text = f"fields: {{{', '.join(fields)}}}\ntasks: [click]\ngroup: few\n{RANDOM}"
    shop = Shop(tmp_path, text if write is write_csv else text.replace("group: few", "group: long"))
    write(shop.raw)
    data = shop.prepare(max_reject_rate=0.0)
    batches = {split: SplitReader(data, split).everything() for split in data.rows}
    assert len({g for split in data.rows for g in data.groups(split).tolist()}) == 2
    for name in columns:
        keys = [set(), set()]
        for batch in batches.values():
            ids = [batch.ids[:, log.slots(data, f)][:, 0].tolist() for f in (name, f"{name}_")]
            for click, *pair in zip(batch.labels[:, 0], *ids):
                keys[int(click)].add(tuple(pair))
        without, with_click = keys
        assert len(without) == len(with_click) == 1, name
        assert without != with_click, name


# --- c: a missing group -------------------------------------------------------------------------


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


# --- e: times that are none ---------------------------------------------------------------------

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


@pytest.mark.parametrize(
    ("rows", "near"),
    [
        ({500: 100}, 365),  # half of the rows are of one day: a year is near
        ({460: 50, 500: 50}, 400),  # of 40 days: ten times as many are
    ],
)
def test_how_far_is_far(rows, near, tmp_path):
    text = f"{SHOP}time: {{column: t, unit: s}}\n"
    for day, far in ((500 + near, 0), (500 + near + 1, 1), (min(rows) - near - 1, 1)):
        days = pl.Series(np.repeat([*rows, day], [*rows.values(), 1]))
        frame = log.rows(len(days)).select("user", "item", "click", t=days * 86_400)
        made = log.prepared(tmp_path / str(day), frame, text)
        told = [line for line in made.notes.get("account", []) if "rows have times far" in line]
        assert [line.partition(" ")[0] for line in told] == ["1"] * far


# --- f: files that are skipped ------------------------------------------------------------------


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


# --- g: columns that begin late -----------------------------------------------------------------


def test_nobody_says_that_columns_which_begin_late_are_not_there(tmp_path, capsys):
    """In JSON lines, after line 2,200."""
    text = SHOP.replace("[user, item]", "{user: , item: , late: {optional: true}}")
    shop, rows = Shop(tmp_path, text), log.rows(3000).select("user", "item", "click").to_dicts()
    for number in range(2201, 3000, 3):
        rows[number]["late"] = f"x{number % 5}"
    (shop.raw / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert {f"x{n}" for n in range(5)} < set(log.values(shop.prepare(), "train", "late"))
    assert "no raw file" not in capsys.readouterr().out

"""What must not go wrong in silence: files in, numbers and messages out.

Of a message only what it must name is checked: counts, files, columns; `EQUAL` and `REASONS` hold
words of which it has one, and may get more.
"""

import bz2
import contextlib
import decimal
import functools
import io
import json
import os
import re

import made_models
import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax import export
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepare import prepare
from dtn_jax.data.prepared import read
from dtn_jax.data.stages.counts import far
from dtn_jax.errors import UserError
from dtn_jax.metrics.gauc import gauc
from experiments.prepare import main


class Shop:
    """A folder with raw files in `raw`, to be prepared by a schema file."""

    def __init__(self, folder, text):
        self.folder, self.raw, self.data_dir = folder, folder / "raw", folder / "data"
        self.raw.mkdir()
        self.schema = log.schema_file(folder, text)

    def prepare(self, **options):
        options = {"processes": 1, "max_reject_rate": 1.0} | options
        return prepare(self.schema, str(self.raw), self.data_dir, **options)

    def command(self, *more: str) -> list[str]:
        """The paragraphs that a command prints, and the error in which it ends."""
        given = [f"--input={self.raw}"]
        if "--infer" not in more:
            given += [f"--schema={self.schema}", f"--data_dir={self.data_dir}", "--processes=1"]
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            try:
                main([*more, *given])
            except UserError as error:
                print(f"\n\n{error}")
        parts = re.split(r"\n\s*\n", told.getvalue().replace(str(self.folder), ""))
        return [" ".join(part.split()) for part in parts]

    def infer(self) -> list[str]:
        self.draft = self.folder / "draft.yaml"
        return self.command("--infer", f"--out={self.draft}", "--labels=click")

    def bad_rows(self, data, column: str) -> int:
        """How many bad rows are kept with this column."""
        lines = (data.folder / "rejects.jsonl").read_text().splitlines()
        return sum(json.loads(line)["column"] == column for line in lines)


RANDOM = "split: {by: random, validation: 0.1, test: 0.2}\n"
SHOP = f"name: shop\nfields: [user, item]\ntasks: [click]\n{RANDOM}"


def counts(number: int) -> str:
    """A pattern of a number as messages write it."""
    return rf"(?<![\d.,]){number:,}(?![\d,]*\d)"


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
    assert positives(before) == frame["click"].sum()
    assert positives(shop.prepare(replace=True)) == corrected["click"].sum()


def positives(data) -> float:
    return sum(float(SplitReader(data, split).everything().labels.sum()) for split in data.rows)


# --- b: one value, one key ----------------------------------------------------------------------

LONG, HUGE, EXACT = 1234567890123456789, 2**63 + 5, 2**53 + 1
AS_TEXT, AS_BOOLEAN = '"{}"', "BOOLEAN"
DECIMAL = pl.Decimal(20, 0)
FILES = {  # {format: {column: (its value, how each file in turn writes it)}}
    "parquet": {
        "few": (5, [pl.Int64, pl.Int8, pl.UInt64, pl.Float64, pl.Float32, DECIMAL, pl.String]),
        "exact": (EXACT, [pl.Int64, pl.UInt64, pl.String]),
        "exact_decimal": (EXACT, [pl.Int64, DECIMAL]),
        "long": (LONG, [pl.Int64, pl.UInt64, pl.String]),
        "below_zero": (-LONG, [pl.Int64, pl.String]),
        "huge": (HUGE, [pl.UInt64, pl.String]),
        "flag": (1, [pl.Boolean, pl.Int64, pl.Float64, pl.String]),
    },
    "jsonl": {
        "few": (5, ["{}", "{}.0", AS_TEXT]),
        "exact": (EXACT, ["{}", AS_TEXT]),
        "long": (LONG, ["{}", AS_TEXT]),
        "huge": (HUGE, ["{}", AS_TEXT]),
        "flag": (1, [AS_BOOLEAN, "{}", "{}.0", AS_TEXT]),
    },
    "csv": {  # as pandas writes whole numbers beside a missing one
        "few": (5, ["{}", "{}.0"]),
    },
}


def item_file(path, format, number):
    """A file, the `number`th, with two rows again and again: with a click each column has its
    value, else the whole number below it."""
    frame = {}
    for name, (value, types) in FILES[format].items():
        values, how = (value - 1, value), types[number % len(types)]
        if format == "parquet":
            dtype = pl.UInt64 if value > 2**63 else pl.Int64
            frame[name] = pl.Series(values, dtype=dtype).cast(how)
        elif how == AS_BOOLEAN:
            frame[name] = ["false", "true"]
        else:
            frame[name] = [how.format(one) for one in values]
    frame = pl.concat([pl.DataFrame({**frame, "click": [0, 1]})] * 40)
    if format == "parquet":
        frame.write_parquet(path)
    elif format == "csv":
        frame.write_csv(path)
    else:
        rows = frame.iter_rows(named=True)
        lines = [", ".join(f'"{name}": {text}' for name, text in row.items()) for row in rows]
        path.write_text("".join(f"{{{line}}}\n" for line in lines))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """{format: the set of its files}."""

    @functools.cache
    def of(format):
        columns = FILES[format]
        fields = [
            f"{name}: , {name}_: {{column: {name}, encoder: hash, size: 1e6}}" for name in columns
        ]
        text = f"fields: {{{', '.join(fields)}}}\ntasks: [click]\ngroup: few\n{RANDOM}"
        shop = Shop(
            tmp_path_factory.mktemp(format), text.replace("few\n", "long\n", format != "csv")
        )
        for number in range(max(len(types) for _, types in columns.values())):
            item_file(shop.raw / f"{number}.{format}", format, number)
        return shop.prepare()

    return of


def keys(data, name):
    """[without a click, with one]: (id, hashed id) of a column."""
    found = [set(), set()]
    for split in data.rows:
        batch = SplitReader(data, split).everything()
        ids = [batch.ids[:, log.slots(data, field)][:, 0].tolist() for field in (name, f"{name}_")]
        for click, *pair in zip(batch.labels[:, 0], *ids):
            found[int(click)].add(tuple(pair))
    return found


@pytest.mark.parametrize("case", [f"{format} {name}" for format in FILES for name in FILES[format]])
def test_files_of_several_types_have_one_key_for_one_value(case, prepared):
    """In CSV a row may be bad, too."""
    format, _, name = case.partition(" ")
    data = prepared(format)
    assert sum(data.rows.values()) == data.notes["read"] or format == "csv"
    without, with_click = keys(data, name)
    assert len(without) == len(with_click) == 1
    assert without != with_click


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_files_of_several_types_have_one_group_for_one_user(format, prepared):
    data = prepared(format)
    assert len({group for split in data.rows for group in data.groups(split).tolist()}) == 2


TRAINED = {  # column: (its type in training, its value in a row to score)
    "few": (pl.Int64, 5),
    "exact": (pl.Int64, EXACT),
    "long": (pl.Int64, LONG),
    "long_text": (pl.String, LONG),
    "huge": (pl.UInt64, HUGE),
    "huge_text": (pl.String, HUGE),
    "flag": (pl.Boolean, 1),
    "one": (pl.Int64, 1),
}
MODEL = f"name: shop\nfields: [{', '.join(TRAINED)}]\ntasks: [click]\n{RANDOM}"
ASKED = [  # (column, the same value in another type)
    *(("few", value) for value in (5.0, "5", np.int8(5), np.float32(5), decimal.Decimal(5))),
    *(("exact", value) for value in (str(EXACT), np.int64(EXACT))),
    ("long", np.uint64(LONG)),
    ("flag", np.bool_(True)),
    ("one", 1.0),
    ("one", "1"),
    ("huge_text", HUGE),
    ("exact", decimal.Decimal(EXACT)),
    *(("long", value) for value in (str(LONG), decimal.Decimal(LONG))),
    *(("long_text", value) for value in (LONG, np.int64(LONG))),
    *(("huge", value) for value in (HUGE, str(HUGE))),
    *(("flag", value) for value in (1, 1.0, "1")),
    ("one", True),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(a model that nobody trained, a row of values that it knows, in the types of training)."""
    folder = tmp_path_factory.mktemp("model")
    columns = {
        name: pl.Series([value - 1, value] * 60, dtype=pl.UInt64 if value > 2**63 else pl.Int64)
        for name, (_, value) in TRAINED.items()
    }
    frame = pl.DataFrame({name: c.cast(TRAINED[name][0]) for name, c in columns.items()})
    frame = frame.with_columns(click=pl.int_range(120) // 2 % 2)
    data = prepare(log.schema_file(folder, MODEL), frame, folder / "data", processes=1)
    return export.load(made_models.log_model(data, folder / "m")), frame[1]


@pytest.mark.parametrize(("column", "value"), ASKED)
def test_a_row_scores_alike_whatever_the_type_of_a_value(column, value, model):
    loaded, known = model
    alone = known.with_columns(pl.lit(None).alias(name) for name in TRAINED if name != column)
    nothing = dict.fromkeys(TRAINED)
    expected, unknown = loaded.score(alone).rows(), loaded.score([nothing]).rows()
    assert expected != unknown
    assert loaded.score([nothing | {column: value}]).rows() == expected


# --- c: a missing group -------------------------------------------------------------------------

GROUPS = "name: shop\nfields: [rate]\ntasks: [click]\ngroup: user\n"
GROUPS += "split: {by: random, validation: 0.1, test: 0.5}\n"


@pytest.mark.parametrize(
    ("format", "value"), [("parquet", float("nan")), ("parquet", ""), ("jsonl", "")]
)
def test_rows_without_a_group_are_bad(format, value, tmp_path):
    """Clicks depend on the user's rate alone: within users, it ranks as chance does."""
    draw, rows = np.random.default_rng(0), 4000
    rates = np.linspace(0.05, 0.95, 50)
    user = draw.integers(0, 50, rows)
    click, gone = draw.random(rows) < rates[user], draw.random(rows) < 0.3
    users = pl.Series(user).cast(pl.String if isinstance(value, str) else pl.Float64)
    columns = {"user": users.set(pl.Series(gone), value), "rate": user, "click": click.astype(int)}
    shop = Shop(tmp_path, GROUPS)
    write = {"parquet": "write_parquet", "jsonl": "write_ndjson"}[format]
    getattr(pl.DataFrame(columns), write)(shop.raw / f"a.{format}")
    data = shop.prepare()
    assert sum(data.notes["rejected"].values()) == gone.sum() == rows - sum(data.rows.values())
    assert shop.bad_rows(data, "user") == min(gone.sum(), 1000)
    scores = np.array([float(rate) for rate in log.values(data, "test", "rate")])
    labels = SplitReader(data, "test").everything().labels[:, 0]
    assert gauc(scores, labels, data.groups("test")).value == 0.5


# --- d: equal rows ------------------------------------------------------------------------------

EQUAL = r"\b(twice|equal|identical|duplicat\w*|repeat\w*|same|cop(y|ies)|more than once)\b"
ROWS = 1000


@pytest.fixture(scope="module")
def flips(tmp_path_factory):
    """Coin flips, each row once or twice: {once or twice: (its shop, {command: what it says})}."""
    draw = np.random.default_rng(0)
    columns = {"user": draw.integers(0, 500, ROWS), "item": draw.integers(0, 300, ROWS)}
    columns |= {"price": draw.normal(size=ROWS).round(4), "click": draw.integers(0, 2, ROWS)}
    frame, found = pl.DataFrame(columns), {}
    for name, times in (("once", 1), ("twice", 2)):
        shop = Shop(tmp_path_factory.mktemp("flips"), SHOP.replace("item]", "item, price]"))
        pl.concat([frame] * times).write_csv(shop.raw / "a.csv")
        said = {"prepare": shop.command(), "infer": shop.infer()}
        found[name] = shop, said | {"describe": shop.command("--describe")}
    return found


@pytest.mark.parametrize("command", ["prepare", "infer", "describe"])
def test_equal_rows_in_several_splits_are_counted(command, flips):
    shop, said = flips["twice"]
    some = "|".join([r"[1-9][\d.]* ?%", *map(counts, equal_rows(shop))])

    def told(parts):
        return [p for p in parts if re.search(EQUAL, p, re.IGNORECASE) and re.search(some, p)]

    assert told(said[command])
    assert not told(flips["once"][1][command])


def equal_rows(shop) -> set[int]:
    """The numbers by which they may be counted: all, each but its first, rows of validation, of
    test or of both that train has too, pairs in two splits."""
    data = read(shop.data_dir / "logs/shop/1.0.0")
    splits = {split: SplitReader(data, split).everything() for split in data.rows}
    rows = {s: [ids.tobytes() for ids in batch.ids] for s, batch in splits.items()}
    train = set(rows["train"])
    apart = {s: sum(row in train for row in rows[s]) for s in ("validation", "test")}
    both, between = sum(apart.values()), len(set(rows["validation"]) & set(rows["test"]))
    return {2 * ROWS, ROWS, *apart.values(), both, both + between}


# --- e: times that are none ---------------------------------------------------------------------

TIMED = SHOP.replace(RANDOM, "time: t\n")
FAR = 287


@pytest.fixture
def timed(tmp_path):
    """A log with times in milliseconds, from an expression of them."""

    def make(expression):
        shop = Shop(tmp_path, TIMED)
        frame = log.rows(3000).select("user", "item", "click", t=pl.col("t").dt.timestamp("ms"))
        frame.with_columns(t=expression).write_parquet(shop.raw / "a.parquet")
        return shop

    return make


FAR_TIMES = {
    "seconds": pl.when(pl.int_range(3000) >= 3000 - FAR).then(pl.col("t") // 1000).otherwise("t"),
    "zeros": pl.when(pl.int_range(3000) % 10 == 3).then(0).otherwise("t"),
}


@pytest.mark.parametrize(("name", "count"), [("seconds", FAR), ("zeros", 300)])
def test_times_far_from_the_rest_are_counted_and_named(name, count, timed):
    said = timed(FAR_TIMES[name]).command()
    found = [part for part in said if re.search(counts(count), part)]
    assert any(re.search(r"1970|\bt\b", part) for part in found)


@pytest.mark.parametrize(
    ("rows", "near"),
    [
        ({500: 100}, 365),  # half of the rows are of one day: a year is near
        ({460: 50, 500: 50}, 400),  # of 40 days: ten times as many are
    ],
)
def test_how_far_is_far(rows, near):
    for day, told in ((500 + near, 0), (500 + near + 1, 1), (min(rows) - near - 1, 1)):
        counts = {str(day): n for day, n in (rows | {day: 1}).items()}
        assert [line.partition(" ")[0] for line in far("t", counts)] == ["1"] * told


@pytest.mark.parametrize("command", ["prepare", "infer"])
def test_hours_as_whole_numbers_are_asked_about(command, timed):
    """2026030112 is noon of March 1st: its value, or its form, is named with its column."""
    hours = pl.from_epoch("t", "ms").dt.to_string("%Y%m%d%H").cast(pl.Int64)
    shop = timed(hours)
    said = shop.infer() if command == "infer" else shop.command()
    found = [part for part in said if re.search(r"\b20260\d{5}\b|yyyymmddhh", part, re.IGNORECASE)]
    assert any(re.search(r"\bt\b", part) for part in found)


# --- f: files that are skipped ------------------------------------------------------------------

REASONS = r"bz2|bzip|compress|packed|suffix|format|ending|end in|extension|kind"


@pytest.mark.parametrize("command", ["prepare", "infer"])
def test_files_that_are_skipped_are_named(command, tmp_path):
    """A log's files are read, or named with the reason; what lies beside a log is not."""
    shop, frame = Shop(tmp_path, SHOP), log.rows(600).select("user", "item", "click")
    for place in range(6):
        data = frame[place * 100 : (place + 1) * 100].write_csv().encode()
        packed = place % 3 == 1
        path = shop.raw / f"part-{place}.csv{'.bz2' if packed else ''}"
        path.write_bytes(bz2.compress(data) if packed else data)
    (shop.raw / "_SUCCESS").write_text("")
    said = shop.infer() if command == "infer" else shop.command()
    if f"all {600} rows" in " ".join(said) or rows_of(shop) == 600:
        return  # they are read
    told = " ".join(part for part in said if "part-1.csv.bz2" in part)
    assert re.search(REASONS, re.sub(r"\S*\.csv\.bz2", "", told))
    assert "_SUCCESS" not in " ".join(said)


def rows_of(shop) -> int:
    """Of its prepared set, if it has one."""
    folder = shop.data_dir / "logs/shop/1.0.0"
    return sum(read(folder).rows.values()) if folder.exists() else 0


# --- g: columns that begin late -----------------------------------------------------------------

LATE = ("late_a", "late_b", "late_c")


@pytest.fixture
def late(tmp_path):
    """JSON lines whose last three columns begin after line 2,000."""
    shop, rows = Shop(tmp_path, SHOP), log.rows(3000).select("user", "item", "click").to_dicts()
    for number, row in enumerate(rows):
        if number > 2200 and number % 3 == 0:
            row |= {"late_a": number % 7, "late_b": f"x{number % 5}", "late_c": number / 2}
    (shop.raw / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return shop


def test_columns_that_begin_late_are_listed(late):
    said = " ".join(late.infer())
    missing = [name for name in LATE if name not in said + late.draft.read_text()]
    assert not missing or f"all {3000:,} rows" not in said


def test_nobody_says_that_columns_which_begin_late_are_not_there(late):
    fields = ", ".join(f"{name}: {{optional: true}}" for name in LATE)
    log.schema_file(late.folder, SHOP.replace("[user, item]", f"{{user: , item: , {fields}}}"))
    said = " ".join(late.command())
    data = read(late.data_dir / "logs/shop/1.0.0")
    assert {f"x{n}" for n in range(5)} < set(log.values(data, "train", "late_b"))
    assert not re.search(r"no raw file", said)

"""A log is one log, whatever way it comes, and so is a row: files of four formats and tables of
three libraries give the same blocks; a row to score gets the ids and numbers that training read.

A model's scores are what its program is given, bit for bit (`made_models.mirror_model`), so
nothing inside is looked at: rows and files go in, scores come out.
"""

import csv
import datetime
import gzip
import itertools
import json

import made_models
import numpy as np
import polars as pl
import pytest
from served import serving_model
from world import log

from dtn_jax import export
from dtn_jax.cli import score
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepare import prepare
from dtn_jax.data.raw import json_lines, lines
from dtn_jax.data.sets import adult, catalog
from dtn_jax.errors import UserError
from dtn_jax.export.serve.requests import Limits

EXACT = 2**53 + 1  # which no float holds
LISTS = ("seen", "embedding", "viewed", "action")
MORE = """
  big:
  huge:
  code:
  flag:
  on: {value: flag == 'True'}
  first: {value: item == 1}
  often: {kind: numeric, value: flag * 2}
tasks:
"""
WHOLE = log.SCHEMA.replace("\ntasks:\n", MORE)
FLAT = log.without(*LISTS, text=WHOLE)
ROWS = 700
ZONE = datetime.timezone(datetime.timedelta(hours=2))


def frame():
    """The log with missing values of every kind, and with numbers that writers write otherwise;
    test has ids that train does not show."""
    rows = log.rows(ROWS)
    number = pl.int_range(ROWS)
    test = pl.col("t").dt.day() == log.DAYS

    def gone(step, at, value=None):
        return pl.when(number % step == at).then(value)

    huge = [1e16, 2.0**60, 1e20, 3e300, 1e-7, 5.0, 0.1, 2.0**53, -1e17]
    return rows.with_columns(
        item=gone(23, 7).when(test & (number % 9 == 0)).then(777).otherwise("item"),
        query=gone(11, 3).when(test & (number % 11 == 4)).then(pl.lit("never")).otherwise("query"),
        price=gone(7, 2).when(number % 7 == 3).then(float("nan")).otherwise("price"),
        speed=gone(8, 2).when(number % 8 == 3).then(float("nan")).otherwise("speed"),
        seen=gone(13, 5).otherwise("seen"),
        seen_weights=gone(13, 5).otherwise("seen_weights"),
        viewed=gone(17, 5).otherwise("viewed"),
        viewed_action=gone(17, 5).otherwise("viewed_action"),
        big=EXACT - pl.col("user") % 3,
        huge=gone(9, 4).otherwise(pl.lit(pl.Series(huge)).gather(number % len(huge))),
        code=gone(5, 1).otherwise(pl.col("user") % 4),
        flag=gone(19, 6).otherwise(number % 3 == 1),
    )


# --- how values are written -------------------------------------------------------------------


def as_text(value):
    if isinstance(value, list):
        return list(map(as_text, value))
    return None if value is None or value != value else str(value)


def as_float(value):
    if isinstance(value, list):
        return list(map(as_float, value))
    return float(value) if type(value) is int and value < EXACT // 2 else value


def timed(row, write):
    """With its time, if it has one, as `write` writes it."""
    times = {name: write(v) for name, v in row.items() if isinstance(v, datetime.datetime)}
    return row | times


def local(row):
    """As they are; a time with its zone."""
    return timed(row, lambda t: t.replace(tzinfo=datetime.UTC).astimezone(ZONE).isoformat())


def utc(row):
    """As they are; a time as 2026-03-10T12:30:00Z."""
    return timed(row, lambda t: f"{t.isoformat()}Z")


def plain(row):
    """As they are; a time as 2026-03-10 12:30:00."""
    return timed(row, lambda t: t.isoformat(" "))


def texts(row):
    """Every number and truth as text."""
    return {name: as_text(value) for name, value in utc(row).items()}


def floats(row):
    """Whole numbers as floats, as pandas has them beside a missing one."""
    return {name: as_float(value) for name, value in local(row).items()}


WRITINGS = {"plain": [plain], "texts": [texts], "floats": [floats], "mixed": [plain, texts, floats]}


# --- how logs come ----------------------------------------------------------------------------


def write_csv(rows, folder):
    """As pandas has it: True, 5.0 beside a missing number, 1e+16."""
    flat = [name for name, kind in rows.schema.items() if kind != pl.List]
    table = rows.select(flat).with_columns(pl.format("{}Z", pl.col("t").cast(pl.Datetime("ms"))))
    for name in table.columns:
        if table[name].dtype.is_integer() and table[name].null_count():
            table = table.with_columns(pl.col(name).cast(pl.Float64))
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        for row in table.iter_rows():
            writer.writerow("" if value is None or value != value else value for value in row)


def write_tsv(rows, folder):
    """The same packed, after a byte order mark; both have the ends of lines of Windows."""
    write_csv(rows, folder)
    text = (folder / "log.csv").read_bytes().replace(b",", b"\t")
    (folder / "log.tsv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text))
    (folder / "log.csv").unlink()


def write_lines(rows, folder):
    every = map(local, rows.to_dicts())
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row, default=str)}\n" for row in every))


def write_texts(rows, folder):
    """The values of some late rows as texts, so that all columns are of text."""
    every = list(map(utc, rows.to_dicts()))
    every[ROWS // 2 :: 3] = map(texts, every[ROWS // 2 :: 3])
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in every))


def milliseconds(rows):
    return rows.with_columns(pl.col("t").cast(pl.Datetime("ms", "UTC")))


def encoded(rows):
    """An Arrow table with dictionaries."""
    table = rows.to_arrow()
    place = table.schema.get_field_index("query")
    return table.set_column(place, "query", table["query"].dictionary_encode())


FILES = {
    "Parquet": lambda rows, folder: rows.write_parquet(folder / "log.parquet"),
    "Arrow": lambda rows, folder: milliseconds(rows).write_ipc(folder / "log.arrow"),
    "CSV": write_csv,
    "TSV": write_tsv,
    "JSON lines": write_lines,
    "JSON lines of texts": write_texts,
}
TABLES = {
    "Polars": lambda rows: rows,
    "pandas": lambda rows: rows.to_pandas(),
    "an Arrow table": encoded,
}


def given(way, rows, folder):
    """The log as `prepare` takes it."""
    if way in TABLES:
        return TABLES[way](rows)
    (folder / "raw").mkdir(parents=True)
    FILES[way](rows, folder / "raw")
    return str(folder / "raw")


def blocks(data):
    """{(split, what): array}: ids of each field, weights, numbers, labels."""
    found = {}
    for split in log.SPLITS:
        rows = SplitReader(data, split).everything()
        for name in dict.fromkeys(field.name for field in data.schema.slot_fields()):
            found[split, name] = np.asarray(rows.ids)[:, log.slots(data, name)]
        found[split, "numbers"] = np.asarray(rows.numeric)
        found[split, "labels"] = np.asarray(rows.labels)
        found[split, "weight"] = np.asarray(rows.sample_weight)
    return found


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """{schema file: the set of the log in a Parquet file}."""
    folder = tmp_path_factory.mktemp("parquet")
    sets = {text: folder / str(n) for n, text in enumerate((WHOLE, FLAT))}
    return {text: prepared("Parquet", frame(), at, text) for text, at in sets.items()}


def prepared(way, rows, folder, text=WHOLE, **options):
    options = {"processes": 1, "max_reject_rate": 0.0} | options
    schema = log.schema_file(folder, text)
    return prepare(schema, given(way, rows, folder), folder / "data", **options)


SLOW = ("Arrow", "Polars", "pandas")  # next to Parquet's way
WAYS = [
    pytest.param(way, marks=pytest.mark.slow if way in SLOW else ())
    for way in (*FILES, *TABLES)
    if way != "Parquet"
]


@pytest.mark.parametrize("way", WAYS)
def test_the_blocks_are_those_of_parquet(way, parquet, tmp_path):
    """CSV has no lists."""
    text = FLAT if way in ("CSV", "TSV") else WHOLE
    expected, found = blocks(parquet[text]), blocks(prepared(way, frame(), tmp_path, text))
    assert len(found) > 40
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], str(name))
    known = {name: (found["train", name] > 0).mean() for name in ("huge", "code", "big", "on")}
    assert min(known.values()) > 0.7, known


def test_chunks_of_json_lines_may_differ_in_types(parquet, tmp_path, monkeypatch):
    """The first lines say little, and chunks are small."""
    monkeypatch.setattr(json_lines, "HEAD_LINES", 2)
    monkeypatch.setattr(lines, "BLOCK", 40_000)
    found = blocks(prepared("JSON lines of texts", frame(), tmp_path))
    expected = blocks(parquet[WHOLE])
    for name, array in found.items():
        if name[1] != "numbers":  # sums of floats depend on chunks
            np.testing.assert_array_equal(array, expected[name], str(name))


# --- a value is one value ------------------------------------------------------------------------

SMALL = """
name: shop
fields:
  id:
  flag:
  hour: {value: hour(t)}
tasks: [click]
time: t
split: {by: random, test: 0.2}
"""


def small(ids, **more):
    """400 rows with ids that come again and again."""
    number = pl.int_range(400)
    columns = {"id": pl.lit(pl.Series(ids, strict=False)).gather(number % len(ids))}
    columns |= {"flag": number % 3 == 1, "click": number % 2}
    columns |= {"t": pl.lit(datetime.date(2026, 3, 5)) + pl.duration(days=number % 9)}
    return pl.select(number).with_columns(**columns | more).drop("literal", strict=False)


def model(data, folder):
    """A model whose scores are the ids and numbers that its program is given."""
    return export.load(made_models.mirror_model(data, folder))


ONE = [  # ways to write one value
    [1e16, 10**16, "1e16", "1e+16", "1E16", "10000000000000000.0"],
    [3e300, "3e+300", "3e300"],
    [2.0**60, 2**60, str(2**60)],
    [1e-7, "1e-07", "1e-7"],
    [5, 5.0, "5", "5.0"],
]


def test_a_number_is_one_id_however_it_is_written(tmp_path):
    rows = small([f"{one[0]}" for one in ONE] + ["1e5", "100000", "x"])
    loaded = model(prepared("JSON lines", rows, tmp_path, SMALL), tmp_path / "model")
    row = {"flag": True, "t": "2026-03-05T00:00:00Z"}

    def score(values):
        return loaded.score([row | {"id": value} for value in values]).to_numpy()[:, 0]

    seen = [set(score(one).tolist()) for one in ONE]
    assert all(len(ids) == 1 for ids in seen), seen
    apart = set(score(["1e5", "100000", "x"]).tolist())
    assert len(set.union(apart, *seen) - {0}) == len(ONE) + 3


@pytest.mark.parametrize("value", [datetime.datetime(2026, 3, 5, 12), "2026-03-05T12:30:00Z"])
def test_a_time_loses_no_hour_where_training_had_dates(value, tmp_path):
    loaded = model(prepared("Polars", small(["a"]), tmp_path, SMALL), tmp_path / "model")
    row = {"id": "a", "flag": True, "t": datetime.date(2026, 3, 5)}
    midnight = [datetime.datetime(2026, 3, 5), "2026-03-05", "2026-03-05 00:00:00"]
    assert len(loaded.score([row | {"t": time} for time in midnight])) == 3
    for rows in ([row | {"t": value}], pl.DataFrame([row | {"t": value}])):
        with pytest.raises(UserError, match=r"row 1.*'t'.*a date without an hour"):
            loaded.score(rows)
    for number in (1_772_000_000, 1.5, True):
        with pytest.raises(UserError, match=r"row 1, column 't': .* such as 2026-03-"):
            loaded.score([row | {"t": number}])


# --- a row to score ---------------------------------------------------------------------------

SCORED = 42  # rows of test


def shop(parquet, prepared_dir):
    """(the set, the rows of test with the lists that prepare made)."""
    data, test = parquet[WHOLE], log.split_frames(frame())["test"]
    for name in ("clicked", "ago"):
        lists = pl.Series(name, log.values(data, "test", name), dtype=pl.List(pl.String))
        test = test.with_columns(lists.cast(pl.List(pl.Int64)))
    return data, test


def people(parquet, prepared_dir):
    """The same of adult."""
    data = catalog.load("adult", data_dir=prepared_dir)
    return data, adult.read()[: data.rows["test"]].select(data.schema.field_names)


SETS = {"shop": shop, "adult": people}


@pytest.fixture(scope="module", params=SETS)
def world(request, parquet, prepared_dir, tmp_path_factory):
    """(some of test's raw rows, what training reads of them, a model)."""
    data, rows = SETS[request.param](parquet, prepared_dir)
    stored = SplitReader(data, "test").everything()
    arrays = [np.asarray(a) for a in (stored.ids, stored.weights, stored.numeric)]
    expected = np.concatenate(arrays, axis=1, dtype=np.float64)
    folder = tmp_path_factory.mktemp("way") / "model"
    return rows[:SCORED], expected[:SCORED], made_models.mirror_model(data, folder)


FORMS = ("dicts", "dict", "HTTP", "candidate", "JSON lines", "Parquet")
ALONE = ("dict", "candidate")  # a call for each row


@pytest.fixture(scope="module")
def ways(world, tmp_path_factory):
    """{way: (rows) -> scores, `[B, L + W + N]`}."""
    folder = world[2]
    loaded, place = export.load(folder), tmp_path_factory.mktemp("files")
    numbers = itertools.count()

    def file(suffix, write):
        def scores(rows):
            path = place / f"{next(numbers)}.{suffix}"
            write(rows, path)
            output = path.with_suffix(".scores.parquet")
            score.main([f"--model={folder}", f"--input={path}", f"--output={output}"])
            return pl.read_parquet(output).select(loaded.outputs).to_numpy()

        return scores

    def parquet(rows, path):
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)

    def json_file(rows, path):
        path.write_text("".join(f"{json.dumps(row)}\n" for row in without_nan(rows)))

    def dicts(rows):
        return loaded.score(rows).to_numpy()

    def http(body):
        answer = served.score(body)
        assert answer.status_code == 200, answer.text
        return np.stack(list(answer.json()["scores"].values()), axis=1)

    def candidate(row):
        """A row alone, half of its columns the user's."""
        names = list(row)[::2]
        user = {name: row[name] for name in names}
        candidate = {name: value for name, value in row.items() if name not in names}
        return http({"user": user, "candidates": [candidate]})

    with serving_model(folder, Limits()) as served:
        yield {
            "dicts": dicts,
            "dict": lambda rows: np.concatenate([dicts([row]) for row in rows]),
            "HTTP": lambda rows: http({"rows": without_nan(rows)}),
            "candidate": lambda rows: np.concatenate(list(map(candidate, without_nan(rows)))),
            "JSON lines": file("jsonl", json_file),
            "Parquet": file("parquet", parquet),
        }


def without_nan(rows):
    """As JSON has it: null."""
    return [{n: None if v != v else v for n, v in row.items()} for row in rows]


CASES = [(way, writing) for way in FORMS for writing in WRITINGS]
CASES.remove(("Parquet", "mixed"))  # a column has one type


@pytest.mark.parametrize(("way", "writing"), CASES)
def test_a_row_gets_the_ids_of_training(way, writing, world, ways):
    raw, expected, _ = world
    write, step = WRITINGS[writing], 3 if way in ALONE else 1
    rows = [write[n % len(write)](row) for n, row in enumerate(raw.to_dicts())]
    np.testing.assert_array_equal(ways[way](rows[::step]), expected[::step])

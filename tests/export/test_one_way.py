"""A row has one way: however it comes, the program gets the ids and numbers that training read.

The model's scores are what its program is given, bit for bit (`made_models.mirror_model`), so
nothing inside is looked at: rows and files go in, scores come out.
"""

import datetime
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
from dtn_jax.data.sets import adult, catalog
from dtn_jax.export.serve.requests import Limits

EXACT = 2**53 + 1  # which no float holds
TEXT = log.SCHEMA.replace("tasks:\n", "  big:\n  first: {value: item == 1}\n  code:\ntasks:\n")
MADE = ("clicked", "ago")  # lists that prepare makes, and a row to score brings
ROWS = 42  # of test that are scored


def frame():
    """The log with missing values of every kind; test has ids that train does not show."""
    rows = log.rows()
    number = pl.int_range(len(rows))
    test = pl.col("t").dt.day() == log.DAYS

    def gone(step, at, value=None):
        return pl.when(number % step == at).then(value)

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
        code=gone(5, 1).otherwise(pl.col("user") % 4),
    )


def shop(folder, prepared_dir):
    """(the set, the rows of test with the lists that prepare made)."""
    rows = frame()
    data, test = log.prepared(folder, rows, TEXT), log.split_frames(rows)["test"]
    for name in MADE:
        lists = pl.Series(name, log.values(data, "test", name), dtype=pl.List(pl.String))
        test = test.with_columns(lists.cast(pl.List(pl.Int64)))
    return data, test


def people(folder, prepared_dir):
    """The same of adult."""
    data = catalog.load("adult", data_dir=prepared_dir)
    return data, adult.read()[: data.rows["test"]].select(data.schema.field_names)


SETS = {"shop": shop, "adult": people}


@pytest.fixture(scope="module", params=SETS)
def world(request, prepared_dir, tmp_path_factory):
    """(some of test's raw rows, what training reads of them, a model)."""
    folder = tmp_path_factory.mktemp("way")
    data, rows = SETS[request.param](folder, prepared_dir)
    stored = SplitReader(data, "test").everything()
    arrays = [np.asarray(a) for a in (stored.ids, stored.weights, stored.numeric)]
    expected = np.concatenate(arrays, axis=1, dtype=np.float64)
    return rows[:ROWS], expected[:ROWS], made_models.mirror_model(data, folder / "model")


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


def plain(row):
    """As they are; a time as 2026-03-10 12:30:00."""
    return timed(row, lambda time: time.isoformat(" "))


def texts(row):
    """Every number as text; a time as 2026-03-10T12:30:00Z."""
    return {n: as_text(v) for n, v in timed(row, lambda t: f"{t.isoformat()}Z").items()}


def floats(row):
    """Whole numbers as floats, as pandas has them beside a missing one; a time with its zone."""
    zone = datetime.timezone(datetime.timedelta(hours=2))

    def local(time):
        return time.replace(tzinfo=datetime.UTC).astimezone(zone).isoformat()

    return {name: as_float(value) for name, value in timed(row, local).items()}


WRITINGS = {"plain": [plain], "texts": [texts], "floats": [floats], "mixed": [plain, texts, floats]}


WAYS = ("dicts", "dict", "HTTP", "candidate", "JSON lines", "Parquet")
ALONE = ("dict", "candidate")  # a call for each row


# --- how rows come ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ways(world, tmp_path_factory):
    """{way: (rows) -> scores, `[B, L + W + N]`}."""
    folder = world[2]
    loaded, place, numbers = (
        export.load(folder),
        tmp_path_factory.mktemp("files"),
        itertools.count(),
    )

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

    def lines(rows, path):
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
            "JSON lines": file("jsonl", lines),
            "Parquet": file("parquet", parquet),
        }


def without_nan(rows):
    """As JSON has it: null."""
    return [{n: None if v != v else v for n, v in row.items()} for row in rows]


CASES = [(way, writing) for way in WAYS for writing in WRITINGS]
CASES.remove(("Parquet", "mixed"))  # a column has one type


@pytest.mark.parametrize(("way", "writing"), CASES)
def test_a_row_gets_the_ids_of_training(way, writing, world, ways):
    raw, expected, _ = world
    write, step = WRITINGS[writing], 3 if way in ALONE else 1
    rows = [write[n % len(write)](row) for n, row in enumerate(raw.to_dicts())]
    np.testing.assert_array_equal(ways[way](rows[::step]), expected[::step])

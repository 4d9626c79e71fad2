"""What is wrong in the raw files of public sets: each a message with file and line; and what is
not there, with where to get it."""

import io
import re

import polars as pl
import pytest
import twins
from public_sets import load

from dtn_jax.data.sets.census_income import COLUMNS
from dtn_jax.errors import UserError

FRAME = twins.kuairand().drop("time_ms")


def kuairand(folder, kind="csv"):
    folder.mkdir(parents=True)
    for name, frame in (("a", FRAME[:300]), ("b", FRAME[300:])):
        getattr(frame, f"write_{kind}")(folder / f"log_standard_{name}.{kind}")


WRITE = {  # {set, with its options: writes its raw files}
    "movielens version=1m": lambda to: twins.movielens(to, "1m"),
    "movielens version=25m": lambda to: twins.movielens(to, "25m"),
    "census_income": twins.census_income,
    "census_income tasks=seven": lambda to: twins.census_income(to, "parquet"),
    "kuairand": kuairand,
    "kuairand min_count=1": lambda to: kuairand(to, "parquet"),
    "aliexpress": twins.aliexpress,
}


def rows(change):
    """Other lines."""
    return lambda data: "\n".join(change(data.decode("latin-1").split("\n"))).encode("latin-1")


def line(number, change):
    return rows(lambda rows: [*rows[: number - 1], change(rows[number - 1]), *rows[number:]])


def more(*added):
    return rows(lambda rows: [*rows[:-1], *added, ""])


def cell(number, place, text, separator=","):
    """Another value in a line."""

    def change(line):
        values = line.split(separator)
        return separator.join([*values[:place], text, *values[place + 1 :]])

    return line(number, change)


def table(change):
    """Another frame in a Parquet file."""

    def changed(data):
        out = io.BytesIO()
        change(pl.read_parquet(data)).write_parquet(out)
        return out.getvalue()

    return changed


def one(column, value):
    """A value in the second row of a Parquet file."""
    put = pl.when(pl.int_range(pl.len()) == 1).then(value).otherwise(column)
    return table(lambda frame: frame.with_columns(put.alias(column)))


PLACES = {name: place for place, name in enumerate(COLUMNS)}
LOG = {name: place for place, name in enumerate(FRAME.columns)}
CENSUS, B, PARQUET = "census-income.data", "log_standard_b.csv", "log_standard_b.parquet"
DAMAGE = {  # {set: [(file, what becomes of its bytes, the message, where FILE is the path)]}
    "movielens version=1m": [
        ("ratings.dat", line(3, lambda _: "1::2::3"), "FILE cannot be read: .* Line: 3 "),
        ("ratings.dat", cell(8, 2, "x", "::"), 'FILE cannot be read: .*"x"'),
        ("users.dat", rows(lambda _: []), "FILE holds no rows"),
    ],
    "movielens version=25m": [
        ("movies.csv", line(4, lambda _: '9,"a'), "FILE cannot be read: .* Line: 4 "),
        ("ratings.csv", more("1,3,0,9"), "label of 'rating' outside its"),
    ],
    "census_income": [
        (CENSUS, line(17, lambda row: row + ", more"), "FILE cannot be read: "),
        (CENSUS, cell(9, PLACES["age"], "forty"), "FILE cannot be read: .*forty"),
        (CENSUS, cell(9, PLACES["sex"], " Mail"), "FILE: the rows differ from the o"),
        ("census-income.test", rows(lambda rows: rows[:1]), "FILE: 1 rows, but .* 150"),
    ],
    "census_income tasks=seven": [
        ("train.parquet", lambda data: data[:-100], "FILE cannot be read: "),
        ("train.parquet", table(lambda f: f.drop("sex")), "FILE cannot be read: .*sex"),
    ],
    "kuairand": [
        (B, line(8, lambda row: row.rpartition(",")[0]), "FILE cannot be read: .* Line: 8 "),
        (B, cell(3, LOG["user_id"], "u7"), 'FILE cannot be read: .*"u7"'),
        (B, cell(3, LOG["is_click"], "2"), "label of 'click' outside its range"),
    ],
    "kuairand min_count=1": [
        (PARQUET, one("is_follow", -1), "label of 'follow' outside its range"),
        (PARQUET, table(lambda frame: frame.drop("is_follow")), "FILE cannot be read: .*is_follow"),
        (PARQUET, table(lambda f: f.filter(pl.col("date") < 20220420)), "the test split is empty"),
    ],
}
CASES = [(name, *case) for name, cases in DAMAGE.items() for case in cases]


def written(folder, given):
    """The set's name, its options and the raw files of its twin."""
    name, _, options = given.partition(" ")
    raw = folder / "raw" / name
    WRITE[given](raw)
    return name, options, {path.name: path for path in raw.rglob("*.*") if path.is_file()}


@pytest.mark.parametrize(("given", "file", "change", "message"), CASES)
def test_damage(given, file, change, message, tmp_path):
    name, options, files = written(tmp_path, given)
    path = files[file.removesuffix(".gz")]
    data = path.read_bytes()
    path.unlink()
    path = path.with_name(file)
    path.write_bytes(change(data))
    with pytest.raises(UserError) as told:
        load(tmp_path, name, options)
    assert re.search(message.replace("FILE", re.escape(str(path))), str(told.value))
    assert not list((tmp_path / "data").rglob("prepared.json"))


MISSING = [  # (set, its options, whose files are there; which is not; the message)
    ("aliexpress", "", "", "aliexpress needs .*tianchi.*AliExpress_NL/train.csv and .*/test.csv"),
    ("aliexpress", "aliexpress", "test.csv", r"lacks AliExpress_NL/test.csv\. Get the set from h"),
    ("movielens", "movielens version=1m", "users.dat", r"lacks ml-1m/users\.dat\. .* https://g"),
    ("census_income", "census_income", "census-income.test", r"lacks census-income\.test\. "),
    ("kuairand_histories", "", "", "kuairand needs its raw files. Get the set from https://kuai"),
    ("ali_ccp", "", "", "needs its raw files. Get the set from https://tianchi"),
    ("kuairand_histories", "kuairand min_count=1", "", "'time_ms'"),
]


@pytest.mark.parametrize(("name", "given", "file", "message"), MISSING)
def test_what_is_not_there_is_told_with_the_address(name, given, file, message, tmp_path):
    if given:
        files = written(tmp_path, given)[2]
        if file:
            files[file].unlink()
    with pytest.raises(UserError, match=message):
        load(tmp_path, name, raw="raw" if given else "")


def test_a_folder_without_files_is_told(tmp_path):
    for name, message in (
        ("kuairand", r"lacks log_standard\*\.csv. Get the set from .* as Parquet files"),
        ("ali_ccp", r"lacks sample_skeleton_train\.csv and .*Get the set from https://tianchi"),
    ):
        (tmp_path / "raw" / name).mkdir(parents=True)
        with pytest.raises(UserError, match=rf"/{name} {message}"):
            load(tmp_path, name)

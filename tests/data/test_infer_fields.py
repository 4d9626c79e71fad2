"""What is guessed of columns of single values and of lists; the sample that it is guessed from."""

import datetime
import json

import numpy as np
import polars as pl
import pytest
import sampled
from sampled import ROWS, field

from dtn_jax.data import prepare as logs
from dtn_jax.data.infer import infer, sample
from dtn_jax.data.raw import files as raw_files
from dtn_jax.data.schemas.spec import InputSpec

DRAW = sampled.draw()
MANY = DRAW.integers(0, 1000, ROWS)
START = datetime.datetime(2026, 3, 1)


SEEN = sampled.draw(3)
LENGTHS = SEEN.integers(0, 6, 1000)
VECTORS = SEEN.normal(size=(1000, 8)).tolist()
TIMES = [START + datetime.timedelta(minutes=n) for n in range(ROWS)]


def ids(lengths=LENGTHS, distinct=30):
    return [SEEN.integers(0, distinct, n).tolist() for n in lengths]


def floats(lengths=LENGTHS):
    return [SEEN.random(n).tolist() for n in lengths]


def some(text, most, count=190):
    """`count` values that come once, and `most` others that come often."""
    return [f"{text}{n}" if n < count else f"a{n % most}" for n in range(ROWS)]


VECTOR = {"kind": "vector", "length": 8}
NO_TIME, NO_VECTOR = "train has no times of test", "a vector has one length and no gaps"
COLUMNS = [  # name, values, the field's options, or why it is left out
    ("device", DRAW.choice(["ios", "web"], ROWS), {}),
    ("duration_ms", MANY, {"kind": "numeric"}),
    ("n_views", DRAW.integers(0, 300, ROWS), {"kind": "numeric"}),
    ("price_id", MANY, {}),
    ("children_count", DRAW.integers(0, 5, ROWS), {}),  # few: each has its own embedding
    ("hashed", DRAW.integers(-(2**60), 2**60, 900)[MANY % 900], {}),
    ("from_pandas", np.where(MANY < 50, np.nan, MANY), {}),  # floats, as ids are missing
    ("income", np.exp(2 * DRAW.normal(size=ROWS)), {"kind": "numeric", "log": "true"}),
    ("zero_padded", [f"{n:05d}" for n in MANY], {}),
    ("rare", [f"v{n}" for n in DRAW.zipf(1.3, ROWS)], {"min_count": 2}),
    ("few_rows", some("b", 200), {}),  # min_count loses a tenth of the rows at most
    ("most_rows", some("b", 200, 1200), {"min_count": 2}),
    ("tags", ids(), {"kind": "bag"}),
    ("ids", ids(distinct=10**6), {"kind": "bag", "min_count": 2}),
    ("vectors", VECTORS, VECTOR),
    ("holes", pl.Series([v if n % 5 else None for n, v in enumerate(VECTORS)]), VECTOR),
    ("env", ["prod"] * ROWS, "constant: always prod"),
    ("request_id", [f"r{n}" for n in range(ROWS)], "nearly unique: 4,000 different values in"),
    ("gap", [datetime.timedelta(seconds=n % 50) for n in range(ROWS)], "spans of time"),
    ("ratio", DRAW.choice([0.5, 0.7, np.inf], ROWS), "infinite"),
    ("born", [START - datetime.timedelta(days=int(n)) for n in MANY], NO_TIME),
    ("f", floats(), NO_VECTOR),
    ("y", [[0.5, 0.1 * n] for n in range(999)] + [[float("inf"), 0.5]], NO_VECTOR),
    ("seen_weight", ids(), "or weights: NAME in a bag?"),
    ("z", pl.Series([[]] * 1000, dtype=pl.List(pl.Int64)), "no list has a value"),
]


@pytest.mark.parametrize(("name", "values", "expected"), COLUMNS, ids=[c[0] for c in COLUMNS])
def test_what_becomes_of_a_column(name, values, expected):
    event = {"t": TIMES} if len(values) == ROWS and isinstance(expected, str) else {}
    made = field(event | {name: values}, name, time="t" * bool(event))
    if isinstance(expected, str):
        assert expected in made.reason
        assert not made.suspect
    else:
        assert (made.options, made.reason) == (expected, "")


def test_a_user_is_no_request_though_nearly_unique_in_a_sample():
    users = [f"u{n}" for n in range(ROWS)]
    assert field({"user_id": users}, "user_id", whole=True).reason
    assert not field({"user_id": users}, "user_id", whole=False).reason
    assert field({"request_id": users}, "request_id", whole=False).reason


def table(rows, first=0):
    return pl.DataFrame({"n": np.arange(first, first + rows), "file": [first] * rows})


def read(folder, format="parquet"):
    return sample.read(raw_files.find([str(folder)]), InputSpec(format=format))


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv", "jsonl"])
def test_a_small_log_is_read_whole(tmp_path, suffix):
    writers = {"arrow": "write_ipc", "jsonl": "write_ndjson"}
    for first in (0, 100, 200):
        writer = getattr(table(100, first), writers.get(suffix, f"write_{suffix}"))
        writer(tmp_path / f"{first:03d}.{suffix}")
    found = read(tmp_path, suffix)
    assert found.frame["n"].cast(int).to_list() == list(range(300))
    assert found.whole
    assert found.size == "all 300 rows, from 3 of 3 files"


def test_a_large_log_is_sampled_from_its_beginning_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "ROWS", 1000)
    for part in range(20):
        table(500, 500 * part).write_parquet(tmp_path / f"{part:02d}.parquet", row_group_size=100)
    found = read(tmp_path)
    assert found.size == "1,000 of about 10,000 rows, from 20 of 20 files"
    assert not found.whole
    assert set(found.frame["file"].unique()) == {500 * part for part in range(20)}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_large_text_is_sampled_from_its_beginning_to_its_end(tmp_path, monkeypatch, suffix):
    for name, value in {"ROWS": 1000, "WHOLE": 0, "PIECE": 2000}.items():
        monkeypatch.setattr(sample, name, value)
    writer = {"jsonl": "write_ndjson"}.get(suffix, f"write_{suffix}")
    getattr(table(50_000), writer)(tmp_path / f"a.{suffix}")
    found = read(tmp_path, suffix)
    seen = found.frame["n"].cast(int)
    assert seen.is_sorted()
    assert seen.n_unique() == found.frame.height
    assert 980 < found.frame.height <= 1000
    assert seen.max() - seen.min() > 45_000
    about = int(found.size.split()[3].replace(",", ""))
    assert found.size == f"{found.frame.height:,} of about {about:,} rows, from 1 of 1 files"
    assert about == pytest.approx(50_000, rel=0.05)
    assert found.broken.rejected == 0


@pytest.mark.parametrize("large", [False, True])
def test_rows_that_cannot_be_read_are_named(tmp_path, monkeypatch, large):
    lines = [f"{n},{n % 2},{n % 7}\n" for n in range(3000)]
    lines[1700] = "1700,1\n"
    path = tmp_path / "a.csv"
    path.write_text("n,buy,code\n" + "".join(lines))
    where = f"{path}, row 1,702"
    if large:
        for name, value in {"WHOLE": 0, "PIECE": 10_000}.items():
            monkeypatch.setattr(sample, name, value)
        where = f"{path}, from byte "
    drafted = infer.draft(read(tmp_path, "csv"), ["buy"])
    told = sampled.shown(drafted).partition("To look at")[2]
    assert f"rows rejected: too few columns: {where}" in told
    assert "1700,1" in told


def test_columns_that_begin_late_in_json_lines_are_seen(tmp_path):
    """JSON writers leave out what is null: the first 2,000 lines lack columns."""
    late = {"price": 1.5, "tags": [1, 2], "more": {"a": 1}}
    lines = [{"n": n, "buy": n % 2} | (late if n >= 9000 else {}) for n in range(60_000)]
    lines[7000]["rare"] = 1
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read(tmp_path, "jsonl")
    assert found.size == "all 60,000 rows, from 1 of 1 files"
    assert found.frame.columns == ["n", "buy", "rare", "price", "tags"]
    assert found.frame["price"].null_count() == found.frame["tags"].null_count() == 9000
    assert found.refused.keys() == {"more"}
    infer.infer([str(tmp_path)], tmp_path / "s.yaml", labels=["buy"])
    data = logs.prepare(tmp_path / "s.yaml", str(tmp_path), tmp_path / "data", processes=1)
    assert {"price", "tags", "rare"} <= set(data.schema.field_names)


def test_columns_that_not_all_files_have_are_refused(tmp_path):
    pl.DataFrame({"a": [1], "b": [1], "c": [1], "d": [{"x": 1}], "e": [1]}).write_parquet(
        tmp_path / "1.parquet"
    )
    pl.DataFrame({"a": [1.5], "c": [[1]], "d": [{"x": 1}], "e": ["7"]}).write_parquet(
        tmp_path / "2.parquet"
    )
    found = read(tmp_path)
    assert found.frame.to_dict(as_series=False) == {"a": [1.0, 1.5], "e": ["1", "7"]}
    for name, kind in {"b": "absent", "c": "lists", "d": "nested"}.items():
        assert f"{kind} in " in found.refused[name]
        assert "2.parquet" in found.refused[name]
    assert "numbers in " in found.refused["c"]


def test_a_column_that_breaks_rows_is_refused(tmp_path):
    bad = [b"ok", b"\xff\xfe"] * 50
    pl.DataFrame({"n": range(100), "bytes": bad}).write_parquet(tmp_path / "a.parquet")
    found = read(tmp_path)
    assert found.frame.columns == ["n"]
    assert found.frame.height == 100
    assert "not UTF-8" in found.refused["bytes"]


@pytest.mark.parametrize(
    ("values", "is_list"),
    [
        (["red", "red|blue", "blue|new"], True),
        (["['red', 'blue']", "[]"], True),
        (["red, blue", "Smith (a)"], False),
    ],
)
def test_lists_that_stand_as_texts_are_asked_about(values, is_list):
    made = field({"tags": DRAW.choice(values, ROWS)}, "tags")
    assert ("lists as texts? A bag needs a column of lists" in " ".join(made.notes)) == is_list


def test_one_bad_cell_of_many_rows_makes_no_number_a_category_and_loses_no_time():
    """`prepare` rejects the row, and names it."""
    rows = 20_000
    far = [f"{n % 900 / 100}" for n in range(rows - 1)] + ["far"]
    times = [str(START + datetime.timedelta(minutes=n)) for n in range(rows - 1)] + ["yesterday"]
    made = sampled.draft({"distance_km": far, "t": times})
    assert next(f for f in made.fields if f.name == "distance_km").options["kind"] == "numeric"
    assert "split: {by: time" in sampled.text(made)

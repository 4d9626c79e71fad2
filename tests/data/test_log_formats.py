"""Raw files of every format: which files are read, and what their values are in the prepared set.

A log here is some files, of which `v.SUFFIX` is validation and `t.SUFFIX` test; what train holds
is read back from the set.
"""

import csv
import datetime
import decimal
import io
import json
import math
import random
import re

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from world import log

from dtn_jax.data.prepare import prepare
from dtn_jax.errors import UserError

FEW, MANY, OPEN = "too few columns", "too many columns", "a quote that does not close"
BREAK, NUL, NOT_UTF8 = "a quoted value with a line break", "a NUL byte", "not UTF-8"
RETURN = "a carriage return"


def text_of(fields, suffix, more=""):
    """A schema file of these fields, whose label is the name of the files' folder."""
    lines = "".join(f"  {field}\n" for field in fields)
    split = f"values: {{validation: v.{suffix}, test: t.{suffix}, train: [FILES]}}"
    return (
        f"name: raw\nfields:\n{lines}  file: {{column: _file}}\n"
        "tasks: [y]\n"
        f"split: {{by: column, column: _file, {split}}}\n{more}"
    )


def read(folder, files, fields, other, more=""):
    """({file: its train rows, of the values of the fields}, [(file, row, column, reason, value)]).

    Args:
      files: {name: bytes}.
      fields: lines of the schema file, such as "a:".
      other: bytes of a file of validation, and of test.
    """
    suffix = next(iter(files)).partition(".")[2]
    (folder / "raw/y=1").mkdir(parents=True, exist_ok=True)
    for name, data in {f"v.{suffix}": other, f"t.{suffix}": other, **files}.items():
        (folder / "raw/y=1" / name).write_bytes(data)
    text = text_of(fields, suffix, more).replace("FILES", ", ".join(files))
    schema = log.schema_file(folder, text)
    made = prepare(schema, str(folder / "raw"), folder, processes=1, max_reject_rate=1.0)
    names = [field.partition(":")[0].strip('"') for field in fields]
    columns = [log.values(made, "train", name) for name in (*names, "file")]
    found = {name: [] for name in files}
    for *values, file in zip(*columns):
        found[file].append(tuple(values))
    bad = []
    if (made.folder / "rejects.jsonl").exists():
        for line in (made.folder / "rejects.jsonl").read_text().splitlines():
            told = json.loads(line)
            own = (told["row"], told["column"], told["reason"], told["value"])
            bad.append((told["file"].rpartition("/")[2], *own))
    return found, bad


def told(bad, file):
    """[(row, reason)] of a file."""
    return [(row, reason) for name, row, _, reason, _ in bad if name == file]


def same(got, expected):
    """Whether rows and the beginnings of their reasons are as expected."""
    rows = [row for row, _ in got] == [row for row, _ in expected]
    return rows and all(kind in reason for (_, reason), (_, kind) in zip(got, expected))


# --- which files --------------------------------------------------------------------------------


def make(folder, *names):
    """CSV files of rows that tell their file's name, and other files."""
    for n, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("item,click\n" + f"i{n},{n % 2}\n" * 40)


def named(folder, given, **options):
    """The files, below the folder's hidden folder .raw, that a set is made of."""
    text = "name: shop\nfields: [item]\ntasks: [click]\nsplit: {by: random, test: 0.3}\n"
    made = prepare(log.schema_file(folder, text), given, folder / "data", processes=1, **options)
    return [address.removeprefix(f"{folder}/.raw/") for address in made.raw_files]


FILES = ("a.csv", "day=1/b.csv", "day=2/hour=0/c.csv", "_SUCCESS", ".x.csv", "day=2/_x/d.csv")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", FILES[:3]),
        ("*.csv", FILES[:1]),
        ("**/*.csv", FILES[:3]),
        ("day=*", FILES[1:3]),
        ("day=[1-3]/*.csv", FILES[1:2]),
    ],
)
def test_folders_and_globs(tmp_path, pattern, expected):
    make(tmp_path / ".raw", *FILES, "README.md")
    assert named(tmp_path, f"{tmp_path}/.raw/{pattern}") == list(expected)


def test_files_of_another_file_system(tmp_path):
    make(tmp_path, "a.csv", "b.csv")
    for name in ("a", "b"):
        data = (tmp_path / f"{name}.csv").read_bytes()
        fsspec.filesystem("memory").pipe(f"/logs/day=1/{name}.csv", data)
    assert len(named(tmp_path, "memory://logs")) == 2


def test_each_file_comes_once_sorted(tmp_path, monkeypatch):
    make(tmp_path / ".raw", "b.csv", "a.csv", "up/c.csv")
    (tmp_path / ".raw/up/again").symlink_to(tmp_path / ".raw/up")  # which would have no end
    monkeypatch.chdir(tmp_path)
    given = [".raw/b.csv", "./.raw/*.csv", str(tmp_path / ".raw"), f"file://{tmp_path}/.raw"]
    assert named(tmp_path, given) == ["a.csv", "b.csv", "up/c.csv"]


def test_partition_keys_are_columns(tmp_path):
    days = ("day=1/city=a%20b", "day=__HIVE_DEFAULT_PARTITION__/city=c")
    make(tmp_path / "raw", *(f"{day}/{n}.csv" for day in days for n in range(2)))
    text = "name: shop\nfields: [day, city]\ntasks: [click]\nsplit: {by: random, test: 0.3}\n"
    schema = log.schema_file(tmp_path, text)
    made = prepare(schema, str(tmp_path / "raw"), tmp_path / "data", processes=1)
    found = zip(log.values(made, "train", "day"), log.values(made, "train", "city"))
    assert set(found) == {("1", "a b"), (None, "c")}


# --- types of Parquet and Arrow ------------------------------------------------------------------

TYPES = {  # name: (array, its values as texts)
    "words": (pa.array(["x", None, "y"]).dictionary_encode(), ["x", None, "y"]),
    "codes": (pa.array([5, None, 5]).dictionary_encode(), ["5", None, "5"]),
    "decimal": (
        pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("2.5")]),
        ["1.25", None, "2.5"],
    ),
    "null": (pa.nulls(3), [None] * 3),
    "bytes": (pa.array([b"x", None, "ü".encode()]), ["x", None, "ü"]),
    "half": (pa.array([1.5, 2.5, None], pa.float16()), ["1.5", "2.5", None]),
    "date": (
        pa.array([datetime.date(2026, 1, 2), None, datetime.date(1500, 1, 1)]),
        ["2026-01-02", None, "1500-01-01"],
    ),
    "huge": (pa.array([2**63 - 1, 1, None], pa.uint64()), [str(2**63 - 1), "1", None]),
    "view": (pa.array(["x", None, ""], pa.string_view()), ["x", None, ""]),
    "a.b": (pa.array([1, 2, 3]), ["1", "2", "3"]),  # one column, not one inside of another
}
BAGS = {
    "ids": (pa.array([[1, 2], None, []]), [["1", "2"], [], []]),
    "texts": (pa.array([["x", None], [], ["y"]]), [["x", None], [], ["y"]]),
    "decimals": (pa.array([[decimal.Decimal("0.5")], [], None]), [["0.5"], [], []]),
}


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_types(tmp_path, suffix):
    """Nested columns, and two of one name, may be there where they are not wanted."""
    arrays = {name: array for name, (array, _) in (TYPES | BAGS).items()}
    table = pa.table({**arrays, "nested": [{"x": 1}] * 3})
    table = table.append_column("nested", pa.array([1, 2, 3]))
    out = io.BytesIO()
    if suffix == "parquet":
        pq.write_table(table, out, use_deprecated_int96_timestamps=True)
    else:
        with pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    fields = [*(f'"{name}":' for name in TYPES), *(f"{name}: {{kind: bag}}" for name in BAGS)]
    found, bad = read(tmp_path, {f"a.{suffix}": out.getvalue()}, fields, out.getvalue())
    expected = [texts for _, texts in (TYPES | BAGS).values()]
    assert found[f"a.{suffix}"] == list(zip(*expected))
    assert not bad
    for name, message in (("nested", "more than once"), ("ids", "holds List")):
        with pytest.raises(UserError, match=message):
            read(tmp_path / name, {f"a.{suffix}": out.getvalue()}, [f"{name}:"], out.getvalue())


@pytest.mark.parametrize("name", ["raw", "lists"])
def test_text_that_is_not_utf8_is_rejected(tmp_path, name):
    raw = pa.array([b"a", b"\xff\xfe", None, b"b", b"c\xff"])
    text = pa.StringArray.from_buffers(5, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
    lists = pa.ListArray.from_arrays([0, 1, 2, 3, 4, 5], text)
    out = io.BytesIO()
    table = pa.table({"n": range(5), "a": raw if name == "raw" else lists})
    pq.write_table(table, out, row_group_size=3)
    field = "a:" if name == "raw" else "a: {kind: bag}"
    found, bad = read(tmp_path, {"x.parquet": out.getvalue()}, ["n:", field], out.getvalue())
    assert [row[0] for row in found["x.parquet"]] == ["0", "2", "3"]
    assert same(told(bad, "x.parquet"), [(2, NOT_UTF8), (5, NOT_UTF8)])
    assert {column for _, _, column, _, _ in bad} == {"a"}


# --- CSV -----------------------------------------------------------------------------------------

ENDS = [("7", "8"), ("3", "2")]
CSV = [  # text: its rows, and what is told of its lines
    ("a,b\n1,x\n", [("1", "x")], []),
    ("a,b\r\n1,x\r\n2,y", [("1", "x"), ("2", "y")], []),
    ("\ufeffa,b\n1,x\n", [("1", "x")], []),
    ("\n\r\na,b\n\n1,x\n\r\n\n2,y\n\n", [("1", "x"), ("2", "y")], []),
    ('a,b\n"1","x,""y"""\n', [("1", 'x,"y"')], []),
    ('a,b\n1,5" disk\n2,say "no" to it\n', [("1", '5" disk'), ("2", 'say "no" to it')], []),
    ('a,b\n"1"2,""\n,x\n', [("12", None), (None, "x")], []),
    ('"a","b"\n 1 , x\n', [(" 1 ", " x")], []),
    (",a,b\n0,x,y\n", [("x", "y")], []),  # a column without a name is left out
    ("b,a,c\ny,x,z\n", [("x", "y")], []),
    ("a,b\n1\n\n1,2\n1,2,3\n", [("1", "2")], [(2, FEW), (5, MANY)]),
    ('a,b\n1,"x,y\nz",2\n', [('z"', "2")], [(2, OPEN)]),  # a quote inside is a character
    (b"a,b\n1,\xff\n1,\0\n1\r,3\n  \n", [], [(2, NOT_UTF8), (3, NUL), (4, RETURN), (5, FEW)]),
    ('a,b\n"1,2","3\n"2""3"x,5,6\n1,2\n', [("1", "2")], [(2, OPEN), (3, MANY)]),
]
BREAKS = [  # rows between two good ones, and what is told of them
    ('"x\ny",2', [(3, BREAK)]),
    ('1,"x\ny"', [(3, BREAK)]),
    ('1,"x\n1,2\ny"', [(3, BREAK)]),  # the middle line alone has as many columns as a row
    ('1,"x ""y\nz"", u"', [(3, BREAK)]),
    ('1,"x', [(3, OPEN)]),  # nothing closes it
    ('1,"x\n1,5" disk', [(3, OPEN)]),  # a quote that is a character
    ('"1,x\n4,5\n"1,x', [(3, OPEN), (5, OPEN)]),  # two strays are no pair
    ('"x\ny"', [(3, OPEN), (4, FEW)]),
]


def test_how_values_of_csv_are_written_and_what_is_broken(tmp_path):
    """A row with line breaks is one bad row."""
    rows = [(f"a,b\n7,8\n{row}\n3,2\n", ENDS, bad) for row, bad in BREAKS]
    texts = [t if isinstance(t, bytes) else t.encode() for t, *_ in [*CSV, *rows]]
    files = {f"{n}.csv": text for n, text in enumerate(texts)}
    found, bad = read(tmp_path, files, ["a:", "b:"], b"a,b\n1,1\n")
    for name, (text, good, broken) in zip(files, [*CSV, *rows], strict=True):
        assert same(told(bad, name), broken), text
        assert found[name] == good or (good is ENDS and set(ENDS) <= set(found[name])), text
    assert [value for *_, value in bad if value == "1,2,3"]


def test_separators_missing_values_and_columns_are_those_of_the_schema_file(tmp_path):
    more = 'input: {separator: "]", missing: [NA, "\\\\N"], columns: [a, b]}\n'
    files = {"a.csv": b"1]\\N\nNA]x,y\n3\n"}
    found, bad = read(tmp_path, files, ["a:", "b:"], b"1]1\n", more)
    assert found["a.csv"] == [("1", None), (None, "x,y")]
    assert same(told(bad, "a.csv"), [(3, FEW)])


def test_random_lines_are_read_as_the_csv_module_reads_them(tmp_path):
    """Every line of a few characters that matter is a row or a reject, never a neighbour's part."""
    draw = random.Random(0)
    texts = ["".join(draw.choices('ab,"', k=draw.randint(1, 9))) for _ in range(2_000)]
    between = '\n"x"x"x\n'  # after it, no quote of the line before is open
    text = f"a,b,c\n{between.join(texts)}".encode()
    found, bad = read(tmp_path, {"a.csv": text}, ["a:", "b:", "c:"], b"a,b,c\n1,1,1\n")
    good, reasons = iter(found["a.csv"]), dict(told(bad, "a.csv"))
    assert len(found["a.csv"]) > 200
    for n, line in zip(range(2, 10_000, 2), texts):
        (values,) = csv.reader(io.StringIO(line))
        if CLOSES.fullmatch(line) and len(values) == 3:
            assert [value or "" for value in next(good)] == values, line
        elif n in reasons:  # the first ones of each reason
            kind = OPEN if not CLOSES.fullmatch(line) else FEW if len(values) < 3 else MANY
            assert kind in reasons[n]
    assert next(good, None) is None


CELL = r'(?:"(?:[^"]|"")*"(?!")|(?!"))[^,]*'  # a quote opens at its start alone, and closes
CLOSES = re.compile(f"{CELL}(?:,{CELL})*")


# --- JSON lines ----------------------------------------------------------------------------------

JSON = [  # values of a column, line after line; as what they are read
    ([1, None, 3], ["1", None, "3"]),
    ([True, None, False], ["true", None, "false"]),
    ([True, 1, "x"], ["1", "1", "x"]),
    ([0.5, 2.5, None], ["0.5", "2.5", None]),
    (["x", "", "ü"], ["x", "", "ü"]),
    ([2**63 - 1, -(2**63), 0], [str(2**63 - 1), str(-(2**63)), "0"]),
    ([1, "x", 2.5], ["1", "x", "2.5"]),
    ([2**63, 1, None], [str(2**63), "1", None]),
    ([2**53 + 1, "x", 0.5], [str(2**53 + 1), "x", "0.5"]),
    ([2**53 + 1, None, 0.5], [str(2**53 + 1), None, "0.5"]),  # which no float holds
    ([[1, 2], [], None], [["1", "2"], [], []]),
    ([["x"], [None], []], [["x"], [None], []]),
    ([[1, "x"], [2.5], None], [["1", "x"], ["2.5"], []]),
]


def json_lines(*columns, head=()):
    """Lines of objects of these columns; none has the key of a null."""
    rows = [dict(enumerate(row)) for row in zip(*columns)]
    kept = [{f"c{n}": v for n, v in row.items() if v is not None} for row in rows]
    return "\n".join(map(json.dumps, [*head, *kept])).encode() + b"\n"


@pytest.mark.parametrize("late", [False, True])
def test_values_of_json_lines(tmp_path, late):
    """Of several types they are texts; also where the first lines of a file do not show them."""
    fields = [f"c{n}: {{kind: bag}}" if n > 9 else f"c{n}:" for n in range(len(JSON))]
    whole = json_lines(*(values for values, _ in JSON))
    head = [{"c0": 0}] * 2_100 if late else []
    text = json_lines(*(values for values, _ in JSON), head=head)
    found, bad = read(tmp_path, {"a.jsonl": text}, fields, whole)
    assert [tuple(row) for row in found["a.jsonl"][-3:]] == list(zip(*(e for _, e in JSON)))
    assert not bad


BAD_JSON = [  # (a line, reason); all between good ones
    (b'{"a": [1]}', "a list where a single value"),
    (b"{", "not JSON"),
    (b'{"a": 1} {"a": 2}', "not JSON"),
    (b'{"a": tru}', "not JSON"),
    (b'{"a": ' + b"[" * 100_000, "not JSON"),
    (b"[1]", "not an object"),
    (b"null", "not an object"),
    (b'{"a": "\xff"}', NOT_UTF8),
    (b'{"a": "\0"}', NUL),
    (b'{"a": {"b": 1}}', "an object or a list of lists"),
    (b'{"a": [[1]]}', "an object or a list of lists"),
    (b'{"a": "\\ud800"}', "not JSON"),
]


def test_broken_lines_of_json_have_their_numbers(tmp_path):
    """What is bad in a column that is not wanted is nothing."""
    lines = []
    for n, (line, _) in enumerate(BAD_JSON):
        lines += [b'{"a": %d, "z": {"b": 1}}' % (3 * n + 1), line, b""]
    text = b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\n"
    found, bad = read(tmp_path, {"a.jsonl": text}, ["a:"], b'{"a": 1}\n')
    assert same(told(bad, "a.jsonl"), [(3 * n + 2, r) for n, (_, r) in enumerate(BAD_JSON)])
    assert found["a.jsonl"] == [(str(3 * n + 1),) for n in range(len(BAD_JSON))]


def test_numbers_of_json_that_are_none(tmp_path):
    values = [math.nan, -math.inf, 1.5, 2.5]
    text = "".join(json.dumps({"a": v}) + "\n" for v in values).encode() + b'{"a": 1e999}\n'
    field = "a: {kind: numeric, buckets: 2}"
    found, bad = read(tmp_path, {"a.jsonl": text}, [field], b'{"a": 1}\n')
    assert len(found["a.jsonl"]) == 3  # NaN is missing
    assert [(row, reason) for row, reason in told(bad, "a.jsonl")] == [
        (2, "number that is not finite"),
        (5, "number that is not finite"),
    ]


def test_a_column_that_some_files_lack_is_null_there(tmp_path):
    """As Spark writes JSON lines, which leave out what is null."""
    files = {
        "a.jsonl": b'{"n": 1}\n' * 3,
        "b.jsonl": b'{"n": 2, "coupon": "x"}\n',
        "c.jsonl": b'{"n": 3}\n' * 2_100 + b'{"n": 3, "coupon": "y"}\n',
    }
    found, bad = read(tmp_path, files, ["n:", "coupon:"], b'{"n": 1}\n')
    assert found["a.jsonl"] == [("1", None)] * 3
    assert found["b.jsonl"] == [("2", "x")]
    assert found["c.jsonl"] == [("3", None)] * 2_100 + [("3", "y")]
    assert not bad
    with pytest.raises(UserError, match=r"unknown column 'coupn'.*Did you mean 'coupon'"):
        read(tmp_path / "other", files, ["coupn:"], b'{"n": 1}\n')

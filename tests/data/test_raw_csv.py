"""CSV: how values are written, and every line that is no row."""

import csv
import gzip
import io
import random

import pytest
import raw_logs

from dtn_jax.datasets.logs.raw import lines
from dtn_jax.datasets.logs.raw.csv import OPEN, RETURN
from dtn_jax.datasets.logs.raw.lines import NOT_UTF8, NUL
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.errors import UserError

FEW, MANY = "too few columns", "too many columns"


def rows(path, text, input=raw_logs.PLAIN, **sizes):
    """The rows of a file with this text, by their lines, and (line, reason) of the others."""
    path = path / "a.csv" if path.is_dir() else path
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = raw_logs.chunks(path, None, input, **sizes)
    numbers = [int(n) for chunk in found for n in chunk.numbers]
    values = [row for chunk in found for row in chunk.frame.rows()]
    return dict(zip(numbers, values)), [(r.row, r.reason) for c in found for r in c.broken]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,x\n", {2: ("1", "x")}),
        ("a,b\r\n1,x\r\n2,y", {2: ("1", "x"), 3: ("2", "y")}),
        ("\ufeffa,b\n1,x\n", {2: ("1", "x")}),
        ("\n\r\na,b\n\n1,x\n\r\n\n2,y\n\n", {5: ("1", "x"), 8: ("2", "y")}),
        ('a,b\n"1","x,""y"""\n', {2: ("1", 'x,"y"')}),
        ('a,b\n1,5" disk\n2,say "no" to it\n', {2: ("1", '5" disk'), 3: ("2", 'say "no" to it')}),
        ('a,b\n"1"2,""\n,x\n', {2: ("12", None), 3: (None, "x")}),
        ('"a","b"\n 1 , x\n', {2: (" 1 ", " x")}),
    ],
)
def test_how_values_are_written(tmp_path, text, expected):
    assert rows(tmp_path, text) == (expected, [])
    assert rows(tmp_path, text, size=1) == (expected, [])


def test_separators_and_missing_values(tmp_path):
    text = "a\tb\n1\t\\N\nNA\tx,y\n"
    expected = {2: ("1", None), 3: (None, "x,y")}
    input = InputSpec(separator="\t", missing=("NA", "\\N"))
    assert rows(tmp_path, text, input)[0] == expected
    by_suffix = InputSpec(missing=input.missing)
    assert rows(tmp_path / "a.tsv", text, by_suffix)[0] == expected
    assert rows(tmp_path, "a]b\n1]2\n", InputSpec(separator="]"))[0] == {2: ("1", "2")}


def test_columns_for_a_file_without_a_header(tmp_path):
    input = InputSpec(columns=("a", "b"))
    assert rows(tmp_path, "\ufeff1,x\n2,y\n", input) == ({1: ("1", "x"), 2: ("2", "y")}, [])
    assert rows(tmp_path, "1,x\n2\n", input) == ({1: ("1", "x")}, [(2, FEW)])


BROKEN = {  # line: (text, reason)
    3: (b"1", FEW),
    4: (b"1,2,3,4", MANY),
    6: (b'1,"x,y', OPEN),
    7: (b'z",2,3', None),  # a quote inside a value is a character
    9: (b"1,\xff,3", NOT_UTF8),
    12: (b"1,\0,3", NUL),
    13: (b"1,2\r3,4", RETURN),
    20: (b'"1,2","3', OPEN),
    21: (b"  ", FEW),
    22: (b"", None),
    29: (b'1,"2""3"x,5,6', MANY),
}


def broken_file():
    """Lines 2 to 30: good ones, which hold their numbers, and those of BROKEN."""
    texts = [BROKEN.get(n, (f'{n},"ü, ""{n}",x'.encode() if n % 2 else b"%d,b,c" % n,))[0]
             for n in range(2, 31)]  # fmt: skip
    return b"a,b,c\n" + b"\n".join(texts) + b"\n"


@pytest.mark.parametrize("size", [1, 20, 50, 10**6])
@pytest.mark.parametrize("chunk_rows", [1, 4, 1_000])
def test_broken_lines_have_their_numbers(tmp_path, size, chunk_rows):
    good, broken = rows(tmp_path, broken_file(), size=size, chunk_rows=chunk_rows)
    assert broken == [(n, reason) for n, (_, reason) in BROKEN.items() if reason]
    expected = set(range(2, 31)) - {n for n, _ in broken} - {22}
    assert good.keys() == expected
    assert all(good[n][0] == str(n) for n in expected - {7})
    assert good[7] == ('z"', "2", "3")
    assert good[5] == ("5", 'ü, "5', "x")


def test_broken_lines_of_a_gzip_file(tmp_path):
    good, broken = rows(tmp_path, broken_file())
    packed = rows(tmp_path / "b.csv.gz", gzip.compress(broken_file()))
    assert packed == (good, broken)


def test_a_broken_line_is_shown(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n" + b"x" * 500 + b"\n\xff,\xfe\n1,2,3\n")
    ((chunk),) = raw_logs.chunks(path)
    assert [reject.value for reject in chunk.broken] == ["x" * 79 + "…", "\ufffd,\ufffd", "1,2,3"]
    assert chunk.frame.shape == (0, 2)


def test_random_lines_are_read_as_the_csv_module_reads_them(tmp_path):
    """Every line of a few characters that matter is a row or a reject, never a neighbour's part."""
    draw = random.Random(0)
    texts = ["".join(draw.choices('ab,"', k=draw.randint(1, 9))) for _ in range(3_000)]
    between = '\n"x"x"x\n'  # after it, no quote of the line before is open
    good, broken = rows(tmp_path, "a,b,c\n" + between.join(texts), chunk_rows=700)
    assert len(good) > 300
    assert len(good) + len(broken) == 2 * len(texts) - 1
    reasons = dict(broken)
    for n, line in zip(range(2, 10_000, 2), texts):
        (values,) = csv.reader(io.StringIO(line))
        if _closes(line) and len(values) == 3:
            assert [value or "" for value in good[n]] == values, line
        else:
            assert reasons[n] == (OPEN if not _closes(line) else FEW if len(values) < 3 else MANY)


def _closes(line):
    """Whether all quotes that open a value close."""
    inside, start, place = False, True, 0
    while place < len(line):
        char = line[place]
        if inside and line[place : place + 2] == '""':
            place += 1
        elif inside and char == '"':
            inside = False
        elif char == '"' and start:
            inside = True
        start = char == "," and not inside
        place += 1
    return not inside


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", ["no header line"]),
        (b"\n\n", ["no header line"]),
        (b"a,b,a\n1,2,3\n", ["line 1", "'a'", "more than once"]),
        (b"a,,\n1,2,3\n", ["line 1", "''", "more than once"]),
        (b'a,"b\n1,2\n', ["header", "line 1", "broken"]),
        (b"a,\xff\n1,2\n", ["header", "line 1", "utf-8"]),
        ("a,b\n1,2\n".encode("utf-16"), ["UTF-16"]),
    ],
)
def test_headers_that_say_nothing(tmp_path, text, words):
    with pytest.raises(UserError) as told:
        rows(tmp_path, text)
    assert all(word in str(told.value) for word in [*words, "a.csv"]), told.value


def test_a_column_without_a_name_is_left_out(tmp_path):
    assert rows(tmp_path, ",a\n0,x\n1,y\n") == ({2: ("x",), 3: ("y",)}, [])


def test_a_separator_is_one_character(tmp_path):
    for separator in ("", "||", '"', "→"):
        with pytest.raises(UserError, match=r"input\.separator"):
            rows(tmp_path, "a,b\n1,2\n", InputSpec(separator=separator))


def test_a_file_of_one_endless_line_is_no_text(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK", 100)
    monkeypatch.setattr(lines, "LONGEST", 300)
    good, _broken = rows(tmp_path, "a\n" + "x" * 250 + "\n" + "y" * 250)
    assert good == {2: ("x" * 250,), 3: ("y" * 250,)}
    with pytest.raises(UserError, match=r"a\.csv: line 2 is longer"):
        rows(tmp_path, "a\n" + "x" * 600)


def test_a_gzip_file_that_is_cut_or_damaged(tmp_path):
    packed = bytearray(gzip.compress(random.Random(0).randbytes(3_000).hex().encode()))
    path = tmp_path / "a.csv.gz"
    for text in (packed[:-100], packed[:700] + b"\0\0\0\0" + packed[704:], b"a,b\n1,2\n"):
        path.write_bytes(text)
        with pytest.raises(UserError, match=r"a\.csv\.gz cannot be read to its end"):
            raw_logs.chunks(path, None, InputSpec(columns=("a",)))

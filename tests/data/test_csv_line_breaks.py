"""CSV is read line by line: a quoted line break is one bad row, with a reason that says so."""

import csv
import io
import random

import polars as pl
import pytest
import raw_logs
from damaged_logs import FLAT, columns, frame, lines_of, schema_file

from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.datasets.logs.raw.csv import BREAK, LONGEST, OPEN

FEW = "too few columns"


def read(folder, text, **sizes):
    """The rows by their lines, and (line, reason) of the others."""
    (folder / "a.csv").write_text(text, newline="")
    frame, numbers, broken = raw_logs.whole(folder / "a.csv", None, **sizes)
    return dict(zip(numbers, frame.rows())), [(r.row, r.reason) for r in broken]


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        ('1,"x\ny",2', 2),
        ('"x\ny",1,2', 2),  # the second line alone has as many columns as a row
        ('1,2,"x\r\ny\r\n\r\n"', 4),
        ('1,"x\n1,2,3\ny",2', 3),  # so has the middle one
        ('"x\ny",1,"x\ny"', 3),
        ('1,"x ""y\nz"", u",2', 2),
        ('1,"x\n""\n""",2', 3),
        ('1,"x' + "\n" * (LONGEST - 1) + '",2', LONGEST),
    ],
)
def test_a_row_with_line_breaks_is_one_bad_row(row, lines, tmp_path):
    found, broken = read(tmp_path, f"a,b,c\n7,8,9\n{row}\n4,5,6\n")
    assert found == {2: ("7", "8", "9"), 3 + lines: ("4", "5", "6")}
    assert broken == [(3, BREAK)]


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ('1,"x,2\n4,5,6\n', [(3, OPEN)]),  # nothing closes it
        ('1,"x,2\n4,5,6\n1,5" disk,2\n', [(3, OPEN)]),  # a quote that is a character
        ('"1,x,2\n4,5,6\n"1,x,2\n', [(3, OPEN), (5, OPEN)]),  # two strays are no pair
        ('1,"x\ny",2,3\n', [(3, OPEN)]),  # together they would have too many columns
        ('1,"x\ny"\n', [(3, OPEN), (4, FEW)]),
    ],
)
def test_a_quote_that_no_later_line_closes_is_told_as_such(text, reasons, tmp_path):
    found, broken = read(tmp_path, f"a,b,c\n7,8,9\n{text}1,2,3\n")
    assert broken == reasons
    assert {("7", "8", "9"), ("1", "2", "3")} <= set(found.values())


def test_random_texts_with_line_breaks(tmp_path):
    """What csv writes: every row without a line break is read, every other one is counted once."""
    draw = random.Random(3)
    made = [
        ["".join(draw.choices('x,"\n', k=draw.randint(0, 5))) for _ in "abc"] for _ in range(500)
    ]
    made = [row for row in made if any(row)]
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerows([["a", "b", "c"], *made])
    found, broken = read(tmp_path, target.getvalue())
    whole = [row for row in made if not any("\n" in value for value in row)]
    assert [tuple(v or "" for v in row) for row in found.values()] == [tuple(row) for row in whole]
    assert {reason for _, reason in broken} == {BREAK}
    assert len(broken) == len(made) - len(whole) > 100


def test_the_account_of_a_log_counts_rows_not_lines(tmp_path):
    data = frame({"item": {7: "two\nlines", 99: "two\nlines"}})
    data.drop("tags", "tag_weights", "vec").write_csv(tmp_path / "log.csv")
    schema = schema_file(tmp_path, FLAT)
    made = prepare(schema, str(tmp_path / "log.csv"), tmp_path, processes=1, max_reject_rate=0.001)
    assert made.notes["read"] == len(columns()["user"])
    assert made.notes["rejected"] == {BREAK: 2}
    assert [line["row"] for line in lines_of(made.folder / "rejects.jsonl")] == [9, 102]
    assert pl.read_csv(tmp_path / "log.csv").height == made.notes["read"]

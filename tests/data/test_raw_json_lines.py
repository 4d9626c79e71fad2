"""JSON lines: every value stays visible, and every line that is no object is told."""

import json
import math

import polars as pl
import pytest
import raw_logs
from polars.testing import assert_series_equal

from dtn_jax.datasets.logs.raw import json_lines, read
from dtn_jax.datasets.logs.raw import json_types as types
from dtn_jax.datasets.logs.raw.lines import NOT_UTF8, NUL
from dtn_jax.errors import UserError


def write(folder, lines):
    path = folder / "a.jsonl"
    texts = [x if isinstance(x, bytes) else json.dumps({"a": x}).encode() for x in lines]
    path.write_bytes(b"\n".join(texts) + b"\n")
    return path


def column(folder, values):
    """A column of these values, of which the first lines tell the type."""
    frame, _, broken = raw_logs.whole(write(folder, values))
    assert not broken
    return frame["a"]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, None, 3], pl.Int64),
        ([True, None], pl.Boolean),
        ([1, 2.5, None], pl.Float64),
        (["x", "", None, "ü", "a\0b"], pl.String),
        ([None, None], pl.Null),
        ([[1, 2], [], None, [None]], pl.List(pl.Int64)),
        ([[1, 2.5]], pl.List(pl.Float64)),
        ([["x"], []], pl.List(pl.String)),
        ([[], []], pl.List(pl.Null)),
        ([2**63 - 1, -(2**63)], pl.Int64),
    ],
)
def test_columns_of_one_type(tmp_path, values, dtype):
    found = column(tmp_path, values)
    assert_series_equal(found, pl.Series("a", values, dtype))
    (file, _) = raw_logs.plan(tmp_path / "a.jsonl")
    assert read.schema(file, raw_logs.PLAIN) == {"a": dtype}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, "x", 2.5, True, None, 3.0], ["1", "x", "2.5", "true", None, "3"]),
        ([2**63, 1], [str(2**63), "1"]),
        ([2**53 + 1, 0.5], [str(2**53 + 1), "0.5"]),
        ([True, 1], ["true", "1"]),
        ([[1, "x"], [2.5], None], [["1", "x"], ["2.5"], None]),
        ([[2**64]], [[str(2**64)]]),
        ([math.nan, math.inf, "x"], ["nan", "inf", "x"]),
    ],
)
def test_values_of_several_types_are_text(tmp_path, values, expected):
    assert column(tmp_path, values).to_list() == expected
    (file, _) = raw_logs.plan(tmp_path / "a.jsonl")
    (dtype,) = read.schema(file, raw_logs.PLAIN).values()
    assert dtype == pl.Series(expected).dtype


@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [
        (1, "x", ["1", "x"]),
        (1, 2.5, [1.0, 2.5]),
        (1, 2**70, ["1", str(2**70)]),
        (0.5, 2**53 + 1, ["0.5", str(2**53 + 1)]),
        ("x", 1, ["x", "1"]),
        (None, [1], [None, [1]]),
        ([], ["x"], [[], ["x"]]),
        ([1], ["x"], [["1"], ["x"]]),
    ],
)
def test_a_value_unlike_the_first_lines_is_seen(tmp_path, monkeypatch, first, later, expected):
    monkeypatch.setattr(json_lines, "HEAD_LINES", 1)
    assert column(tmp_path, [first, later]).to_list() == expected


def test_one_odd_value_changes_its_chunk_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "HEAD_LINES", 1)
    first, second = raw_logs.chunks(write(tmp_path, [1, 2, 3, "x"]), chunk_rows=2)
    assert first.frame["a"].to_list() == [1, 2]
    assert second.frame["a"].to_list() == ["3", "x"]


def test_numbers_that_are_none_are_handed_on(tmp_path):
    found = column(tmp_path, [math.nan, -math.inf, 1.5, b'{"a": 1e999}'])
    assert math.isnan(found[0])
    assert found.to_list()[1:] == [-math.inf, 1.5, math.inf]


BROKEN = [  # (a line, reason); all between good ones
    (b'{"a": [1]}', types.NOT_SCALAR),
    (b"{", json_lines.BROKEN),
    (b'{"a": 1} {"a": 2}', json_lines.BROKEN),
    (b'{"a": tru}', json_lines.BROKEN),
    (b'{"a": ' + b"9" * 5_000 + b"}", json_lines.BROKEN),
    (b'{"a": ' + b"[" * 100_000, json_lines.BROKEN),
    (b"[1]", json_lines.NO_OBJECT),
    (b"null", json_lines.NO_OBJECT),
    (b'{"a": "\xff"}', NOT_UTF8),
    (b'{"a": "\0"}', NUL),
    (b'{"a": 1}\0', NUL),
    (b'{"a": {"b": 1}}', types.NESTED),
    (b'{"a": [[1]]}', types.NESTED),
    (b'{"a": "\\ud800"}', types.NO_TEXT),
]


@pytest.mark.parametrize("size", [1, 100, 10**9])
def test_broken_lines_have_their_numbers(tmp_path, size):
    lines = []
    for n, (line, _) in enumerate(BROKEN):
        lines += [3 * n + 1, line, b""]
    path = write(tmp_path, lines)
    found = raw_logs.chunks(path, size=size)
    rejects = [(reject.row, reject.reason) for chunk in found for reject in chunk.broken]
    assert rejects == [(3 * n + 2, reason) for n, (_, reason) in enumerate(BROKEN)]
    numbers = [int(n) for chunk in found for n in chunk.numbers]
    assert numbers == list(range(1, 3 * len(BROKEN), 3))
    assert [int(v) for chunk in found for v in chunk.frame["a"]] == numbers


def test_a_misfit_names_its_column_and_value(tmp_path):
    ((chunk),) = raw_logs.chunks(write(tmp_path, [[1], [2], 7, "x", {"b": 1}, [3]]))
    told = [(r.row, r.column, r.reason, r.value) for r in chunk.broken]
    assert told == [
        (3, "a", types.NOT_LIST, "7"),
        (4, "a", types.NOT_LIST, '"x"'),
        (5, "a", types.NESTED, '{"b": 1}'),
    ]
    assert chunk.frame["a"].to_list() == [[1], [2], [3]]


def test_a_misfit_in_a_column_that_is_not_wanted_is_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1, "b": 1}\n{"a": 2, "b": [1]}\n{"a": 3, "b": "\\ud800"}\n')
    frame, numbers, broken = raw_logs.whole(path, ["a"])
    assert (frame["a"].to_list(), numbers, broken) == ([1, 2, 3], [1, 2, 3], [])


def test_keys_that_are_missing_are_null(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n{"b": "x"}\r\n  {"a": 2, "b": null}  \n   \n')
    frame, numbers, broken = raw_logs.whole(path)
    assert frame.to_dict(as_series=False) == {"a": [1, None, 2], "b": [None, "x", None]}
    assert (numbers, broken) == ([1, 2, 3], [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"a": 1},\n {"a": 2}]\n', ["JSON object", "array"]),
        ('{\n"a": 1\n}\n', ["none of the first 4 lines"]),
        ('{"a": {"b": 1}}\n', ["column 'a'", "objects"]),
        ('{"a": [{"b": 1}]}\n', ["column 'a'", "objects"]),
    ],
)
def test_files_that_hold_no_rows_for_us(tmp_path, text, words):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(UserError) as told:
        raw_logs.chunks(path)
    assert all(word in str(told.value) for word in [*words, "a.jsonl"]), told.value

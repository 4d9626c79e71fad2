"""Every broken line of CSV and JSON lines, wherever it stands: told with its number, and kept."""

import gzip

import pytest
from damaged_logs import FLAT, Finished, lines_of, schema_file, small_pieces, write

from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.errors import UserError

CSV = [  # what becomes of a line, and the reason
    (lambda line: line + b",1", "too many columns"),
    (lambda line: line.rpartition(b",")[0], "too few columns"),
    (lambda line: b'"' + line, "a quote that does not close on its line"),
    (lambda line: line.replace(b",", b"\r", 1), "a carriage return inside the line"),
    (lambda line: line + b"\xff", "bytes that are not UTF-8"),
    (lambda line: line + b"\0", "a NUL byte in the line"),
    (lambda line: b"###", "too few columns"),
]
JSON = [
    (lambda line: line[:-9], "a line that is not JSON"),
    (lambda line: line + line, "a line that is not JSON"),
    (lambda line: b"[1, 2]", "a line that is not an object"),
    (lambda line: b'"text"', "a line that is not an object"),
    (lambda line: line.replace(b"item", b"\xff"), "bytes that are not UTF-8"),
    (lambda line: line.replace(b'"item ', b'"\\ud800 '), "text that is not Unicode"),
    (lambda line: line.replace(b'"click":', b'"click":[1],"old":'), "a list where a single value"),
    (lambda line: line.replace(b'"click":', b'"click":{"a":1},"old":'), "an object or a list"),
]
WAYS = [("csv", *way) for way in CSV] + [("jsonl", *way) for way in JSON]
PLACES = {"first": 0, "middle": 977, "last": 1999}  # of the rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        return Finished(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return {kind: write(folder / f"log.{kind}").read_bytes() for kind in ("csv", "jsonl")}


def damaged(text, kind, way, rows):
    """The file's text with some of its lines changed; their numbers."""
    lines = text.split(b"\n")
    numbers = [row + (kind == "csv") for row in rows]  # from 0 on; below the header
    for number in numbers:
        lines[number] = way(lines[number])
    return b"\n".join(lines), [number + 1 for number in numbers]


@pytest.mark.parametrize(
    ("kind", "way", "reason"), WAYS, ids=[f"{k}-{r}-{n}" for n, (k, _, r) in enumerate(WAYS)]
)
def test_broken_lines_are_told_with_their_numbers(
    kind, way, reason, finished, good, tmp_path, monkeypatch, capsys
):
    small_pieces(monkeypatch)
    raw = tmp_path / f"bad.{kind}"
    text, numbers = damaged(good[kind], kind, way, PLACES.values())
    raw.write_bytes(text)
    with pytest.raises(UserError, match="3 of 2,000 rows are bad") as told:
        prepare(schema_file(tmp_path, FLAT), str(raw), finished.data_dir, processes=1, replace=True)
    assert f"{raw}, row {numbers[0]}" in str(told.value)
    assert reason in str(told.value)
    assert f"3 of 2,000 rows rejected: {reason}" in capsys.readouterr().out
    kept = lines_of(finished.target.parent / "rejects.jsonl")
    assert [line["row"] for line in kept] == numbers
    assert all(line["reason"].startswith(reason) for line in kept)
    assert all(line["file"] == str(raw) for line in kept)
    finished.check()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_all_other_lines_are_prepared(kind, good, tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    way, reason = (CSV if kind == "csv" else JSON)[0]
    raw = tmp_path / f"bad.{kind}"
    raw.write_bytes(damaged(good[kind], kind, way, PLACES.values())[0])
    schema = schema_file(tmp_path, FLAT)
    made = prepare(schema, str(raw), tmp_path, processes=1, max_reject_rate=0.01)
    assert made.notes["rejected"] == {reason: 3}
    assert sum(made.rows.values()) == 1_997


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_blank_lines_and_other_line_ends_are_no_damage(kind, good, tmp_path):
    schema = schema_file(tmp_path, FLAT)
    found = []
    changed = [good[kind], good[kind].replace(b"\n", b"\r\n"), good[kind].replace(b"\n", b"\n\n")]
    for number, text in enumerate([*changed, b"\xef\xbb\xbf" + good[kind]]):
        raw = tmp_path / f"{number}.{kind}"
        raw.write_bytes(text)
        made = prepare(schema, str(raw), tmp_path / str(number), processes=1, max_reject_rate=0.0)
        found.append(made.fingerprint)
    assert len(set(found)) == 1


def test_a_name_that_is_no_text_is_no_column(good, tmp_path):
    raw = tmp_path / "log.jsonl"
    raw.write_bytes(good["jsonl"].replace(b'"item":', b'"\\ud800":1,"item":'))
    made = prepare(schema_file(tmp_path, FLAT), str(raw), tmp_path, processes=1)
    assert sum(made.rows.values()) == 2_000


CUT = [
    ("csv.gz", lambda packed: packed[:-20]),
    ("csv.gz", lambda packed: packed[:500] + bytes(50) + packed[550:]),
    ("jsonl.gz", lambda packed: packed[:-20]),
    ("jsonl.gz", lambda packed: b"no gzip file"),
]


@pytest.mark.parametrize(("kind", "way"), CUT)
def test_damaged_gzip_files_are_told(kind, way, finished, good, tmp_path):
    raw = tmp_path / f"bad.{kind}"
    raw.write_bytes(way(gzip.compress(good[kind.removesuffix(".gz")])))
    with pytest.raises(UserError, match=rf"{raw} cannot be read to its end"):
        prepare(schema_file(tmp_path, FLAT), str(raw), finished.data_dir, processes=1, replace=True)
    finished.check()

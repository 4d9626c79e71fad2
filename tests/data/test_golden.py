"""Prepared sets give readers what they gave when golden/*.json were recorded.

Where rows, ids or messages are meant to change, say so in CHANGELOG.md and record them anew:

    python -m pytest tests/data/test_golden.py --record-golden    # all, or with -k NAME

Then `git diff` shows what has changed: an array a line, with its hash, that of its values by the
vocabulary, and its first rows.
"""

import json
import pathlib

import golden_sets
import pytest

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.fixture(params=golden_sets.SETS)
def name(request):
    if request.param == "census_income" and not (golden_sets.REAL / "train.parquet").exists():
        pytest.skip("needs $DTN_MANUAL_DIR/census_income/train.parquet")
    return request.param


def test_a_reader_gets_what_it_got(name, prepared_dir, tmp_path, request):
    data = golden_sets.SETS[name](prepared_dir, tmp_path)
    found = golden_sets.text(golden_sets.record(name, data))
    path = GOLDEN / f"{name}.json"
    if request.config.getoption("--record-golden"):
        path.write_text(found)
        return
    was, now = json.loads(path.read_text()), json.loads(found)
    lines = [f"{name}: {line}" for line in golden_sets.differences(was, now)]
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def test_a_difference_is_told_with_its_array_and_rows(prepared_dir, tmp_path, monkeypatch):
    data = golden_sets.SETS["log"](prepared_dir, tmp_path)
    was, arrays = golden_sets.record("log", data), golden_sets.Reading.arrays

    def changed(reading, split):
        found = arrays(reading, split)
        if split == "train":
            found["query"][[1, 40]] += 1
            found["(day)"][900] += 1
        return found

    monkeypatch.setattr(golden_sets.Reading, "arrays", changed)
    query, day, rows = golden_sets.differences(was, golden_sets.record("log", data))
    assert query.startswith("train, array query differs; row [1] [0] was ")
    assert day == "train, array (day) differs; the first 2 rows are as they were"
    assert rows == "train: of its rows, 0 to 12 are the first to differ"

"""Prepared sets give readers what they gave when golden/*.json were recorded.

Where rows, ids or messages are meant to change, say so in CHANGELOG.md and record them anew:

    python -m pytest tests/data/test_golden.py --record-golden    # all, or with -k NAME

Then `git diff` shows what has changed: an array a line, with its hash.
"""

import difflib
import pathlib

import golden_sets
import pytest

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", golden_sets.SETS)
def test_a_reader_gets_what_it_got(name, prepared_dir, tmp_path, request):
    data = golden_sets.SETS[name](prepared_dir, tmp_path)
    found = golden_sets.text(golden_sets.record(name, data))
    path = GOLDEN / f"{name}.json"
    if request.config.getoption("--record-golden"):
        path.write_text(found)
        return
    was = path.read_text()
    if found != was:
        lines = difflib.unified_diff(was.splitlines(), found.splitlines(), lineterm="", n=0)
        pytest.fail("\n".join([f"{name}: was (-), is (+)", *lines]), pytrace=False)

"""The list of mutants, with which `make nightly` measures the tests."""

import ast
import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).with_name("mutants")))
import draw

ROWS = json.loads(draw.LIST.read_text())


def test_every_mutant_applies():
    for row in ROWS:
        ast.parse(draw.apply(pathlib.Path(row["file"]).read_text(), row))


def test_there_are_as_many_as_were_listed():
    assert len({row["id"] for row in ROWS}) == len(ROWS) == 200
    assert sum(row["drawn"] for row in ROWS) == 100

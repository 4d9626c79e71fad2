"""docs/export.md: what it says of folder and options is so. tests/docs runs its commands."""

import pathlib
import re

from experiments import export

PAGE = (pathlib.Path(__file__).parents[2] / "docs/export.md").read_text()


def test_its_table_lists_the_files_of_a_folder(exported_model):
    told = set(re.findall(r"^\| `([\w.]+)", PAGE, re.M))
    there = {path.name for path in exported_model.iterdir()}
    assert there <= told | {"card"}


def test_its_options_are_options():
    (rows,) = re.findall(r"^\| option \|.*?\n\n", PAGE, re.M | re.S)
    told = re.findall(r"`(--\w+=\S+?)`", rows)
    assert len(told) == 6
    parser = export.make_parser()
    for option in told:
        parser.parse_args([option])

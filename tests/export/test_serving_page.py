"""docs/serving.md: its numbers are the command's defaults. tests/docs runs its commands."""

import pathlib
import re

from experiments import serve

PAGE = (pathlib.Path(__file__).parents[2] / "docs/serving.md").read_text()


def test_its_numbers_are_the_defaults_of_the_command():
    told = re.findall(r"`--(\w+)`\s+\(([\d,]+)\)", PAGE)
    assert len(told) == 7
    known = serve.make_parser().parse_args([])
    for name, number in told:
        assert getattr(known, name) == int(number.replace(",", "")), name

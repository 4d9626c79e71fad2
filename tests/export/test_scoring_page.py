"""docs/scoring.md: its numbers are the code's. tests/docs runs its commands."""

import pathlib

from dtn_jax.export import score_files
from experiments import benchmark

PAGE = (pathlib.Path(__file__).parents[2] / "docs/scoring.md").read_text()


def test_its_numbers_are_those_of_the_code():
    told = PAGE.replace(",", "")
    assert f"chunks of {score_files.ROWS} rows" in told
    assert f"about {score_files.UNIT['rows']} rows" in told
    assert f"{score_files.UNIT['size'] >> 20} MiB" in told
    assert "score" in benchmark.SUITES

"""docs/scoring.md: its commands and its Python run."""

import pathlib
import re
import shlex

import polars as pl
import pytest

from dtn_jax.datasets import adult
from dtn_jax.export import score_files
from experiments import benchmark, score

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs/scoring.md").read_text()
COMMANDS = re.findall(r"^python -m experiments\.(\w+) (.*)$", PAGE, re.M)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_its_commands_and_its_python_run(exported_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("day").mkdir()
    pathlib.Path("models").mkdir()
    pathlib.Path("models/adult_dtn").symlink_to(exported_model)  # a small one
    people = pl.read_parquet(adult.FILE)[:700]
    people.write_parquet("day/people.parquet")
    calls = [shlex.split(arguments) for name, arguments in COMMANDS if name == "score"]
    assert len(calls) == 4
    for arguments in calls:
        score.main(arguments)
    first, *others = (
        (pl.read_csv if name.endswith(".csv") else pl.read_parquet)(name)
        for call in calls
        for name in [next(a for a in call if a.startswith("--output=")).partition("=")[2]]
    )
    assert first.columns == [*people.columns, "income@all", "never_married@all"]
    for other in others:
        assert (other["income@all"] - first["income@all"]).abs().max() < 1e-6
    names: dict = {}
    for block in PYTHON:
        exec(block, names)
    assert "age" in names["model"].columns


def test_its_numbers_are_those_of_the_code():
    told = PAGE.replace(",", "")
    assert f"chunks of {score_files.ROWS} rows" in told
    assert f"about {score_files.UNIT['rows']} rows" in told
    assert f"{score_files.UNIT['size'] >> 20} MiB" in told
    assert "score" in benchmark.SUITES

"""docs/serving.md: its commands and its Python run."""

import json
import shutil
import urllib.request

import polars as pl
import pytest
from page_commands import lines, python
from page_shell import Shell

from dtn_jax.datasets import adult
from dtn_jax.export import model_folder

PAGE = "docs/serving.md"
START = lines(PAGE, "# Scores over HTTP")
ASK = lines(PAGE, "## Ask")
RELOAD = lines(PAGE, "## A new model")


@pytest.mark.slow
def test_its_commands_and_its_python_run(exported_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name in ("adult_dtn", "adult_v1", "adult_v2"):  # small ones
        shutil.copytree(exported_model, tmp_path / "models" / name)
    pl.read_parquet(adult.FILE)[:70].write_parquet("candidates.parquet")
    assert [line.partition(" --")[0] for line in START[1:]] == [
        f"python -m experiments.{name}" for name in ("train", "export", "serve")
    ]
    with Shell(tmp_path) as shell:
        shell.run(START[3])
        answer = json.loads([shell.run(line) for line in ASK][-1])
        assert (answer["rows"], list(answer["scores"])) == (1, ["income@all", "never_married@all"])
        (code,) = python(PAGE)
        found: dict = {}
        exec(shell.here(code), found)
        assert found["scores"].shape == (70, 2)
        assert shell.stop() == [0]
    with Shell(tmp_path) as shell:
        again = model_folder.read_manifest(tmp_path / "models/adult_v2")
        model_folder.write_manifest(tmp_path / "models/adult_v2", again | {"made": "later"})
        for line in RELOAD:
            shell.run(line)
        shell.wait_for("takes over from")
        with urllib.request.urlopen(shell.here("http://127.0.0.1:8000/health")) as health:
            assert health.status == 200
        assert shell.stop() == [0]

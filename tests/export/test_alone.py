"""A model scores where no training code is: the wheel beside six packages, in a fresh process."""

import json
import os
import pathlib
import re
import subprocess
import sys

import built_wheel
import made_models
import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax import cli, errors, export
from dtn_jax.export.write import model as card

ROOT = pathlib.Path(__file__).parents[2]
SIX = ("jax", "numpy", "polars", "pyarrow", "safetensors", "flatbuffers")
SCORE = """
import json, sys
sys.path[:0] = sys.argv[1:3]
import dtn_jax.export
for folder, rows in json.load(sys.stdin):
    print(json.dumps(dtn_jax.export.load(folder).score(rows).to_numpy().tolist()))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
COMMAND = """
import sys
sys.path[:0] = sys.argv[1:3]
sys.argv = ["dtn-jax", "score"]
from dtn_jax.cli import main
main()
"""
TRAINING = {"flax", "optax", "orbax", "tensorstore", "tensorflow_datasets", "ml_collections"}
OTHERS = {
    "jaxtyping",
    "yaml",
    "pydantic",
    "rich",
    "sklearn",
    "matplotlib",
    "pandas",
    "fsspec",
    "grain",
}


@pytest.mark.slow
def test_a_model_scores_beside_six_packages(unpacked, tmp_path):
    site = built_wheel.alone(SIX, tmp_path / "site")
    frame = log.rows(600)
    data = log.prepared(tmp_path / "log", frame, log.without("clicked", "ago"))
    made_models.log_model(data, tmp_path / "shop")
    made_models.frame_model(tmp_path / "made")
    raw = frame.tail(5).with_columns(pl.col("t").dt.to_string("iso:strict")).to_dicts()
    given = [
        (str(tmp_path / "shop"), raw),
        (str(tmp_path / "made"), made_models.FRAME.to_dicts()),
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SCORE, str(unpacked), str(site)],
        input=json.dumps(given),
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *scores, modules = map(json.loads, done.stdout.splitlines())
    assert not set(modules) & (TRAINING | OTHERS)
    for (folder, rows), got in zip(given, scores, strict=True):
        np.testing.assert_allclose(got, export.load(folder).score(rows).to_numpy(), rtol=1e-5)
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", COMMAND, str(unpacked), str(site)],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: commands need packages that are not installed here")
    assert "pip install -e . installs all of them" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_all_missing_packages_are_named_before_a_command_begins(monkeypatch, capsys):
    monkeypatch.setattr(errors, "COMMANDS_NEED", ("no_such_one", "jax", "nor_this"))
    monkeypatch.setattr(cli.interrupts, "at_once", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main("train")
    assert ended.value.code == 2
    assert "not installed here: no_such_one, nor_this. In a clone" in capsys.readouterr().err


def test_the_pages_and_the_card_name_the_packages():
    assert f"pip install {' '.join(SIX)}" == errors.TO_SCORE
    both = f"{errors.TO_SCORE} && {errors.THIS_ALONE}"
    text = (ROOT / "docs/serving.md").read_text()
    assert both in text
    assert errors.WHOLE in text
    assert card.WORDS["TO_SCORE"] == errors.TO_SCORE
    assert "{{ TO_SCORE }}" in card.TEMPLATE.read_text()
    asked = re.findall(r'^  "([\w-]+)', (ROOT / "pyproject.toml").read_text(), re.M)
    known = {name.replace("-", "_").lower() for name in asked}
    others = {"orbax": "orbax_checkpoint", "sklearn": "scikit_learn", "yaml": "pyyaml"}
    for name in errors.COMMANDS_NEED:
        assert others.get(name, name).lower() in known, name

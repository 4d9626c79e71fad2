"""What a wheel of the project holds, and that it works from any folder."""

import configparser
import email
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import dtn_jax

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parents[1]
TINY = (
    "model.experts=mlp,model.mlp.hidden=4,model.expert_dim=4,model.tower_hidden=4,"
    "train.max_steps=2,parallel.devices=1"
)
# As README has it, then as `python -m dtn_jax` is called; one process, for each costs seconds.
USE = f"""
import runpy, sys

from dtn_jax.config import load_config
from dtn_jax.train import train

config = load_config("configs/adult.py:shared_bottom,quick,{TINY}")
config.seed = 7
results = train(config, "runs/mine")
for key, found in results["test"].items():
    print(key, found["auc"], found["logloss"], found["ece"], found["positives"])

sys.argv = ["dtn_jax", "train", "--config=configs/adult.py:soft_mmoe,quick,{TINY}",
            "--config.plugins=my_model.py", "--workdir=runs/soft",
            "--config.model.soft_mmoe.temperature=0.5"]
runpy.run_module("dtn_jax", run_name="__main__")
print("from", sys.modules["dtn_jax"].__file__)
print("decoys", {{"configs", "experiments"}} & set(sys.modules))
"""


def test_what_it_holds(unpacked):
    (facts,) = unpacked.glob("dtn_jax-*.dist-info")
    assert {path.name for path in unpacked.iterdir()} == {"dtn_jax", facts.name}
    entry_points = configparser.ConfigParser()
    entry_points.read(facts / "entry_points.txt")
    assert dict(entry_points["console_scripts"]) == {"dtn-jax": "dtn_jax.__main__:main"}
    written = {str(path.relative_to(ROOT)) for path in ROOT.glob("dtn_jax/**/*.py")}
    packed = {str(path.relative_to(unpacked)) for path in unpacked.glob("dtn_jax/**/*.py")}
    assert written <= packed
    assert (unpacked / "dtn_jax/datasets/adult.parquet").exists()
    assert (unpacked / "dtn_jax/py.typed").exists()
    schemas = {str(path.relative_to(ROOT)) for path in ROOT.glob("dtn_jax/**/*.yaml")}
    assert schemas
    assert all((unpacked / path).exists() for path in schemas)
    assert not (unpacked / "dtn_jax/experiments/results/paper").exists()


def test_what_an_index_shows_of_it(unpacked):
    (path,) = unpacked.glob("dtn_jax-*.dist-info/METADATA")
    found = email.message_from_string(path.read_text())
    assert found["Version"] == dtn_jax.__version__
    assert found["Author"] == "The dtn_jax authors"
    assert found["License-Expression"] == "Apache-2.0"
    assert found.get_all("Project-URL") == ["Paper, https://arxiv.org/abs/2408.11611"]
    assert "Typing :: Typed" in found.get_all("Classifier")
    assert len(found["Keywords"].split(",")) > 5
    assert found["Description-Content-Type"] == "text/markdown"


def test_it_works_from_any_folder(unpacked, prepared_dir, tmp_path):
    """Whatever folders called configs/ and experiments/ are there, with README's plug-in."""
    for name in ("configs", "experiments"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('a decoy')")
    shutil.copy(ROOT / "docs/examples/my_model.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(unpacked), "DTN_DATA_DIR": prepared_dir},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"from {unpacked}/dtn_jax/__init__.py" in done.stdout
    assert "decoys set()" in done.stdout
    assert re.search(r"^income@all 0\.\d+ 0\.\d+ 0\.\d+ 3846$", done.stdout, re.MULTILINE)
    mine, soft = (
        json.loads((tmp_path / "runs" / name / "results.json").read_text())
        for name in ("mine", "soft")
    )
    assert (mine["architecture"], mine["seed"], mine["steps"]) == ("shared_bottom", 7, 2)
    assert (soft["architecture"], soft["steps"]) == ("soft_mmoe", 2)

"""What is released: one version, what CI runs, and a wheel that works from any folder."""

import configparser
import email
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

import dtn_jax

ROOT = pathlib.Path(__file__).parents[2]


def test_one_version_with_one_date_and_the_paper():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    unreleased, *headings = re.findall(r"^## (.*)$", changes, re.M)
    assert unreleased == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", h) for h in headings)
    assert headings[0] == f"[{dtn_jax.__version__}] - {citation['date-released'].isoformat()}"
    dates = [heading.split(" - ")[1] for heading in headings]
    assert dates == sorted(dates, reverse=True)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", changes, re.M)) <= kinds
    assert citation["version"] == dtn_jax.__version__
    assert citation["title"] == project["name"]
    assert citation["license"] == project["license"]
    assert [{"name": a["name"]} for a in citation["authors"]] == project["authors"]
    (paper,) = citation["references"]
    assert paper["url"] == project["urls"]["Paper"]
    assert len(paper["authors"]) == 17


def test_the_workflow_runs_targets_of_the_makefile():
    flow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert flow[True].keys() == {"push", "pull_request", "schedule"}  # YAML takes `on` for a truth
    runs = {
        name: [s["run"] for s in job["steps"] if "run" in s] for name, job in flow["jobs"].items()
    }
    assert runs == {"test": ["make test"], "nightly": ["make nightly PARTS=${{ matrix.part }}"]}
    parts = re.findall(r"`(\w+)`", (ROOT / "tests/nightly/passed.md").read_text())
    assert flow["jobs"]["nightly"]["strategy"]["matrix"]["part"] == parts
    assert flow["jobs"]["nightly"]["if"] == "github.event_name == 'schedule'"
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert {"test", "nightly"} <= set(targets)


@pytest.mark.slow
def test_what_the_wheel_holds_and_an_index_shows_of_it(unpacked):
    (facts,) = unpacked.glob("dtn_jax-*.dist-info")
    assert {path.name for path in unpacked.iterdir()} == {"dtn_jax", facts.name}
    entry_points = configparser.ConfigParser()
    entry_points.read(facts / "entry_points.txt")
    assert dict(entry_points["console_scripts"]) == {"dtn-jax": "dtn_jax.cli:main"}
    kinds = (".py", ".yaml", ".sql")
    sources = [path for kind in kinds for path in ROOT.glob(f"dtn_jax/**/*{kind}")]
    written = {path.relative_to(ROOT) for path in sources}
    packed = {path.relative_to(unpacked) for path in unpacked.rglob("*")}
    others = {pathlib.Path("dtn_jax/data/sets/adult.parquet"), pathlib.Path("dtn_jax/py.typed")}
    assert {path.suffix for path in written} == {*kinds}
    assert written | others <= packed
    others = {"configs", "protocols", "references"}
    assert others <= {path.name for path in (unpacked / "dtn_jax").iterdir()}
    found = email.message_from_string((facts / "METADATA").read_text())
    assert found["Version"] == dtn_jax.__version__
    assert found["License-Expression"] == "Apache-2.0"
    assert found.get_all("Project-URL") == ["Paper, https://arxiv.org/abs/2408.11611"]
    assert "Typing :: Typed" in found.get_all("Classifier")


TINY = (
    "model.experts=mlp,model.mlp.hidden=4,model.expert_dim=4,model.tower_hidden=4,"
    "train.max_steps=2,parallel.devices=1"
)
# As README has it, then as `python -m dtn_jax` is called; one process, for each costs seconds.
USE = f"""
import runpy, sys
from dtn_jax.config import load_config
from dtn_jax.run.train import train

config = load_config("configs/adult.py:shared_bottom,quick,{TINY}")
config.seed = 7
train(config, "runs/mine")
sys.argv = ["dtn_jax", "train", "--config=configs/adult.py:soft_mmoe,quick,{TINY}",
            "--config.plugins=my_model.py", "--workdir=runs/soft"]
runpy.run_module("dtn_jax", run_name="__main__")
print("from", sys.modules["dtn_jax"].__file__)
print("decoys", {{"configs", "experiments"}} & set(sys.modules))
"""


@pytest.mark.slow
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
    mine, soft = (
        json.loads((tmp_path / "runs" / name / "results.json").read_text())
        for name in ("mine", "soft")
    )
    assert mine["test"]["income@all"]["positives"] == 3846
    assert (mine["architecture"], mine["seed"], mine["steps"]) == ("shared_bottom", 7, 2)
    assert (soft["architecture"], soft["steps"]) == ("soft_mmoe", 2)

"""The report of feature importance, from what is kept: of runs, and of the tables' models."""

import json
import shlex

import numpy as np
import pytest

from dtn_jax.analysis import explain
from dtn_jax.cli import command
from dtn_jax.config import identity
from dtn_jax.errors import UserError
from experiments import importance_report

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


def test_the_report_is_written_from_what_is_kept(explained, tmp_path, monkeypatch):
    monkeypatch.setattr(importance_report, "KEPT", tmp_path)
    with pytest.raises(UserError, match="holds no JSON"):
        importance_report.main([])
    with pytest.raises(UserError, match=r"run dtn-jax feature_importance first"):
        importance_report.main([f"--workdirs={explained[0]},{tmp_path}"])
    assert not list(tmp_path.iterdir())
    (tmp_path / "README.md").write_text(f"by hand\n{importance_report.BELOW}old")
    importance_report.main([f"--workdirs={explained[0]}"])
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"by hand\n{importance_report.BELOW}Divergence is")
    assert "## adult" in text
    assert "old" not in text.splitlines()
    assert "dtn-jax feature_importance --workdir=DIR/" in text
    importance_report.main(["--check"])
    (found,) = json.loads((tmp_path / "adult.json").read_text())
    assert found["gates"] == explained[1]["gates"]
    (tmp_path / "README.md").write_text(text + "by hand")
    with pytest.raises(UserError, match=r"is not what python -m experiments.importance_report"):
        importance_report.main(["--check"])


def test_runs_are_kept_by_seed(explained, tmp_path, monkeypatch):
    monkeypatch.setattr(importance_report, "KEPT", tmp_path)
    importance_report.main([f"--workdirs={explained[0]},{explained[0]}", "--name=twice"])
    assert len(json.loads((tmp_path / "twice.json").read_text())) == 2
    assert "## twice" in (tmp_path / "README.md").read_text()


def test_the_committed_report_is_what_is_written_from_the_committed_json():
    importance_report.main(["--check"])


def test_the_command_that_trained_a_run_trains_it_again(finished):
    facts = json.loads((finished / "config.json").read_text())
    words = shlex.split(importance_report.training_command(facts))
    assert words[:2] == ["dtn-jax", "train"]
    assert words[3] == "--workdir=runs/adult_mmoe"
    again = command.read_config(words[2].removeprefix("--config="), words[4:])
    assert identity(again) == identity(facts["config"])
    assert again.analysis.rows == 100


def test_what_is_not_finite_is_null_in_json():
    found = explain.plain({"a": np.float32(0.1), "b": [np.nan, 1, True], "c": np.arange(2)})
    assert found == {"a": 0.1, "b": [None, 1, True], "c": [0, 1]}

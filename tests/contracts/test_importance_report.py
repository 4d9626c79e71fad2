"""The report of feature importance, from what is kept: of runs, and of the tables' models."""

import json
import shlex
import shutil

import numpy as np
import pytest

from dtn_jax.analysis import written
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
    importance_report.main([f"--workdirs={explained[0]}"])
    names = {p.name for p in tmp_path.iterdir()}
    heat_maps = {f"adult_importance_{m}.png" for m in ("permutation", "gradient", "unknown")}
    assert names >= {"adult.json", "README.md", *heat_maps}
    text = (tmp_path / "README.md").read_text()
    assert "## adult" in text
    assert all(f"({name})" in text for name in (*heat_maps, "adult_gates.png"))
    assert "dtn-jax feature_importance --workdir=runs/adult_mmoe" in text
    importance_report.main(["--check"])
    found = json.loads((tmp_path / "adult.json").read_text())
    assert found["gates"] == explained[1]["gates"]
    (tmp_path / "README.md").write_text(text + "by hand")
    with pytest.raises(UserError, match=r"is not what python -m experiments.importance_report"):
        importance_report.main(["--check"])


def test_two_runs_of_one_data_set_are_refused(explained, tmp_path, monkeypatch):
    """And nothing is kept; one that is kept already is replaced."""
    monkeypatch.setattr(importance_report, "KEPT", tmp_path / "kept")
    one, other = explained[0], tmp_path / "other"
    shutil.copytree(one, other)
    with pytest.raises(UserError, match=r"are both runs of 'adult': expected one run a data set"):
        importance_report.main([f"--workdirs={one},{other}"])
    assert not (tmp_path / "kept").exists()
    importance_report.main([f"--workdirs={one},{one}"])
    importance_report.main([f"--workdirs={other}"])


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
    found = written.plain({"a": np.float32(0.1), "b": [np.nan, 1, True], ("c",): np.arange(2)})
    assert found == {"a": 0.1, "b": [None, 1, True], "('c',)": [0, 1]}


def test_what_is_asked_for_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(importance_report, "KEPT", tmp_path / "kept")
    for given, told in (
        (["--datasets=adult", "--seeds=0"], "--seeds=0: expected at least 1"),
        (["--datasets=adlut"], "dataset"),
        (["--datasets=adult"], "no finished run of dtn to explain"),
    ):
        with pytest.raises(UserError, match=told):
            importance_report.main([*given, f"--workdir={tmp_path}", "--cache_dir=none"])
    assert not (tmp_path / "kept").exists()

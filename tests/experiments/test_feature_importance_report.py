"""The report of feature importance, from what is kept, and its pictures."""

import json
import shlex
import shutil

import matplotlib.image
import numpy as np
import pytest
import watched_runs

from dtn_jax.analysis import figures, gate_figures, training_figures, written
from dtn_jax.config import identity
from dtn_jax.errors import UserError
from experiments import command, importance_report

pytest_plugins = ["finished_runs"]

in_the_repository = watched_runs.in_the_repository
finished = watched_runs.finished
explained = watched_runs.explained

# ---------------------------------------------------------------- what is kept


def test_the_report_is_written_from_what_is_kept(explained, tmp_path, monkeypatch):
    monkeypatch.setattr(importance_report, "KEPT", tmp_path)
    with pytest.raises(UserError, match="holds no JSON"):
        importance_report.main([])
    with pytest.raises(UserError, match=r"run experiments.feature_importance first"):
        importance_report.main([f"--workdirs={explained[0]},{tmp_path}"])
    assert not list(tmp_path.iterdir())
    importance_report.main([f"--workdirs={explained[0]}"])
    names = {p.name for p in tmp_path.iterdir()}
    heat_maps = {f"adult_importance_{m}.png" for m in ("permutation", "gradient", "unknown")}
    assert names >= {"adult.json", "README.md", *heat_maps}
    text = (tmp_path / "README.md").read_text()
    assert "## adult" in text
    assert all(f"({name})" in text for name in (*heat_maps, "adult_gates.png"))
    assert "python -m experiments.feature_importance --workdir=runs/adult_mmoe" in text
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
    facts = json.loads((finished[0] / "config.json").read_text())
    words = shlex.split(importance_report.training_command(facts))
    assert words[:3] == ["python", "-m", "experiments.train"]
    assert words[4] == "--workdir=runs/adult_mmoe"
    again = command.read_config(words[3].removeprefix("--config="), words[5:])
    assert identity(again) == identity(facts["config"])
    assert again.analysis.rows == 100


# ---------------------------------------------------------------- pictures


def test_pictures_of_odd_sizes(tmp_path, drawn):
    use = {"click": {f"shared/mlp_{m}": 1 / 6 for m in range(6)}}
    gate_figures.gates(use, {}, {}, "", ("click",), tmp_path / "gates.png")
    lines = {"gate": {}, "cosine": {("a", "b"): [[1, None], [2, 0.5]], ("a", "c"): [[1, None]]}}
    lines["cosine_half"] = {("a", "b"): [[1, None], [2, None]]}
    training_figures.over_training(lines, ("a", "b", "c"), tmp_path / "lines.png")
    for name in ("gates", "lines"):
        assert min(matplotlib.image.imread(tmp_path / f"{name}.png").shape[:2]) > 100


def test_numbers_have_three_digits():
    values = (123.4, 99.51, 12.34, 9.949, 0.123, 0.0051, -0.004, -3.0, 0)
    assert [figures.number(v) for v in values] == [
        "123", "100", "12.3", "9.95", "0.12", "0.01", "0.00", "-3.00", "0.00"
    ]  # fmt: skip


def test_what_is_not_finite_is_null_in_json():
    found = written.plain({"a": np.float32(0.1), "b": [np.nan, 1, True], ("c",): np.arange(2)})
    assert found == {"a": 0.1, "b": [None, 1, True], "('c',)": [0, 1]}

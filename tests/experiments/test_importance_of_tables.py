"""importance_report on the tuned models of paper tables, over their seeds."""

import argparse
import json
import types

import pytest
from untrained_tables import TINY, untuned

from dtn_jax.analysis.explain import Settings
from dtn_jax.errors import UserError
from experiments import importance_report
from experiments.tables import finished, tuning

pytest_plugins = ["table_fixtures"]
FEW = Settings(methods=("permutation",), repeats=1, rows=2000)
KEYS = ["income@all", "never_married@all"]


def of_seed(seed, architecture="dtn"):
    """What is found of a seed's model, invented."""

    def both(value):
        return [[0.0, value], [value, 0.0]]

    between = {"keys": KEYS, "value": both(0.1 * seed), "low": both(0.05), "high": both(0.25)}
    importance = {
        key: {field: {"mean": 0.1 * i, "error": 0.01} for i, field in enumerate("abc", seed)}
        for key in KEYS
    }
    method = {
        "base": dict.fromkeys(KEYS, 0.9),
        "importance": importance,
        "divergence": between | {"itself": [0.02, 0.02]},
    }
    return {
        "dataset": "adult",
        "architecture": architecture,
        "experts": "mlp",
        "step": 10 * seed,
        "date": "2026-01-01",
        "versions": {"jax": "1.2", "python": "3.12"},
        "arguments": [],
        "split": "validation",
        "rows": 1234,
        "undefined": [],
        "methods": {"permutation": method},
        "truth": {},
        "gates": {},
        "conflict": {},
        "over_training": {"gates": {}},
        "pairs": {},
    }


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Folders of the finished runs of seeds 1 and 2, and the names of those that were explained."""
    explained = []

    def explain(config, run, settings):
        explained.append(run.name)
        found = of_seed(int(run.name))
        (run / "importance").mkdir()
        (run / "importance" / "importance.json").write_text(json.dumps(found))
        (run / "importance" / "importance_permutation.png").write_text("of one model")
        return found

    def folder(work, entry, seed):
        assert (entry.name, entry.settings) == ("dtn", {})
        path = tmp_path / "runs" / str(seed)
        return path if path.exists() else None

    for seed in "12":
        (tmp_path / "runs" / seed).mkdir(parents=True)
    places = {"data.data_dir": "", "data.manual_dir": ""}
    work = types.SimpleNamespace(protocol=TINY, places=places)
    monkeypatch.setattr(importance_report, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(importance_report, "config_of", lambda *_: None)
    monkeypatch.setattr(importance_report, "explained", explain)
    monkeypatch.setattr(finished, "works", lambda known: {"adult": work})
    monkeypatch.setattr(finished, "folder", folder)
    return tmp_path / "runs", explained


def test_the_tables_models_are_kept_over_seeds_and_explained_once(runs, tmp_path, capsys):
    importance_report.main(["--datasets=adult", "--seeds=3"])
    assert runs[1] == ["1", "2"]
    assert "not finished yet: adult, seed 3" in capsys.readouterr().out
    one, two = json.loads((tmp_path / "kept" / "adult.json").read_text())
    assert (one["seed"], two["seed"], two["step"]) == (1, 2, 20)
    text = (tmp_path / "kept" / "README.md").read_text()
    row = "| adult | income@all, never_married@all | 2 | 0.150 ± 0.071 | 0.050 to 0.250 |"
    assert row in text
    assert "the best states of seeds 1, 2 (step 10, 20)" in text
    assert "paper_tables --dataset=adult --table=overall --entries=dtn --seeds=2" in text
    assert "importance_report --datasets=adult --seeds=2 --workdir=runs/paper" in text
    assert "![Importance by permutation, fields × tasks](adult_importance_permutation.png)" in text
    picture = tmp_path / "kept" / "adult_importance_permutation.png"
    assert picture.read_bytes()[:4] == b"\x89PNG"  # of both
    importance_report.main(["--check"])
    importance_report.main(["--datasets=adult", "--seeds=2"])
    assert runs[1] == ["1", "2"]


def test_a_run_that_was_explained_otherwise_or_is_damaged_is_explained_anew(runs, monkeypatch):
    importance_report.main(["--datasets=adult", "--seeds=2"])
    (runs[0] / "1" / "importance" / "importance.json").write_text("{")
    other = json.dumps(of_seed(2) | {"arguments": ["--rows=9"]})
    (runs[0] / "2" / "importance" / "importance.json").write_text(other)
    explained = []
    monkeypatch.setattr(
        importance_report, "explained", lambda c, run, s: explained.append(run.name) or of_seed(1)
    )
    importance_report.main(["--datasets=adult", "--seeds=2"])
    assert explained == ["1", "2"]


def test_a_single_seed_is_kept_and_shown_as_a_run_is(runs, tmp_path):
    importance_report.main(["--datasets=adult", "--seeds=2"])
    importance_report.main(["--datasets=adult", "--seeds=1"])
    found = json.loads((tmp_path / "kept" / "adult.json").read_text())
    assert found["seed"] == 1
    picture = tmp_path / "kept" / "adult_importance_permutation.png"
    assert picture.read_text() == "of one model"
    assert not (tmp_path / "kept" / "adult_divergence.png").exists()  # of both
    text = (tmp_path / "kept" / "README.md").read_text()
    assert "| adult | income@all, never_married@all | 1 | 0.100 | 0.050 to 0.250 |" in text
    assert "± half its 95 % interval" in text


def test_without_a_finished_run_nothing_is_kept(runs, tmp_path):
    for seed in "12":
        (runs[0] / seed).rmdir()
    with pytest.raises(UserError, match="no finished run of dtn to explain: make a table of adult"):
        importance_report.main(["--datasets=adult"])
    assert not (tmp_path / "kept").exists()


def test_what_is_asked_for_is_checked(tmp_path):
    known = {"datasets": "adult", "seeds": 0, "workdir": str(tmp_path), "cache_dir": "none"}
    with pytest.raises(UserError, match="--seeds=0: expected at least 1"):
        finished.works(argparse.Namespace(**known))
    with pytest.raises(UserError, match="dataset"):
        finished.works(argparse.Namespace(**known | {"datasets": "adlut"}))


@pytest.mark.slow
def test_trained_models_of_tables_are_explained(call, prepared_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "tune", untuned)
    call("--seeds=2", "--entries=dtn")
    monkeypatch.setattr(finished, "load", lambda path: TINY)
    monkeypatch.setattr(importance_report, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(importance_report, "SETTINGS", FEW)
    places = [f"--workdir={tmp_path}", f"--data_dir={prepared_dir}"]
    importance_report.main(["--datasets=adult", "--seeds=2", *places])
    one, two = json.loads((tmp_path / "kept" / "adult.json").read_text())
    assert (one["rows"], one["run"][:9], two["run"][:9]) == (2000, "dtn-seed1", "dtn-seed2")
    key = "never_married@all"
    values = [o["methods"]["permutation"]["importance"][key]["age"]["mean"] for o in (one, two)]
    assert values[0] != values[1]
    assert "segments" not in one["gates"]
    monkeypatch.setattr(importance_report, "explained", None)
    importance_report.main(["--datasets=adult", "--seeds=2", *places])

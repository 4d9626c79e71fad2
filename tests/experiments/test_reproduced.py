"""Whether the shipped configs give their tables' rows: the runs, and what is said of them."""

import json

import pytest

from dtn_jax.errors import UserError
from experiments import reproduced
from experiments.results_table import PAPER, RESULTS
from experiments.tables.kept import read_json


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Where tables lie: one of adult, in which never_married has too few examples."""
    row = {"name": "dtn", "few": ["never_married@all"]}
    row["metrics"] = {
        "income@all": {"auc": [0.90, 0.91, 0.92]},
        "never_married@all": {"auc": [0.9, 0.9, 0.9]},
    }
    (tmp_path / "adult").mkdir()
    rows = {"rows": [row | {"name": "mmoe"}, row]}
    (tmp_path / "adult" / "overall.json").write_text(json.dumps(rows))
    monkeypatch.setattr(reproduced, "PAPER", tmp_path)
    return tmp_path


def test_a_run_stands_beside_its_row(tables, prepared_dir, capsys, monkeypatch):
    monkeypatch.setattr(reproduced, "SPEC", "configs/{}.py:dtn,quick,train.max_steps=3")
    runs = f"--workdir={tables / 'runs'}"
    reproduced.main(["--datasets=adult", runs, f"--data_dir={prepared_dir}"])
    kept = read_json(tables / reproduced.FILE)["adult"]
    found = json.loads((tables / "runs" / "adult" / "results.json").read_text())
    test = found["test"]
    assert kept["test"] == {key: own["auc"] for key, own in test.items()}
    assert kept["seed"] == found["seed"] == reproduced.SEED
    away = f"{(test['income@all']['auc'] - 0.91) / 0.01:+.1f}".replace("-", "−")
    assert f"| {test['income@all']['auc']:.4f} | {away} |" in capsys.readouterr().out


@pytest.mark.parametrize(("auc", "away", "near"), [(0.929, "+1.9", 1), (0.889, "−2.1", 0)])
def test_how_far_a_run_is_from_its_row(auc, away, near, tables):
    test = {"income@all": auc, "never_married@all": 0.5}
    told = reproduced.table({"adult": {"test": test}})
    assert f"| adult | income@all | 0.9100 ± 0.0100 | {auc:.4f} | {away} |" in told
    assert "never_married" not in told
    assert f"{near} of 1 lie within 2 sd. If seeds vary normally, 77% are expected to" in told


def test_what_is_kept_is_of_todays_configs():
    kept = read_json(RESULTS / PAPER / reproduced.FILE)
    today = {name: reproduced.options(reproduced.SPEC.format(name)) for name in reproduced.NAMES}
    assert {name: run["options"] for name, run in kept.items()} == today


def test_the_digest_tells_settings_apart():
    first, second = (reproduced.options(f"configs/adult.py:{a}") for a in ("dtn", "mmoe"))
    assert first != second == reproduced.options("configs/adult.py:mmoe,train.log_every=7")


def test_a_set_without_a_table_is_refused_before_any_training(tables):
    with pytest.raises(UserError, match="no table of data set 'synthetic'"):
        reproduced.main(["--datasets=adult,synthetic", f"--workdir={tables / 'runs'}"])
    assert not (tables / "runs").exists()
    with pytest.raises(UserError, match="no workdir"):
        reproduced.main(["--datasets=adult"])

"""Paper tables of own logs: by the default protocol or a file, a regression among the tasks."""

import json
import shutil

import invented_runs
import pytest
from invented_runs import DRAWN
from world import log

from dtn_jax.cli import paper_tables
from dtn_jax.papertables import references as known
from dtn_jax.papertables import runs, tune
from dtn_jax.papertables.entries import TABLES
from experiments import references


@pytest.fixture(scope="module")
def shop(prepared_dir):
    return log.shared(prepared_dir)[1:]


def invented(config, folder):
    """A run that costs nothing."""
    auc = 0.8 + config.seed / 1000 + len(config.model.architecture) / 10_000

    def of_shop(results, draws):
        ranked = {"auc": auc, "logloss": 0.3, "positives": 500, "examples": 1000}
        results["test"] = {f"{task}@all": ranked for task in ("click", "order")}
        results["test"]["watch@all"] = {"rmse": auc, "mae": 0.5, "r2": 0.25, "examples": 400}
        for task in ("click", "order"):
            draws[f"{task}@all"] = auc + DRAWN

    invented_runs.invented(config, folder, auc, edit=of_shop)


@pytest.fixture
def tables(shop, tmp_path, monkeypatch):
    """(--config's file, more arguments) -> the folder of the tables."""

    def made(source, *arguments):
        given = [source, f"--data_dir={shop[1] / 'data'}", f"--workdir={tmp_path}", *arguments]
        paper_tables.main([*given, "--seeds=2"])
        return tmp_path

    monkeypatch.setattr(runs, "train", invented)
    monkeypatch.setattr(runs, "draw", lambda folder, draws: None)
    monkeypatch.setattr(tune, "tune", lambda *_: tune.UNTUNED)
    return made


def config(folder):
    return f"--config=configs/logs.py:schema={folder / 'shop.yaml'}"


@pytest.mark.slow
def test_a_log_needs_no_protocol_file(tables, shop, tmp_path, monkeypatch, capsys):
    folder = tables(config(shop[1]), "--table=overall") / "shop"
    found = json.loads((folder / "overall.json").read_text())
    assert found["dataset"] == "shop"
    names = [row["name"] for row in found["rows"]]
    assert names[0] == "dtn"
    assert {"shared_bottom", "single_task", "mmoe", "ple", "aitm", "stem", "adatt"} < set(names)
    shown = (folder / "overall.md").read_text()
    assert shown.startswith("# All architectures: shop")
    assert "AUC click@all" in shown
    assert "AUC watch@all" not in shown
    assert "|  | watch@all |" in shown  # RMSE, MAE and R²
    assert "Regressions have no AUC, and are not tested: watch@all." in shown
    assert "watch@all" not in found["rows"][1]["comparison"]
    for suffix in (".tex", ".csv", "_cost.png"):
        assert (folder / f"overall{suffix}").exists()
    # Moved, with a comment: the same runs.
    monkeypatch.setattr(runs, "train", None)
    monkeypatch.setattr(tune, "tune", None)
    log.schema_file(tmp_path / "elsewhere", log.SCHEMA + "# moved\n")
    again = tables(config(tmp_path / "elsewhere"), "--table=overall") / "shop"
    assert json.loads((again / "overall.json").read_text())["rows"] == found["rows"]


@pytest.mark.nightly
def test_all_tables(tables, shop):
    small = "model.expert_dim=8,model.tower_hidden=(8,)"
    folder = tables(f"{config(shop[1])},{small}", "--table=all") / "shop"
    assert not (folder / "divergence.json").exists()  # a log has no dials
    for table in [table for table in TABLES if table != "divergence"]:
        found = json.loads((folder / f"{table}.json").read_text())
        assert found["missing"] == {}
        assert found["rows"][0]["metrics"]["watch@all"]["r2"] == [0.25, 0.25]
        assert (folder / f"{table}.md").stat().st_size > 500


def test_logistic_regression_reads_bags_numbers_and_vectors(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(references, "STRENGTHS", (0.1,))
    shutil.copytree(shop[1] / "data", tmp_path / "data")  # it leaves a file there
    source = ["--dataset=logs", f"--options=schema={shop[1] / 'shop.yaml'}"]
    references.main([*source, "--model=logistic", f"--data_dir={tmp_path / 'data'}"])
    (file,) = (tmp_path / "data/logs/shop").glob(known.file_of(shop[0]).name)
    (found,) = json.loads(file.read_text()).items()
    assert found[0] == "logistic"
    assert set(found[1]["test"]) == {"click@all", "order@all", "order@click"}


def test_references_of_sampled_negatives_are_calibrated(tmp_path, monkeypatch):
    """By weights, as our runs."""
    monkeypatch.setattr(references, "STRENGTHS", (0.001,))
    text = log.SCHEMA + "sample_negatives: {click: 0.1}\n"
    data = log.prepared(tmp_path, log.rows(3000), text)
    source = ["--dataset=logs", f"--options=schema={tmp_path / 'shop.yaml'}"]
    references.main([*source, "--model=logistic", f"--data_dir={tmp_path / 'data'}"])
    test = json.loads(known.file_of(data).read_text())["logistic"]["test"]
    assert test["click@all"]["predicted_observed"] == pytest.approx(1, abs=0.1)

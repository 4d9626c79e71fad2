"""What the repository keeps of tables, and what configs are tuned to."""

import json
import pathlib

import pytest

from dtn_jax.config.files import TUNED
from experiments.results_table import PAPER, RESULTS
from experiments.tables import committed, kept

MEBIBYTES = 2.0  # of experiments/results


@pytest.mark.parametrize("path", sorted(TUNED.glob("*.json")), ids=lambda path: path.stem)
def test_configs_are_tuned_as_their_tables_rows(path):
    found = kept.read_json(RESULTS / PAPER / path.stem / "overall.json")
    settings = committed.tuned(path.stem, found)
    assert "dtn" in settings
    assert settings == json.loads(path.read_text())


def test_results_stay_small():
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".md"}
    assert sum(path.stat().st_size for path in files) < MEBIBYTES * 2**20


def test_a_table_is_kept_without_pictures_and_with_the_metrics_that_are_printed(tmp_path):
    row = {"name": "dtn", "metrics": {"click@all": {"auc": [1 / 3], "mrr": [0.5]}}, "examples": 7}
    source, target = tmp_path / "runs", tmp_path / "kept"
    source.mkdir()
    kept.keep(source / "overall.json", {"rows": [row]})
    (source / "overall.md").write_text("# Title\n\n![AUC](overall.png)\n\nText.\n")
    (source / "overall.csv").write_text("a,b")
    committed.keep(source, target)
    assert {path.name for path in target.iterdir()} == {"overall.json", "overall.md"}
    assert (target / "overall.md").read_text() == "# Title\n\nText.\n"
    found = kept.read_json(target / "overall.json")
    row["metrics"]["click@all"] = {"auc": [0.33333333]}
    assert found == {"rows": [row]}
    committed.keep(target, target)
    assert kept.read_json(pathlib.Path(target / "overall.json")) == found

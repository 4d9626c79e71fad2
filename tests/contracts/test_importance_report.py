"""The report of feature importance, from what is kept: of runs, and of the tables' models."""

import json

import numpy as np
import pytest

from dtn_jax.analysis import explain
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
    importance_report.main(["--check"])
    (found,) = json.loads((tmp_path / "adult.json").read_text())
    assert found["importance"] == explained[1]["importance"]
    assert {row["part"] for row in found["gates"]} == {"all rows"}
    (tmp_path / "README.md").write_text(text + "by hand")
    with pytest.raises(UserError, match=r"is not what python -m experiments.importance_report"):
        importance_report.main(["--check"])


def test_the_committed_report_is_what_is_written_from_the_committed_json():
    importance_report.main(["--check"])


def test_what_is_not_finite_is_null_in_json():
    found = explain.plain_numbers({"a": 0.123456789, "b": [np.nan, 1, True]})
    assert found == {"a": 0.123457, "b": [None, 1, True]}

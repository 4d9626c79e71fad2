"""Models from outside, as references beside ours."""

import json

import pytest

from dtn_jax.data.sets import catalog
from dtn_jax.papertables import references
from experiments import references as trained

METRICS = {"auc", "logloss", "ece", "predicted_observed"}


@pytest.fixture
def call(monkeypatch, tmp_path):
    """(dataset, model, options, data_dir) -> the records of its references, in tmp_path."""
    monkeypatch.setattr(references, "REFERENCES", tmp_path)
    monkeypatch.setattr(trained, "STRENGTHS", (0.1,))

    def run(dataset, model, options, data_dir):
        source = [f"--dataset={dataset}", f"--options={options}", f"--data_dir={data_dir}"]
        trained.main([*source, f"--model={model}"])
        return json.loads((tmp_path / f"{dataset}.json").read_text())

    return run


@pytest.mark.slow
def test_logistic_regression(call, prepared_dir):
    kept = call("adult", "logistic", "", prepared_dir)["logistic"]
    found = kept["test"]["income@all"]
    assert 0.90 < found["auc"] < 0.93  # one-hot regression is known to reach 0.91
    assert found.keys() >= METRICS
    assert 0.27 < found["logloss"] < 0.32
    assert found["predicted_observed"] == pytest.approx(1, abs=0.05)
    assert kept["version"].startswith("scikit-learn ")
    assert kept["chosen"]["income"] == {"C": 0.1}
    assert "strengths of L2" in kept["note"]


@pytest.mark.slow
def test_the_same_rows_encoded_otherwise_stand_in_one_table(call, prepared_dir, tmp_path):
    kept = call("adult", "logistic", "numbers=standardise", tmp_path / "data")
    data = catalog.load("adult", "", str(prepared_dir))
    (found,) = kept.values()
    assert found["data"] != data.fingerprint
    assert found["rows"] == references.rows_of(data)
    beside = references.of_data(data)
    assert list(beside) == ["logistic, numbers=standardise"]
    (path,) = tmp_path.glob("adult.json")
    path.write_text(json.dumps({"a": found | {"rows": "others"}, "older": {"data": "x"}}))
    assert references.of_data(data) == {}

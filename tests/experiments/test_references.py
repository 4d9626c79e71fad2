"""Models from outside, as references beside ours."""

import json

from experiments.tables import references


def test_logistic_regression(prepared_dir, monkeypatch, tmp_path):
    monkeypatch.setattr(references, "REFERENCES", tmp_path)
    monkeypatch.setattr(references, "STRENGTHS", (0.1,))
    references.main(["--dataset=adult", "--model=logistic", f"--data_dir={prepared_dir}"])
    kept = json.loads((tmp_path / "adult.json").read_text())["logistic"]
    assert 0.90 < kept["test"]["income@all"] < 0.93  # one-hot regression is known to reach 0.91
    assert kept["version"].startswith("scikit-learn ")


def test_those_of_other_options_stand_beside(tmp_path, monkeypatch):
    monkeypatch.setattr(references, "REFERENCES", tmp_path)
    monkeypatch.setattr(references, "STRENGTHS", (0.1,))
    for options in ("rows=1000", "rows=2000"):
        source = ["--dataset=synthetic", f"--options={options}", f"--data_dir={tmp_path / 'data'}"]
        references.main([*source, "--model=logistic"])
    kept = json.loads((tmp_path / "synthetic.json").read_text())
    assert list(kept) == ["logistic, rows=1000", "logistic, rows=2000"]
    assert len({found["data"] for found in kept.values()}) == 2

"""The experiment on tasks whose answers are known: `experiments/known_answers.py`."""

import numpy as np
import pytest

from experiments import known_answers

RESULT = known_answers.OUT.read_text()


def cells(text):
    """{the first cell of a row: the others}"""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {first: others for first, *others in rows}


@pytest.mark.slow
def test_the_tables_of_a_small_run(tmp_path, monkeypatch):
    monkeypatch.setattr(known_answers, "OUT", tmp_path / "table.md")
    monkeypatch.setattr(known_answers, "EPOCHS", 1)
    few = ["--seeds=1", "--rows=3000", "--methods=escm2 dr", "--experts=fm"]
    known_answers.main([f"--workdir={tmp_path / 'runs'}", *few])
    table = cells(known_answers.OUT.read_text())
    assert table["the truth"][0] == "1.000"
    assert float(table["mean of clicked rows"][0]) > 1.2  # clicks are biased
    assert float(table["escm2 dr"][1].split()[0]) > float(table["the truth"][1])
    parameters, *losses = table["fm"]
    assert parameters == "929"
    assert all(0.6 < float(loss.split()[0]) < 0.8 for loss in losses)


def test_the_truth_has_the_least_expected_loss():
    rng = np.random.default_rng(0)
    q = rng.uniform(0.01, 0.99, 1000)
    assert known_answers.expected_loss(q, q) < known_answers.expected_loss(q, q**2)


@pytest.mark.parametrize("name", known_answers.METHODS)
def test_the_committed_table_has_every_method(name):
    assert name in cells(RESULT)

"""Comparison, references and the tables of README.md, at small sizes."""

import dataclasses
import json
import pathlib
import re

import pytest

from dtn_jax import architectures, options
from dtn_jax.datasets import catalog
from dtn_jax.schema import UserError
from experiments import benchmark, compare, references, results_table
from experiments.suites.measured import Goal, Measured

TINY = compare.Protocol(
    config="configs/adult.py",
    common={
        "train.max_steps": 3,
        "data.batch_size": 256,
        "parallel.devices": 1,
        "model.embedding_dim": 4,
        "model.expert_dim": 4,
        "model.mlp.hidden": (),
        "model.tower_hidden": (),
        "model.experts": "mlp",
    },
    entries={
        "wide": {"model.architecture": "shared_bottom", "model.experts": "mlp*2"},
        "mmoe": {"model.architecture": "mmoe"},
    },
    space={"optim.learning_rate": (1e-9, 1e-2), "model.dropout": (0.0, 0.1, 0.2)},
    trials=2,
    seeds=(1, 2),
)


@pytest.fixture(autouse=True)
def results_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(references, "REFERENCES", tmp_path / "results" / "references")
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    monkeypatch.setitem(compare.PROTOCOLS, "adult", TINY)
    return tmp_path / "results"


def test_trials_are_distinct_points_of_the_space_and_always_the_same():
    drawn = dataclasses.replace(TINY, trials=5).settings()
    assert drawn == dataclasses.replace(TINY, trials=5).settings()
    assert len({tuple(d.items()) for d in drawn}) == 5
    assert len(dataclasses.replace(TINY, trials=100).settings()) == 6  # the whole space
    for settings in drawn:
        assert all(settings[key] in values for key, values in TINY.space.items())


def test_the_shipped_protocols_are_possible(prepared_dir):
    """Every option and value of every protocol is accepted by the model's checks."""
    schema = catalog.load("adult", data_dir=prepared_dir).schema
    for protocol in compare.PROTOCOLS.values():
        for name in protocol.entries:
            config = options.load_config(protocol.config)
            settings = {
                **protocol.common,
                **protocol.entries[name],
                **next(iter(protocol.settings()), {}),
            }
            for key, value in settings.items():
                options.override(config, key, str(value))
            options.check(config)
            architectures.build(config.model, schema)


def test_compare_and_table(prepared_dir, tmp_path, results_folder, monkeypatch):
    arguments = ["--dataset=adult", f"--workdir={tmp_path}/runs", f"--data_dir={prepared_dir}"]
    compare.main([*arguments, "--entries=wide"])
    compare.main([*arguments, "--entries=mmoe"])
    found = json.loads((results_folder / "adult.json").read_text())
    assert set(found["entries"]) == {"wide", "mmoe"}
    for entry in found["entries"].values():
        assert [t["settings"] for t in entry["tuning"]] == found["protocol"]["drawn"]
        best = max(entry["tuning"], key=lambda t: t["validation"])
        assert entry["settings"] == best["settings"]
        assert [run["seed"] for run in entry["runs"]] == [1, 2]
        assert all("test" in run for run in entry["runs"])
    trial = json.loads((tmp_path / "runs/adult/wide/trial0/results.json").read_text())
    assert "test" not in trial
    assert found["entries"]["mmoe"]["runs"][0]["experts"] == "mlp"

    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results: adult -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(results_table, "DOCUMENTS", (readme,))
    with pytest.raises(UserError, match="is not what"):
        results_table.main(["--check"])
    results_table.main([])
    results_table.main(["--check"])
    lines = readme.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    aucs = [run["test"]["income@all"]["auc"] for run in found["entries"]["wide"]["runs"]]
    row = next(line for line in lines if line.startswith("| `wide` |"))
    assert f"{sum(aucs) / 2:.4f} ± " in row
    assert sum(line.startswith("| `mmoe` |") for line in lines) == 1


def test_without_trials_the_common_settings_are_trained(prepared_dir, tmp_path):
    protocol = dataclasses.replace(TINY, space={}, trials=0, seeds=(1,))
    entry = compare.run_entry(protocol, "mmoe", tmp_path / "runs", {"data.data_dir": prepared_dir})
    assert entry["settings"] == {}
    assert entry["tuning"] == []
    assert [run["steps"] for run in entry["runs"]] == [3]


def test_numbers_in_tables():
    assert results_table.short(60_331_924) == "60.3 M"
    assert results_table.short(1_192) == "1.19 k"
    assert results_table.spread([0.5, 0.7], 4) == "0.6000 ± 0.1414"
    assert results_table.spread([0.5], 4) == "0.5000"


def test_logistic_regression_as_a_reference(prepared_dir, results_folder, monkeypatch):
    monkeypatch.setattr(references, "STRENGTHS", (0.1,))
    references.main(["--dataset=adult", "--model=logistic", f"--data_dir={prepared_dir}"])
    kept = json.loads((results_folder / "references" / "adult.json").read_text())["logistic"]
    assert 0.90 < kept["test"]["income@all"] < 0.93  # one-hot regression is known to reach 0.91
    assert kept["version"].startswith("scikit-learn ")


def test_the_documents_say_what_the_results_say(monkeypatch):
    monkeypatch.undo()  # the true results
    results_table.main(["--check"])


def test_links_lead_somewhere():
    documents = [pathlib.Path("README.md"), *pathlib.Path("experiments").rglob("*.md")]
    links = [
        (document, link)
        for document in documents
        for link in re.findall(r"\]\(([^):]+)\)", document.read_text())
    ]
    assert len(links) > 20
    assert [(d, link) for d, link in links if not (d.parent / link).exists()] == []


def test_the_performance_table_has_every_goal(results_folder, monkeypatch, tmp_path):
    folder = results_folder / "benchmark"
    goals = [Goal("share", 0.8, 0.9), Goal("ratio", 1.1, 1.25, at_least=False)]
    benchmark.write(folder, "step", Measured("ms", [{"a": 1}], goals), 12.3)
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results: benchmark -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(results_table, "DOCUMENTS", (readme,))
    results_table.main([])
    lines = readme.read_text().splitlines()
    assert "| step | share | 0.9 | ≥ 0.8 |  |" in lines
    assert "| step | ratio | 1.25 | ≤ 1.1 | missed |" in lines
    assert any("12 s" in line and "jax " in line for line in lines)
    assert lines[0] == "before"
    assert "old" not in lines
    readme.write_text("<!-- results: benchmark_summary -->\n<!-- end -->\n")
    results_table.main([])
    lines = readme.read_text().splitlines()
    assert "| step | ratio | 1.25 | ≤ 1.1 | missed |" in lines
    assert not any("| step | share |" in line for line in lines)  # met
    assert any(line.startswith("1 of 2 goals are met") for line in lines)

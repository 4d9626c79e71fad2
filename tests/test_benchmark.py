"""The benchmark command and its suites, at tiny sizes."""

import json
import os

import numpy as np
import pytest

from dtn_jax.schema import UserError
from experiments import benchmark
from experiments.suites import evaluation, programs, tables
from experiments.suites.measured import Goal, Measured, Options, timed_in_turns


def test_a_goal_says_whether_it_is_met():
    assert Goal("speed", 2.0, 2.5).met
    assert not Goal("ratio", 1.1, 1.2, at_least=False).met
    assert Goal("ratio", 1.1, 1.2, at_least=False).text() == "ratio: 1.2, goal ≤ 1.1: missed"


def test_functions_take_turns():
    called = []
    functions = {name: lambda name=name: called.append(name) for name in "ab"}
    seconds = timed_in_turns(functions | {"own": lambda: 7.0}, 3)
    assert called == ["a", "b"] * 3
    np.testing.assert_array_equal(seconds["own"], [7.0] * 3)


def test_the_command_shows_and_writes_what_a_suite_found(capsys, monkeypatch, tmp_path):
    def measure(options):
        assert options.quick
        assert options.data_dir == "here"
        return Measured("of all", [{"what": "one", "ms": 1234.5}], [Goal("g", 1, 2)], ["mind"])

    monkeypatch.setattr(benchmark, "SUITES", {"own": measure})
    benchmark.main(["--suite=all", "--quick", f"--out={tmp_path}", "--data_dir=here"])
    shown = capsys.readouterr().out
    for text in ("of all", "one", "1,234", "g: 2, goal ≥ 1: met", "mind"):
        assert text in shown
    written = json.loads((tmp_path / "own.json").read_text())
    assert written["rows"] == [{"what": "one", "ms": 1234.5}]
    assert {"machine", "versions", "date", "command"} <= set(written)


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(UserError, match="tables"):
        benchmark.main(["--suite=tabels"])
    with pytest.raises(UserError, match="--out"):
        benchmark.main(["--suite=tables", "--quick"])


def test_the_suite_tables_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "OPTIMIZERS", ("sgd",))
    monkeypatch.setattr(tables, "IDS", ("zipf", "equal"))
    benchmark.main(["--suite=tables", "--quick", f"--out={tmp_path}"])
    rows = json.loads((tmp_path / "tables.json").read_text())["rows"]
    assert [row["ids"] for row in rows] == ["zipf", "equal"]
    assert rows[0]["loop, 0.02 M"] > 0


def test_the_suite_evaluation_runs_and_its_values_agree(tmp_path):
    benchmark.main(["--suite=evaluation", "--quick", f"--out={tmp_path}"])
    found = json.loads((tmp_path / "evaluation.json").read_text())
    rows = {row["metric"]: row for row in found["rows"]}
    assert rows["AUC"]["value"] == pytest.approx(rows["AUC, scikit-learn"]["value"], rel=1e-12)
    assert rows["GAUC"]["value"] == pytest.approx(rows["GAUC, polars"]["value"], rel=1e-12)
    assert rows["GAUC"]["value"] != rows["AUC"]["value"]
    differences = [g for g in found["goals"] if "difference" in g["name"]]
    assert len(differences) == 4
    assert all(g["got"] <= g["wanted"] == evaluation.SAME for g in differences)
    assert all(row["seconds"] > 0 for row in found["rows"])
    assert rows["GAUC"]["extra memory, x scores"] > 1
    assert rows["GAUC, polars"]["extra memory, x scores"] is None


def test_the_loop_over_groups_is_extrapolated(monkeypatch):
    monkeypatch.setattr(
        evaluation, "timed_in_turns", lambda f, rounds: {k: f[k]() or np.ones(1) for k in f}
    )
    rows = {r["metric"]: r for r in evaluation.measure(Options(quick=True)).rows}
    groups = np.unique(evaluation.random_rows(20_000, 2_000).group).size
    assert rows["GAUC, loop over groups"]["seconds"] == pytest.approx(groups / 100)
    assert rows["GAUC"]["seconds"] == 1


def test_the_suite_sharded_runs(tmp_path):
    benchmark.main(["--suite=sharded", "--quick", f"--out={tmp_path}"])
    found = json.loads((tmp_path / "sharded.json").read_text())
    rows = {row["strategy"]: row for row in found["rows"]}
    assert list(rows) == ["shard", "pmap", "XLA alone"]
    assert all(row["ms a step"] > 0 for row in found["rows"])
    for name, devices in (("shard", 2), ("pmap", 1), ("XLA alone", 2)):
        part = rows[name]["of all, MB"] / devices
        assert rows[name]["tables and slots, MB"] == pytest.approx(part, rel=0.02)
    assert rows["shard"]["reduce-scatter, MB"] > 0
    assert [g["wanted"] for g in found["goals"]] == [1.02, 1, 1]


def test_the_suite_plan_runs_and_predicts_what_is_compiled(tmp_path):
    benchmark.main(["--suite=plan", "--quick", f"--out={tmp_path}"])
    found = json.loads((tmp_path / "plan.json").read_text())
    assert all(Goal(**goal).met for goal in found["goals"])
    checked, *planned = found["rows"]
    assert checked["held, compiled"] > 0
    assert checked["hours an epoch"] is None
    assert len(planned) == 3
    assert all(row["hours an epoch"] > 0 for row in planned)
    assert all(row["tables and slots, MB"] > 3000 for row in planned)


def test_devices_are_simulated_where_there_are_too_few(monkeypatch, tmp_path):
    (tmp_path / "counting.py").write_text(
        "import jax\n"
        "from experiments.suites.programs import print_lines\n"
        "print_lines(lambda quick: [{'devices': len(jax.devices()), 'quick': quick}])\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(programs, "SIMULATED", 9)
    found = programs.on_many_devices("counting", lambda quick: [], True)
    assert found == [{"devices": 9, "quick": True}]
    monkeypatch.setattr(programs, "SIMULATED", 8)
    assert programs.on_many_devices("counting", lambda quick: [{"here": 1}], True) == [{"here": 1}]

"""The benchmark command and its suites, at tiny sizes."""

import json
import os
import sys

import numpy as np
import pytest

from configs import adult
from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema, Task
from experiments import benchmark
from experiments.suites import (
    ali_ccp,
    evaluation,
    gpu,
    peer_install,
    peers,
    pipeline,
    programs,
    replicas,
    step,
    tables,
)
from experiments.suites.measured import Goal, Measured, Options, timed_in_turns
from experiments.suites.widened import widen


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


@pytest.mark.slow
def test_the_suite_tables_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "census_income", adult)
    monkeypatch.setattr(tables, "SEEDS", 2)
    monkeypatch.setattr(tables, "OPTIMIZERS", ("adam, bfloat16",))
    monkeypatch.setattr(tables, "IDS", ("zipf", "equal"))
    benchmark.main(["--suite=tables", "--quick", f"--out={tmp_path}"])
    rows = json.loads((tmp_path / "tables.json").read_text())["rows"]
    assert [row["ids"] for row in rows] == ["zipf", "equal"]
    assert [row["bytes a row"] for row in rows] == [164, 164]  # bfloat16; m, v and a count
    assert tables.bytes_a_row("sgd") == 64
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


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["step", "replicas"])
def test_the_suite_runs(suite, monkeypatch, tmp_path):
    monkeypatch.setattr(step, "EXPERTS", {"gdcn+masknet+hcnet": 0.65})
    monkeypatch.setattr(replicas, "SIZES", {"small": replicas.SIZES["small"]})
    benchmark.main([f"--suite={suite}", "--quick", f"--out={tmp_path}"])
    for row in json.loads((tmp_path / f"{suite}.json").read_text())["rows"]:
        assert all(cell > 0 for cell in row.values() if not isinstance(cell, str))


@pytest.mark.slow
def test_the_suite_pipeline_runs(monkeypatch, prepared_dir, tmp_path):
    monkeypatch.setattr(pipeline, "MODELS", {"shared_bottom": pipeline.MODELS["shared_bottom"]})
    monkeypatch.setattr(pipeline, "QUICK", 5_000)
    arguments = [f"--out={tmp_path}", f"--data_dir={prepared_dir}"]
    benchmark.main(["--suite=pipeline", "--quick", *arguments])
    rows = json.loads((tmp_path / "pipeline.json").read_text())["rows"]
    assert [row["what"] for row in rows][-2:] == [
        "shared_bottom, on device",
        "shared_bottom, streamed",
    ]
    assert all(row["wall"] > 0 for row in rows)


@pytest.mark.slow
def test_the_suite_ali_ccp_runs(monkeypatch, tmp_path):
    apart = ali_ccp.apart  # each stage in a process of its own; here one of them is

    def most_here(stage, *folders):
        return (apart if stage == ali_ccp.PREPARED else ali_ccp.alone)(stage, *folders)

    monkeypatch.setattr(ali_ccp, "apart", most_here)
    benchmark.main(["--suite=ali_ccp", "--quick", f"--out={tmp_path}"])
    found = json.loads((tmp_path / "ali_ccp.json").read_text())
    assert [row["stage"] for row in found["rows"]] == [
        *ali_ccp.REPEATED,
        ali_ccp.PREPARED,
        *ali_ccp.REPEATED,
    ]
    assert all(row["rows/s a core"] > 0 and row["peak MB"] > 50 for row in found["rows"])
    assert [goal["wanted"] for goal in found["goals"]] == [1e5, 1.1, 1.1, 1e5, 1.1]


FAKE_PEER = """
import sys
from experiments.peers import session

job, arrays = session.read(sys.argv[1])
assert arrays["ids"].shape == (4096, len(job.field_rows))
assert (arrays["ids"].max(axis=0) < job.field_rows).all()
assert arrays["labels"].shape == (4096, job.tasks)

def train():
    print("what a library says")
    return 0.5

session.serve({"parameters": 7, "version": f"fake {job.architecture}"}, train)
"""


@pytest.mark.slow
def test_the_suite_peers_compares_and_says_what_failed(monkeypatch, prepared_dir, tmp_path):
    broken = FAKE_PEER.replace("return 0.5", "raise ValueError('no epoch today')")
    rivals = {
        "fake": peers.Rival(("-c", FAKE_PEER), "torch", 1.0),
        "broken": peers.Rival(("-c", broken), "torch", 1.0),
        "absent": peers.Rival(peers.module("absent"), "fuxictr", 1.0),
        "not installed": peers.Rival(peers.module("rechub"), "torch-rechub", 1.0),
    }
    settings = (peers.Setting("mmoe", 2, rivals), peers.Setting("ple", 1, {}, table_rows=20_000))
    monkeypatch.setattr(peers, "SETTINGS", settings)
    monkeypatch.setattr(peers, "census_income", adult)  # which needs no download
    missing = {"torch-rechub": "no such release"}
    monkeypatch.setattr(peers, "install", lambda venv: (sys.executable, missing))
    benchmark.main(["--suite=peers", "--quick", f"--out={tmp_path}", f"--data_dir={prepared_dir}"])
    found = json.loads((tmp_path / "peers.json").read_text())
    rows = {(row["model"], row["framework"]): row for row in found["rows"]}
    ours, fake = rows["mmoe", "dtn_jax"], rows["mmoe", "fake"]
    assert 0 < ours["of the product"] < 1
    assert ours["times"] == 1
    assert np.isfinite(ours["loss"])
    assert (fake["parameters"], fake["loss"], fake["version"]) == (7, 0.5, "fake mmoe")
    assert rows["mmoe", "broken"]["examples/s"] is None
    assert rows["mmoe", "broken"]["version"] == "failed: ValueError: no epoch today"
    assert "experiments.peers.absent" in rows["mmoe", "absent"]["version"]
    assert rows["mmoe", "not installed"]["version"] == "failed: no such release"
    assert [goal["name"] for goal in found["goals"]] == [
        f"mmoe, {ours['table rows']:,} table rows: speed over fake"
    ]
    wide = rows["ple", "dtn_jax"]
    assert 19_000 < wide["table rows"] <= 20_000
    assert wide["parameters"] > 16 * wide["table rows"]


def test_widened_tables_keep_the_ids_apart():
    schema = Schema("s", (Field("a", rows=3), Field("b", rows=5)), (Task("click"),))
    ids = np.stack([np.arange(900) % 3, np.arange(900) % 5], axis=1).astype(np.int32)
    rest = dict.fromkeys(
        ("weights", "numeric", "labels", "label_mask", "sample_weight", "row_mask")
    )
    batch = Batch(ids=ids, **rest)
    assert widen(schema, batch, 0) == (schema, batch)
    wide, spread = widen(schema, batch, 90)
    assert [f.rows for f in wide.fields] == [45, 45]
    np.testing.assert_array_equal(spread.ids // [15, 9], ids)
    assert len(np.unique(spread.ids[:, 0])) > 40


def test_a_package_that_cannot_be_installed_is_told(monkeypatch, tmp_path):
    def failure(command):
        return "no such release" if "fuxictr>=2.3.10" in command else ""

    monkeypatch.setattr(peer_install, "failure", failure)
    python, missing = peer_install.install(tmp_path)
    assert missing == {"fuxictr": "no such release"}
    assert python.startswith(str(tmp_path))
    monkeypatch.undo()
    assert peer_install.failure([sys.executable, "-c", "import nowhere"]).endswith("'nowhere'")
    assert peer_install.failure([sys.executable, "-c", ""]) == ""


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_suite_gpu_needs_one_and_runs_small_without(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="needs a GPU"):
        gpu.measure(Options())
    monkeypatch.setattr(gpu, "EXPERTS", ("gdcn+masknet",))
    benchmark.main(["--suite=gpu", "--quick", f"--out={tmp_path}"])
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["dtype"] for row in found["rows"]] == ["bfloat16", "float32"]
    assert [goal["wanted"] for goal in found["goals"]] == [gpu.SHARE]


def test_all_suites_are_those_that_the_machine_can_run(monkeypatch):
    assert set(benchmark.every_suite()) == set(benchmark.SUITES) - {"gpu"}
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert set(benchmark.every_suite()) == set(benchmark.SUITES) - {"peers"}


@pytest.mark.slow
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

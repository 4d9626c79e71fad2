"""Every suite of the benchmark runs, at a tiny size."""

import json
import sys

import numpy as np
import pytest

from configs import adult
from experiments import benchmark
from experiments.benchmarks import balancing, peers, pipeline, serving, step, tables


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """Of 2 steps, where a suite measures chunks of its own."""
    monkeypatch.setattr(tables, "CHUNK_STEPS", 2)


def measured(suite, folder, *arguments):
    """What a suite writes."""
    benchmark.main([f"--suite={suite}", "--quick", f"--out={folder}", *arguments])
    return json.loads((folder / f"{suite}.json").read_text())


@pytest.mark.nightly
def test_the_suite_tables_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "OPTIMIZERS", ("adam, bfloat16",))
    monkeypatch.setattr(tables, "IDS", ("zipf", "equal"))
    rows = measured("tables", tmp_path)["rows"]
    assert [row["ids"] for row in rows] == ["zipf", "equal"]
    assert [row["bytes a row"] for row in rows] == [164, 164]  # bfloat16; m, v and a count
    assert tables.bytes_a_row("sgd") == 64
    assert rows[0]["loop, 0.02 M"] > 0


@pytest.mark.nightly
def test_the_suite_step_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(step, "EXPERTS", {"gdcn+masknet+hcnet": 0.65})
    for row in measured("step", tmp_path)["rows"]:
        assert all(cell > 0 for cell in row.values() if not isinstance(cell, str))


@pytest.mark.nightly
def test_the_suite_balancing_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(balancing, "MODELS", {"mmoe": "mlp*2"})
    monkeypatch.setattr(balancing, "TASKS", (2,))
    monkeypatch.setattr(balancing, "ALIKE", {*balancing.BALANCERS} - {"mgda", "pcgrad"})
    rows = measured("balancing", tmp_path)["rows"]
    assert [row["balancer"] for row in rows] == ["static", "pcgrad", "pcgrad, shared", "mgda"]
    assert rows[0]["mmoe, 2 tasks"] == 1


@pytest.mark.nightly
def test_the_suite_pipeline_runs(monkeypatch, prepared_dir, tmp_path):
    monkeypatch.setattr(pipeline, "MODELS", {"shared_bottom": pipeline.MODELS["shared_bottom"]})
    monkeypatch.setattr(pipeline, "QUICK", 5_000)
    rows = measured("pipeline", tmp_path, f"--data_dir={prepared_dir}")["rows"]
    assert [row["what"] for row in rows][-2:] == [
        "shared_bottom, on device",
        "shared_bottom, streamed",
    ]
    assert all(row["wall"] > 0 for row in rows)


FAKE_PEER = """
import sys
from experiments.benchmarks.rivals import session

job, arrays = session.read(sys.argv[1])
assert arrays["ids"].shape == (4096, len(job.field_rows))
assert (arrays["ids"].max(axis=0) < job.field_rows).all()
assert arrays["labels"].shape == (4096, job.tasks)

def train():
    print("what a library says")
    return 1.0 + job.seed

session.serve({"parameters": 7, "version": f"fake {job.architecture}"}, train)
"""


@pytest.mark.nightly
def test_the_suite_peers_compares_and_says_what_failed(monkeypatch, prepared_dir, tmp_path):
    broken = FAKE_PEER.replace("return 1.0 + job.seed", "raise ValueError('no epoch today')")
    rivals = {
        "fake": peers.Rival(("-c", FAKE_PEER), "torch", 1.0, "SparseAdam"),
        "broken": peers.Rival(("-c", broken), "torch", 1.0),
        "absent": peers.rival("absent", "fuxictr", 1.0),
        "not installed": peers.rival("rechub", "torch-rechub", 1.0),
    }
    settings = (peers.Setting("mmoe", 2, rivals), peers.Setting("ple", 1, {}, table_rows=20_000))
    monkeypatch.setattr(peers, "SETTINGS", settings)
    monkeypatch.setattr(peers, "SEEDS", 2)
    monkeypatch.setattr(peers, "census_income", adult)  # which needs no download
    missing = {"torch-rechub": "no such release"}
    monkeypatch.setattr(peers, "install", lambda venv: (sys.executable, missing))
    found = measured("peers", tmp_path, f"--data_dir={prepared_dir}")
    rows = {(row["model"], row["framework"]): row for row in found["rows"]}
    ours, fake = rows["mmoe", "dtn_jax"], rows["mmoe", "fake"]
    assert ours["times"] == 1
    assert np.isfinite(ours["loss"])
    assert (fake["parameters"], fake["loss"], fake["sd"]) == (7, 1.5, 0.5 * 2**0.5)
    assert (fake["version"], fake["tables"]) == ("fake mmoe", "SparseAdam")
    assert ours["tables"] == "lazy Adam"
    assert rows["mmoe", "broken"]["examples/s"] is None
    assert rows["mmoe", "broken"]["version"] == "failed: ValueError: no epoch today"
    assert "experiments.benchmarks.rivals.absent" in rows["mmoe", "absent"]["version"]
    assert rows["mmoe", "not installed"]["version"] == "failed: no such release"
    assert [goal["name"] for goal in found["goals"]] == [
        f"mmoe, {ours['table rows']:,} table rows: speed over fake"
    ]
    wide = rows["ple", "dtn_jax"]
    assert 19_000 < wide["table rows"] <= 20_000
    assert wide["parameters"] > 16 * wide["table rows"]


@pytest.mark.nightly
def test_the_suite_sharded_runs(tmp_path):
    found = measured("sharded", tmp_path)
    rows = {row["strategy"]: row for row in found["rows"]}
    assert list(rows) == ["shard", "XLA alone"]
    assert all(row["ms a step"] > 0 for row in found["rows"])
    for row in rows.values():
        assert row["tables and slots, MB"] == pytest.approx(row["of all, MB"] / 2, rel=0.02)
    assert rows["shard"]["all-to-all, MB"] > 0
    assert [g["wanted"] for g in found["goals"]] == [1.02, 1, 1]


@pytest.mark.nightly
def test_the_suite_serving_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(serving, "CLIENTS", (2,))
    monkeypatch.setattr(serving, "CANDIDATES", (1, 100))
    found = measured("serving", tmp_path)
    assert [row["candidates"] for row in found["rows"]] == [1, 100]
    assert all(row["requests/s"] > 0 for row in found["rows"])


@pytest.mark.nightly
def test_the_suite_score_runs(tmp_path):
    found = measured("score", tmp_path)
    assert [row["what"].partition(",")[0] for row in found["rows"]] == [
        *("DTN", "DTN", "encoding", "small model", "small model")
    ]
    assert all(row["a second"] > 0 for row in found["rows"])
    assert len(found["goals"]) == 3

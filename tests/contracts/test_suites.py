"""Every suite of the benchmark runs, at a tiny size."""

import json

import pytest

from experiments import benchmark
from experiments.benchmarks import balancing, pipeline, serving, step, tables


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

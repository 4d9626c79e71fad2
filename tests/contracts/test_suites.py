"""Every suite of the benchmark runs, at a tiny size."""

import json
import os
import sys

import numpy as np
import pytest

import configs
from configs import adult
from dtn_jax.errors import UserError
from experiments import benchmark
from experiments.benchmarks import faults, peers, pipeline, programs, serving, step, tables
from experiments.benchmarks.compiled import suite as compiled
from experiments.benchmarks.compiled.cells import read_cell
from experiments.benchmarks.compiled.figures import read_figures
from experiments.benchmarks.faults.cells import QUICK
from experiments.benchmarks.faults.page import page
from experiments.benchmarks.measured import Goal, Options


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
    monkeypatch.setattr(configs, "census_income", adult)
    monkeypatch.setattr(tables, "SEEDS", 2)
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
    return 0.5

session.serve({"parameters": 7, "version": f"fake {job.architecture}"}, train)
"""


@pytest.mark.nightly
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
    found = measured("peers", tmp_path, f"--data_dir={prepared_dir}")
    rows = {(row["model"], row["framework"]): row for row in found["rows"]}
    ours, fake = rows["mmoe", "dtn_jax"], rows["mmoe", "fake"]
    assert 0 < ours["of the product"] < 1
    assert ours["times"] == 1
    assert np.isfinite(ours["loss"])
    assert (fake["parameters"], fake["loss"], fake["version"]) == (7, 0.5, "fake mmoe")
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
    assert list(rows) == ["shard", "pmap", "XLA alone"]
    assert all(row["ms a step"] > 0 for row in found["rows"])
    for name, devices in (("shard", 2), ("pmap", 1), ("XLA alone", 2)):
        part = rows[name]["of all, MB"] / devices
        assert rows[name]["tables and slots, MB"] == pytest.approx(part, rel=0.02)
    assert rows["shard"]["all-to-all, MB"] > 0
    assert [g["wanted"] for g in found["goals"]] == [1.02, 1, 1]


@pytest.mark.nightly
def test_the_suite_plan_runs_and_predicts_what_is_compiled(tmp_path):
    found = measured("plan", tmp_path)
    assert all(Goal(**goal).met for goal in found["goals"])
    checked, *planned = found["rows"]
    assert checked["held, compiled"] > 0
    assert checked["hours an epoch"] is None
    assert len(planned) == 5  # this machine, H100s and three TPUs
    assert all(row["hours an epoch"] > 0 for row in planned)
    assert all(row["tables and slots, MB"] > 3000 for row in planned)


@pytest.mark.nightly
def test_the_suite_serving_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(serving, "CLIENTS", (2,))
    monkeypatch.setattr(serving, "CANDIDATES", (1, 100))
    found = measured("serving", tmp_path)
    assert [row["candidates"] for row in found["rows"]] == [1, 100]
    assert all(row["requests/s"] > 0 for row in found["rows"])
    assert all(Goal(**goal).met for goal in found["goals"]), found


@pytest.mark.nightly
def test_the_suite_score_runs(tmp_path):
    found = measured("score", tmp_path)
    assert [row["what"].partition(",")[0] for row in found["rows"]] == [
        *("DTN", "DTN", "encoding", "encoding", "small model", "small model")
    ]
    assert all(row["a second"] > 0 for row in found["rows"])
    assert len(found["goals"]) == 3


@pytest.mark.slow
def test_devices_are_simulated_where_there_are_too_few(monkeypatch, tmp_path):
    (tmp_path / "counting.py").write_text(
        "import jax\n"
        "from experiments.benchmarks.programs import print_lines\n"
        "print_lines(lambda quick: [{'devices': len(jax.devices()), 'quick': quick}])\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(programs, "SIMULATED", 9)
    found = programs.on_many_devices("counting", lambda quick: [], True)
    assert found == [{"devices": 9, "quick": True}]
    monkeypatch.setattr(programs, "SIMULATED", 8)
    assert programs.on_many_devices("counting", lambda quick: [{"here": 1}], True) == [{"here": 1}]


ASKED = {"rows": "2e9", "table_rows": "1e9", "embedding_dim": "64", "hours": "8"}


@pytest.mark.nightly
def test_the_smallest_slice_that_fits_is_answered(capsys):
    given = [f"--{key}={value}" for key, value in ASKED.items()]
    benchmark.main(["--suite=plan", *given, "--device=v5p"])
    said = capsys.readouterr().out
    assert "v5p: 16 devices are enough" in said
    assert "does not fit" in said
    assert "A checkpoint has 772 GB" in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.nightly
def test_a_small_sample_of_faults_loses_nothing(tmp_path):
    found = faults.measure(Options(quick=True, out=str(tmp_path)))
    assert {row["fault"] for row in found.rows} == {
        "killed (SIGKILL, SIGTERM, SIGINT)",
        "two at once",
        "full disk",
        "read-only disk",
        "flipped, cut, deleted",
    }
    kills_ = [row for row in found.rows if row["fault"].startswith("killed")]
    assert all(row["injected"] == QUICK.kills for row in kills_), kills_
    assert all(row["lost"] == row["wrong"] == 0 for row in found.rows), found.notes
    assert "| **all** |" in page(found)
    assert len({(row["fault"], row["where"]) for row in found.rows}) == len(found.rows)


# Of so many rows that no table is short beside the ids of a step.
CELLS = tuple(
    f"{topology},{model},rows=1e7,each=256"
    for topology in ("v5e:2x2", "h100:8")
    for model in ("shared_bottom", "small_dtn")
)


@pytest.fixture(scope="module")
def python():
    try:
        return compiled.find_python("")
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def rows(python, tmp_path_factory):
    """Cell to figures."""
    cells = [read_cell(text) for text in CELLS]
    made = compiled.compile_all(python, cells, tmp_path_factory.mktemp("cells"))
    return {cell.name: read_figures(cell, *one) for cell, one in zip(cells, made)}


@pytest.mark.nightly
@pytest.mark.parametrize("cell", CELLS)
def test_the_training_step_compiles(rows, cell):
    row = rows[cell]
    assert not row["error"]
    assert row["of its memory"] < 0.15
    assert (row["f64"], row["host calls"]) == (0, 0)
    assert row["new outputs MB"] < 0.1, "the state is not updated in place"
    assert row["held over plan"] == pytest.approx(1, abs=0.01)
    assert row["carried over plan"] == pytest.approx(1, abs=0.02)
    assert 1 <= row["plan over peak"] <= 1.3
    assert row["longest sort"] <= row["received"]
    assert row["stored over logical"] < 1.02


@pytest.mark.nightly
@pytest.mark.parametrize("cell", CELLS)
def test_tables_are_updated_in_place(rows, cell):
    row = rows[cell]
    assert row["copies a step"] == row["copies a chunk"] == 0, row["whole"]
    assert row["passes a step"] == row["passes a chunk"] == 0, row["whole"]
    assert row["short copies a step"] == row["short passes a step"] == 0, row["whole"]
    assert row["repeated scatters"] == 0


@pytest.mark.nightly
def test_the_suite_compiled_runs(python, tmp_path):
    found = measured("compiled", tmp_path)
    (row,) = found["rows"]
    assert row["peak MB"] > row["held MB"] > 0
    assert all(goal["got"] == 0 for goal in found["goals"] if goal["name"].startswith("f64"))

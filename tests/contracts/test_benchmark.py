"""The benchmark command and its suites at a tiny size; the experiment with known answers."""

import json
import math

import numpy as np
import pytest

from dtn_jax.errors import UserError
from experiments import benchmark, known_answers
from experiments.benchmarks import balancing, pipeline, serving, step, tables
from experiments.benchmarks.measured import Goal, Measured


def test_a_goal_says_whether_it_is_met():
    assert Goal("speed", 2.0, 2.5).met
    assert not Goal("ratio", 1.1, 1.2, at_least=False).met
    assert Goal("ratio", 1.1, 1.2, at_least=False).text() == "ratio: 1.2, goal ≤ 1.1: missed"


def test_the_command_shows_and_writes_what_a_suite_found(capsys, monkeypatch, tmp_path):
    def measure(options):
        assert options.quick
        assert options.data_dir == "here"
        return Measured("of all", [{"what": "one", "ms": 1234.5}], [Goal("g", 1, 2)], ["mind"])

    monkeypatch.setattr(benchmark, "SUITES", ("own",))
    monkeypatch.setattr(benchmark, "suite", lambda name: measure)
    benchmark.main(["--suite=all", "--quick", f"--out={tmp_path}", "--data_dir=here"])
    shown = capsys.readouterr().out
    for text in ("of all", "one", "1,234", "g: 2, goal ≥ 1: met", "mind"):
        assert text in shown
    written = json.loads((tmp_path / "own.json").read_text())
    assert written["rows"] == [{"what": "one", "ms": 1234.5}]
    assert {"machine", "versions", "date", "command"} <= set(written)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--suite=tabels"], "tables"),
        (["--suite=tables", "--quick"], "--out"),
        (["--suite=gpu"], "needs a GPU"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, told):
    with pytest.raises(UserError, match=f"(?i){told}"):
        benchmark.main([word.replace("OUT", str(tmp_path)) for word in arguments])
    assert not list(tmp_path.iterdir())


# Every suite of the benchmark runs, at a tiny size.


SMALL = {  # {suite: what is less of it}
    "tables": {"CHUNK_STEPS": 2, "OPTIMIZERS": ("adam, bfloat16",), "IDS": ("zipf", "equal")},
    "step": {"EXPERTS": {"gdcn+masknet+hcnet": 0.65}},
    "balancing": {
        "MODELS": {"mmoe": "mlp*2"},
        "TASKS": (2,),
        "ALIKE": {*balancing.BALANCERS} - {"mgda", "pcgrad"},
    },
    "pipeline": {"MODELS": {"shared_bottom": pipeline.MODELS["shared_bottom"]}, "QUICK": 5_000},
    "sharded": {},
    "serving": {"CLIENTS": (2,), "CANDIDATES": (1, 100)},
    "score": {},
}
MODULES = {m.__name__.rpartition(".")[2]: m for m in (balancing, pipeline, serving, step, tables)}
ROWS = {  # {suite: the column that names its rows, and what it holds}
    "tables": ("ids", ["zipf", "equal"]),
    "balancing": ("balancer", ["static", "pcgrad", "pcgrad, shared", "mgda"]),
    "sharded": ("strategy", ["shard", "XLA alone"]),
    "serving": ("candidates", [1, 100]),
}


@pytest.mark.nightly
@pytest.mark.parametrize("suite", SMALL)
def test_it_runs(suite, monkeypatch, prepared_dir, tmp_path):
    for name, value in SMALL[suite].items():
        monkeypatch.setattr(MODULES[suite], name, value)
    given = [f"--suite={suite}", "--quick", f"--out={tmp_path}", f"--data_dir={prepared_dir}"]
    benchmark.main(given)
    rows = json.loads((tmp_path / f"{suite}.json").read_text())["rows"]
    column, expected = ROWS.get(suite, ("", []))
    assert [row[column] for row in rows if column] == expected
    numbers = [cell for row in rows for cell in row.values() if isinstance(cell, int | float)]
    assert numbers
    assert all(map(math.isfinite, numbers))


# The experiment on tasks whose answers are known: `experiments/known_answers.py`.


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

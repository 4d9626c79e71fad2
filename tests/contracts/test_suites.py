"""Every suite of the benchmark runs, at a tiny size."""

import json
import math

import pytest

from experiments import benchmark
from experiments.benchmarks import balancing, pipeline, serving, step, tables

SMALL = {  # {suite: what is less of it}
    "tables": {"CHUNK_STEPS": 2, "OPTIMIZERS": ("adam, bfloat16",), "IDS": ("zipf", "equal")},
    "step": {"EXPERTS": {"gdcn+masknet+hcnet": 0.65}},
    "balancing": {
        "MODELS": {"mmoe": "mlp*2"},
        "TASKS": (2,),
        "ALIKE": {*balancing.BALANCERS} - {"mgda", "pcgrad"},
    },
    "pipeline": {
        "MODELS": {"shared_bottom": pipeline.MODELS["shared_bottom"]},
        "QUICK": 5_000,
    },
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

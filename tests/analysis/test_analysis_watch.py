"""What is watched over training."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_runs import rows, tiny

from dtn_jax.analysis import gate_use, watch
from dtn_jax.analysis.conflict import make_conflict
from dtn_jax.input.reader import take


@pytest.fixture(scope="module")
def gated():
    with jax.enable_x64(True):
        yield tiny("mmoe")


def test_what_is_watched_is_the_mean_over_the_rows(gated, monkeypatch):
    given = rows(seed=1, count=33)  # 2 devices: one row is padding
    asked = []

    class Reader:
        def __init__(self, *arguments):
            asked.append(arguments)

        def picked(self, numbers):
            return take(given, numbers)

    monkeypatch.setattr(watch, "SplitReader", Reader)
    monkeypatch.setitem(gated.run.data.rows, "validation", 33)
    run = gated.run
    config = ConfigDict(run.config.to_dict())
    config.analysis.rows, config.data.batch_size = 33, 11
    watched = watch.Watch(config, run.data, run.model, run.plan, run.at)
    assert asked == [(run.data, "validation")]
    record = watched.record(gated.state, 7, 0.5)
    assert (record["kind"], record["step"], record["epoch"]) == ("analysis", 7, 0.5)
    gates = jax.jit(gate_use.make_gates(run.model, run.plan, run.at.table_mesh))
    conflict = jax.jit(make_conflict(config.loss, run.model, run.plan, run.at.table_mesh))
    batch = run.at.put(take(given, np.arange(-1, 33)), run.at.batch())
    by_gate = gates(gated.state, batch)["gates"]
    for gate, sources in by_gate.items():
        for source, w in sources.items():
            mean = np.asarray(w)[1:].mean()
            assert record[f"gate:{gate}:{source}"] == pytest.approx(mean, rel=1e-9)
    assert [int(batch.row_mask.sum()) for batch in watched.batches] == [11, 11, 11]
    each = [conflict(gated.state, batch) for batch in watched.batches]
    for pair in each[0]:
        cosines = np.array([found[pair] for found in each])
        half = 4.302653 * cosines.std(ddof=1) / np.sqrt(3)  # Student's, of 2 degrees of freedom
        assert record[f"cosine:{':'.join(pair)}"] == pytest.approx(cosines.mean(), rel=1e-5)
        assert record[f"cosine_half:{':'.join(pair)}"] == pytest.approx(half, rel=1e-5)
    assert len(record) == 3 + 3 * 2 + 3 * 2


def test_a_step_logged_twice_has_its_later_value():
    records = [
        {"kind": "analysis", "step": 2, "epoch": 0.1, "cosine:a:b": 0.5, "gate:a:x/mlp_0": 0.1},
        {"kind": "analysis", "step": 1, "epoch": 0.1, "cosine:a:b": 0.25, "cosine_half:a:b": 0.1},
        {"kind": "analysis", "step": 2, "epoch": 0.1, "cosine:a:b": None},
        {"kind": "validation", "step": 3, "cosine:a:b": 1.0},
    ]
    assert watch.over_training(records) == {
        "gate": {("a", "x/mlp_0"): [[2, 0.1]]},
        "cosine": {("a", "b"): [[1, 0.25], [2, None]]},
        "cosine_half": {("a", "b"): [[1, 0.1]]},
    }

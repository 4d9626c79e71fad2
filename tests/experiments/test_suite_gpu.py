"""The suite gpu, at tiny sizes on a CPU: no GPU was there to run it on."""

import json
import types

import jax
import numpy as np
import pytest

from dtn_jax.errors import UserError
from experiments import benchmark
from experiments.suites import gpu, tables
from experiments.suites.measured import Options


@pytest.mark.slow
def test_it_runs_small_on_a_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "EXPERTS", ("gdcn+masknet",))
    monkeypatch.setattr(gpu, "OPTIMIZERS", ("adagrad",))
    monkeypatch.setattr(gpu, "REPEATED", 4)
    for suite in (gpu, tables):
        monkeypatch.setattr(suite, "CHUNK_STEPS", 2)
    benchmark.main(["--suite=gpu", "--quick", f"--out={tmp_path}"])
    found = json.loads((tmp_path / "gpu.json").read_text())
    rows = found["rows"]
    assert len({tuple(row) for row in rows}) == 1  # all have the same columns
    assert [row["dtype"] for row in rows if row["dtype"]] == ["bfloat16", "float32"]
    lengths = [(row["of"].split(", ")[-1], row["table rows"]) for row in rows if row["table rows"]]
    assert lengths == [
        (f"{ids} ids", length) for ids in ("zipf", "different") for length in gpu.QUICK_ROWS
    ]
    assert [row["arrays that differ"] for row in rows][-2:] == [0, 0]
    wanted = [goal["wanted"] for goal in found["goals"]]
    assert wanted == [gpu.SHARE, gpu.SLOWER, gpu.SLOWER, 0, 0]
    assert jax.devices()[0].device_kind in found["notes"][0]


def test_it_needs_an_accelerator():
    with pytest.raises(UserError, match="needs a GPU"):
        gpu.measure(Options())


def test_the_tables_that_fit_together_are_measured():
    assert gpu.fitting(68, 80e9) == list(gpu.TABLE_ROWS)
    assert gpu.fitting(196, 80e9) == [200_000, 2_000_000, 20_000_000]  # 2 x 39 GB are too many
    assert gpu.fitting(68, 1e9) == [200_000, 2_000_000]
    assert gpu.fitting(68, 1e3) == (200_000,)


def test_arrays_are_compared_bit_by_bit():
    one = {"a": np.array([0.0, 1.0]), "b": np.array([np.nan]), "c": np.array([1])}
    other = {"a": np.array([-0.0, 1.0]), "b": np.array([np.nan]), "c": np.array([2])}
    assert gpu.differing(one, one) == 0
    assert gpu.differing(one, other) == 2


def test_the_card_is_told(monkeypatch):
    client = types.SimpleNamespace(platform_version="PJRT C API\ncuda 13000")
    device = types.SimpleNamespace(
        platform="gpu",
        device_kind="NVIDIA H100 80GB HBM3",
        compute_capability="9.0",
        client=client,
        memory_stats=lambda: {"bytes_limit": 60e9},
    )
    monkeypatch.setattr(jax, "devices", lambda: [device, device])
    monkeypatch.setattr(gpu.importlib.metadata, "version", lambda name: "0.11.0")
    told = gpu.card()
    for part in ("2 x NVIDIA H100 80GB HBM3", "compute capability 9.0", "60.0 GB", "cuda 13000"):
        assert part in told
    assert "jax-ml/jax#38806" in told

"""A model scores where no training code is: the wheel beside five packages, in a fresh process."""

import json
import os
import subprocess
import sys

import built_wheel
import made_models
import numpy as np
import own_log
import pytest

from dtn_jax import export
from dtn_jax.export.write import encoder_files

pytestmark = pytest.mark.slow
FIVE = ("jax", "numpy", "polars", "pyarrow", "safetensors")
READER = "flatbuffers"  # jax.export reads its artefacts with it, without asking for it
SCORE = """
import json, sys
sys.path[:0] = sys.argv[1:3]
import dtn_jax.export
for folder, rows in json.load(sys.stdin):
    print(json.dumps(dtn_jax.export.load(folder).score(rows).to_numpy().tolist()))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
TRAINING = {"flax", "optax", "orbax", "tensorstore", "tensorflow_datasets", "ml_collections"}
OTHERS = {"jaxtyping", "yaml", "rich", "sklearn", "matplotlib", "pandas", "fsspec", "grain"}


def test_a_model_scores_beside_five_packages(unpacked, tmp_path):
    site = built_wheel.alone((*FIVE, READER), tmp_path / "site")
    data = own_log.prepared(tmp_path / "log", own_log.log(600))

    def write(place):
        place.rmdir()
        encoder_files.write(data, place)

    made_models.write_model(tmp_path / "shop", data.schema, write)
    made_models.builder_model(tmp_path / "made")
    raw = own_log.log(600).tail(5).drop("t").to_dicts()
    times = own_log.log(600)["t"].tail(5).dt.to_string("iso:strict").to_list()
    given = [
        (str(tmp_path / "shop"), [row | {"t": time} for row, time in zip(raw, times)]),
        (str(tmp_path / "made"), made_models.FRAME.to_dicts()),
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SCORE, str(unpacked), str(site)],
        input=json.dumps(given),
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *scores, modules = map(json.loads, done.stdout.splitlines())
    assert not set(modules) & (TRAINING | OTHERS)
    for (folder, rows), got in zip(given, scores, strict=True):
        np.testing.assert_allclose(got, export.load(folder).score(rows).to_numpy(), rtol=1e-5)

"""The suite gpu on a machine that has jax, flax, optax, orbax, numpy and ml-collections alone."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from dtn_jax.config import base_config, flatten
from experiments.benchmarks import gpu
from experiments.benchmarks.step import step_config

ROOT = pathlib.Path(__file__).parents[2]
# Every package but the six, what they need, and the standard library is as if it were not there.
BARE = """
import importlib.abc, importlib.metadata, re, sys

needed, waiting = set(), ["jax", "flax", "optax", "orbax-checkpoint", "numpy", "ml-collections"]
while waiting:
    name = re.sub("[-_.]+", "-", waiting.pop()).lower()
    if name in needed:
        continue
    try:
        requires = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        continue  # of another platform
    needed.add(name)
    waiting += [re.match(r"[\\w.-]+", r)[0] for r in requires if "extra ==" not in r]

owners = importlib.metadata.packages_distributions()
hidden = {
    module
    for module, names in owners.items()
    if module != "dtn_jax" and not needed & {re.sub("[-_.]+", "-", n).lower() for n in names}
}

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
assert {"polars", "pyarrow", "tensorflow_datasets", "jaxtyping", "matplotlib"} <= hidden
from experiments import benchmark
from experiments.benchmarks import gpu, tables

gpu.EXPERTS, gpu.OPTIMIZERS, tables.CHUNK_STEPS = ("gdcn",), ("adagrad",), 2
benchmark.main(["--suite=gpu", "--quick", f"--out={sys.argv[1]}"])
"""


def test_its_options_are_the_configs():
    assert flatten(step_config()).items() <= flatten(base_config()).items()


@pytest.mark.slow
def test_the_suite_gpu_runs_there(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    rows = found["rows"]
    assert [row["dtype"] for row in rows if row["dtype"]] == ["bfloat16", "float32"]
    assert len({tuple(row) for row in rows}) == 1  # all have the same columns
    lengths = [(row["of"].split(", ")[-1], row["table rows"]) for row in rows if row["table rows"]]
    assert lengths == [
        (f"{ids} ids", length) for ids in ("zipf", "different") for length in gpu.QUICK_ROWS
    ]
    wanted = [goal["wanted"] for goal in found["goals"]]
    assert wanted == [gpu.SHARE, gpu.SLOWER, gpu.SLOWER]
    assert "cpu" in found["notes"][0]

"""The examples for clusters, and the flags that experiments/results/benchmark/devices.md sets."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "experiments/results/benchmark/devices.md").read_text()
PAGE = re.sub("<!--.*?-->", "", TEXT)


def test_the_examples_for_clusters_parse():
    jobset = (ROOT / "docs/examples/jobset.yaml").read_text()
    assert [part["kind"] for part in yaml.safe_load_all(jobset)][-1] == "JobSet"
    for name in ("slurm", "tpu_pod"):
        subprocess.run(["bash", "-n", ROOT / f"docs/examples/{name}.sh"], check=True)


@pytest.mark.slow
def test_this_jaxlib_has_the_flags_of_gpus_and_cpus():
    flags = re.findall(r"--xla_(?:gpu|force)_\w+=\w+", PAGE)
    assert len(set(flags)) == 6

    def start(flags):
        own = os.environ | {"XLA_FLAGS": " ".join(flags)}
        call = [sys.executable, "-c", "import jax; jax.devices()"]
        return subprocess.run(call, env=own, capture_output=True, text=True)

    done = start(flags)
    assert done.returncode == 0, done.stderr
    assert "Unknown flag" in start([*flags, "--xla_gpu_no_such_flag=true"]).stderr

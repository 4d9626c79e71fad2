"""experiments/results/benchmark/devices.md: what it says to set is there."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

from dtn_jax.tables.stored_rows import lay_out

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "experiments/results/benchmark/devices.md").read_text()
PAGE = re.sub("<!--.*?-->", "", TEXT)


def test_what_a_width_costs_on_tpus():
    widths, costs = (
        re.findall(r"[\d.]+", re.search(rf"^\| {row} \|.*$", PAGE, re.M)[0])
        for row in ("D", "memory on TPUs over that of the numbers")
    )
    for width, cost in zip(widths, costs, strict=True):
        assert lay_out(1, int(width), "tpu", 1).storage == pytest.approx(float(cost), abs=0.005)


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

"""Which versions of JAX are told to be bad on which devices."""

import importlib.metadata
import pathlib
import tomllib

import pytest
from small_runs import small

from dtn_jax.parallel import known_bugs
from dtn_jax.run.run import build_run

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("jaxlib", ["0.10.2", "0.10.3", "0.11.0", "0.11.0.dev20260701"])
def test_an_affected_version_on_a_gpu_is_told(jaxlib):
    told = known_bugs.slow_scatters("gpu", jaxlib)
    assert told.startswith(f"jaxlib {jaxlib} on a GPU")
    for part in ("0.10.2 to 0.11.0", "jax-ml/jax#38806", "openxla/xla#46225", "0.11.1", "3.12"):
        assert part in told
    assert known_bugs.slow_scatters("cpu", jaxlib) == ""
    assert known_bugs.slow_scatters("tpu", jaxlib) == ""


@pytest.mark.parametrize("jaxlib", ["0.9.2", "0.10.1", "0.11.1", "0.11.1rc1", "0.12.0.1", "1.0"])
def test_other_versions_are_not(jaxlib):
    assert known_bugs.slow_scatters("gpu", jaxlib) == ""


def test_a_run_that_starts_says_it_once(prepared_dir, monkeypatch, capsys):
    known_bugs.warn.cache_clear()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"jaxlib": "0.11.0"}[name])
    monkeypatch.setattr(known_bugs, "slow_scatters", lambda platform, v: f"{platform} {v} is slow")
    for _ in range(2):
        build_run(small(prepared_dir))
    assert capsys.readouterr().out.count("warning: cpu 0.11.0 is slow\n") == 1
    known_bugs.warn.cache_clear()


def test_the_extra_for_gpus_asks_for_the_first_version_without_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    fixed = ".".join(map(str, known_bugs.SLOW_SCATTERS[1]))
    assert project["optional-dependencies"]["gpu"] == [f"jax[cuda13]>={fixed}"]

"""A run goes on where its tables lie otherwise, and meanwhile no table is there twice."""

import os
import pathlib
import subprocess
import sys

import pytest
from small_runs import CutError, cut_after, logged, small

from dtn_jax.run.train import train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("devices", [1, pytest.param(8, marks=pytest.mark.nightly)])
def test_a_run_goes_on_as_on_tpus_and_ends_as_on_cpus(
    uncut, prepared_dir, tmp_path, monkeypatch, devices, capsys
):
    """Cut at step 12, then at 24: three parts, of which the middle one lies in lines."""
    for saves, platform in ((1, "cpu"), (2, "tpu")):
        with monkeypatch.context() as patch, pytest.raises(CutError):
            cut_after(patch, saves)
            given = {"parallel__table_platform": platform, "parallel__devices": devices}
            train(small(prepared_dir, **given), tmp_path / "run")
    results = train(small(prepared_dir), tmp_path / "run")
    said = capsys.readouterr().out
    assert "Resuming at step 12 of 45" in said
    assert "Resuming at step 24 of 45" in said
    for one, other in zip(logged(tmp_path / "run"), logged(uncut[0]), strict=True):
        assert list(one) == list(other)
        for key, value in other.items():
            if not isinstance(value, str):
                assert one[key] == pytest.approx(value, rel=1e-3, abs=1e-4), (one["step"], key)
    for key, found in uncut[1]["test"].items():
        assert results["test"][key]["logloss"] == pytest.approx(found["logloss"], rel=1e-4)


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what memory a process had")
@pytest.mark.parametrize(
    ("saved", "wanted", "width"),
    [("cpu", "tpu", 64), ("tpu", "cpu", 24), ("cpu", "tpu", 24), ("cpu", "cpu", 64)],
)
def test_a_table_is_never_held_twice(tmp_path, saved, wanted, width):
    script = pathlib.Path(__file__).with_name("one_restore.py")
    environment = {**os.environ, "PYTHONPATH": f"{script.parents[2]}:{script.parents[1]}"}
    rows = 100_000_000 // width  # 400 MB

    def run(what, platform):
        given = [str(tmp_path), what, platform, str(rows), str(width)]
        command = [sys.executable, str(script), *given]
        return subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    run("save", saved)
    held, most, left = map(int, run("restore", wanted).split())
    assert held > 395e6
    assert most < held + 256e6, (held, most, left)

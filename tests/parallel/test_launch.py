"""What the launcher does when processes end, and what a run on several needs."""

import re

import pytest
from small_runs import small

from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError
from dtn_jax.parallel import processes
from dtn_jax.train import train
from experiments import launch


def test_the_launcher_gives_up_and_does_not_repeat_wrong_input(monkeypatch, capsys):
    codes = [[0, -9], [0, 134], [-6, -9]]
    monkeypatch.setattr(launch, "run_once", lambda *_: codes.pop(0))
    assert launch.run_until_done([], 2, 2) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "process 1 of 2 ended with signal 9; restarting all" in shown
    assert "process 1 of 2 ended with exit code 134; restarting all" in shown
    assert "process 0 of 2 ended with signal 6; giving up after 2 restarts" in shown
    codes = [[2, -6], [0, 0]]
    assert launch.run_until_done([], 2, 2) == 2
    assert launch.run_until_done([], 2, 2) == 0


def test_what_the_launcher_needs():
    with pytest.raises(UserError, match="after --"):
        launch.main(["--processes=2"])
    with pytest.raises(UserError, match="at least 1"):
        launch.main(["--processes=0", "--", "x"])


@pytest.mark.parametrize("text", ["on", "host,2,0", "host:1,2", "host:1,two,0", "host:1,2,2"])
def test_how_processes_meet_is_checked(text):
    parallel = small("x").parallel
    parallel.processes = text
    with pytest.raises(UserError, match=re.escape(text)):
        processes.join(parallel)


def test_lanes_are_shared_evenly(prepared_dir, monkeypatch, tmp_path):
    lanes = catalog.load("adult", data_dir=prepared_dir).layout.lanes
    monkeypatch.setattr("jax.process_count", lambda: lanes - 1)
    monkeypatch.setattr(processes, "first_alone", lambda do: do())
    config = small(prepared_dir, parallel__devices=8)
    with pytest.raises(UserError, match=f"cannot share the {lanes} lanes of adult"):
        train(config, tmp_path / "run")

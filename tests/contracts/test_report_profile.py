"""A trace of some steps of a run, which changes nothing in it."""

import pytest
from small_runs import STEPS, CutError, assert_same_run, cut_after, small

from dtn_jax.cli import train as command
from dtn_jax.errors import UserError
from dtn_jax.run.train import train


@pytest.fixture
def said(capsys):
    """What was printed since the last call, in one line."""
    return lambda: " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_run_that_is_cut_and_resumed_while_it_is_profiled_is_the_same(
    finished_run, prepared_dir, tmp_path, monkeypatch, said
):
    config = small(prepared_dir)
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 1)  # at step 12
        train(config, tmp_path / "run", profile=7)
    assert "A trace of 7 steps is in" in said()
    train(config, tmp_path / "run", profile=1000)
    text = said()
    assert f"A trace of {STEPS - 12 - 1} steps is in" in text  # one compiles
    assert len(list((tmp_path / "run/profile").rglob("*.xplane.pb"))) == 2
    assert_same_run(config, finished_run, tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--profile=-1"], "--profile=-1: expected at least 1"),
        (["--profile=2", "--config.replicas=2"], r"leave config\.replicas out"),
        (["--profile=ten"], "invalid int value: 'ten'"),
    ],
)
def test_the_command_checks_it(tmp_path, options, told):
    start = ["--config=configs/adult.py:dtn", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=told):
        command.main([*start, *options])
    assert not (tmp_path / "run").exists()

"""--profile: a trace of some steps of a run, which changes nothing in it."""

import re

import pytest
from small_runs import STEPS, CutError, assert_same_run, cut_after, small

from dtn_jax.errors import UserError
from dtn_jax.report import profile
from dtn_jax.train import train
from experiments import train as command


@pytest.fixture
def said(capsys):
    """What was printed since the last call, in one line."""
    return lambda: " ".join(capsys.readouterr().out.split())


def test_a_run_that_is_cut_and_resumed_while_it_is_profiled_is_the_same(
    prepared_dir, tmp_path, monkeypatch, said
):
    config = small(prepared_dir)
    train(config, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 1)  # at step 12
        train(config, tmp_path / "run", profile=7)
    text = said()
    assert "the heaviest operations of 7 steps" in text
    assert re.search(r"\d% 7 ", text)  # what runs once a step
    assert "Nothing was profiled" not in text
    train(config, tmp_path / "run", profile=1000)
    text = said()
    assert f"the heaviest operations of {STEPS - 12 - 1} steps" in text  # one compiles
    assert len(list((tmp_path / "run/profile").rglob("*.xplane.pb"))) == 2
    assert_same_run(config, tmp_path / "whole", tmp_path / "run")
    train(config, tmp_path / "run", profile=5)
    assert "Nothing was profiled: the run is finished" in said()


def test_a_trace_ends_where_the_run_is_cut(prepared_dir, tmp_path, monkeypatch, said):
    config = small(prepared_dir)
    for saves in (1, 1):  # a trace that had not ended would refuse the next one
        with monkeypatch.context() as patch, pytest.raises(CutError):
            cut_after(patch, saves)
            train(config, tmp_path / "run", profile=1000)
    assert "heaviest" not in said()


def test_of_a_run_of_one_step_there_is_nothing(prepared_dir, tmp_path, said):
    train(small(prepared_dir, train__max_steps=1), tmp_path / "run", profile=3)
    assert "Nothing was profiled: the run is finished" in said()
    assert not (tmp_path / "run/profile").exists()


@pytest.mark.parametrize("strategy", ["shard", "pmap"])
def test_several_devices(prepared_dir, tmp_path, strategy, said):
    config = small(
        prepared_dir, parallel__devices=2, parallel__strategy=strategy, train__max_steps=4
    )
    train(config, tmp_path / "run", profile=2)
    assert "the heaviest operations of 2 steps" in said()


def test_a_trace_that_names_no_operations_is_told(prepared_dir, tmp_path, monkeypatch, said):
    monkeypatch.setattr(profile, "operations", lambda trace: [])
    train(small(prepared_dir, train__max_steps=3), tmp_path / "run", profile=2)
    text = said()
    assert "There is no table of operations: the trace of 2 steps names none" in text
    assert "The trace is in" in text


def test_the_command_checks_it(tmp_path):
    start = ["--config=configs/adult.py:dtn", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="--profile=-1: expected a number of steps"):
        command.main([*start, "--profile=-1"])
    with pytest.raises(UserError, match=r"leave config\.replicas out"):
        command.main([*start, "--profile=2", "--config.replicas=2"])
    with pytest.raises(UserError, match="invalid int value: 'ten'"):
        command.main([*start, "--profile=ten"])
    assert not (tmp_path / "run").exists()

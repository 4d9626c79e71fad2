"""SIGTERM and Ctrl-C while a run trains: its step is saved, and what resumes is an uncut run."""

import signal
import time

import pytest
from small_runs import assert_same_run, last_state, logged, small

from dtn_jax.parallel import interrupts
from dtn_jax.parallel.preemption import Preempted
from dtn_jax.run import replicas
from dtn_jax.run import train as training
from dtn_jax.run.loss_log import LossLog
from dtn_jax.run.replicas import train_replicas
from dtn_jax.run.train import train

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def sent(number):
    """Sends a signal to this process, and waits until it is noted."""
    signal.raise_signal(number)
    end = time.monotonic() + 60
    while not interrupts._came:
        assert time.monotonic() < end
        time.sleep(0.01)


def after_chunk(patch, step, number):
    """Sends it while the chunk that ends at this step, not the first one, is on its way."""
    add = LossLog.add

    def add_and_send(log, at, *rest):
        add(log, at, *rest)
        if at == step:
            sent(number)

    patch.setattr(LossLog, "add", add_and_send)


def handlers():
    return [signal.getsignal(number) for number in CODES]


def test_the_steps_in_flight_are_saved_and_the_rest_is_done_later(
    uncut, prepared_dir, tmp_path, monkeypatch, capsys
):
    """Step 20 ends a chunk, and has no checkpoint otherwise."""
    config, before = small(prepared_dir), handlers()
    with monkeypatch.context() as patch, pytest.raises(Preempted) as ended:
        after_chunk(patch, 20, signal.SIGTERM)
        train(config, tmp_path / "run", preemptible=True)
    assert ended.value.code == 143
    assert handlers() == before
    saved = f"step 20 of 45 is saved in {tmp_path / 'run'}; the same command resumes there"
    assert capsys.readouterr().err == f"preempted: {saved}\n"
    assert int(last_state(config, tmp_path / "run")[0].step) == 20
    train(config, tmp_path / "run", preemptible=True)
    assert "Resuming at step 20 of 45" in capsys.readouterr().out
    assert_same_run(config, uncut[0], tmp_path / "run")


@pytest.mark.parametrize(("at", "number"), [(30, signal.SIGTERM), (45, signal.SIGINT)])
def test_a_validation_is_ended_first(
    at, number, uncut, prepared_dir, tmp_path, monkeypatch, capsys
):
    """After the last one nothing is left but to score test."""
    validate = training.validate

    def validate_and_send(run, folder, checkpoints, state, step, progress):
        if step == at:
            sent(number)
        return validate(run, folder, checkpoints, state, step, progress)

    config = small(prepared_dir)
    with monkeypatch.context() as patch:
        patch.setattr(training, "validate", validate_and_send)
        with pytest.raises(Preempted) as ended:
            train(config, tmp_path / "run", preemptible=True)
    assert ended.value.code == CODES[number]
    word = "preempted" if number == signal.SIGTERM else "interrupted"
    assert capsys.readouterr().err.startswith(f"{word}: step ")
    assert max(r["step"] for r in logged(tmp_path / "run") if r["kind"] == "validation") == at
    assert not (tmp_path / "run/results.json").exists()
    train(config, tmp_path / "run", preemptible=True)
    assert_same_run(config, uncut[0], tmp_path / "run")


def test_who_does_not_ask_for_it_is_interrupted_as_before(prepared_dir, tmp_path, monkeypatch):
    def interrupt(log, at, *rest):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(LossLog, "add", interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a command sets its own
    try:
        with pytest.raises(KeyboardInterrupt):
            train(small(prepared_dir), tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not list((tmp_path / "run/checkpoints/last").iterdir())


@pytest.mark.slow
def test_replicas_are_saved_at_one_step(prepared_dir, tmp_path, monkeypatch, capsys):
    config = small(prepared_dir, replicas="seed=0,5")
    train_replicas(config, tmp_path / "uncut")
    with monkeypatch.context() as patch, pytest.raises(Preempted):
        after_chunk(patch, 20, signal.SIGTERM)
        train_replicas(config, tmp_path / "run", preemptible=True)
    assert f"step 20 of 45 is saved in {tmp_path / 'run'};" in capsys.readouterr().err
    train_replicas(config, tmp_path / "run", preemptible=True)
    for i, given in enumerate(replicas.parse_replicas(config)):
        own = replicas.replica_config(config, given)
        assert_same_run(own, tmp_path / f"uncut/replica_{i}", tmp_path / f"run/replica_{i}")

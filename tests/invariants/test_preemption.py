"""SIGTERM and Ctrl-C while a run trains: its step is saved, and what resumes is an uncut run."""

import os
import pathlib
import signal
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("at", "number"),
    [(30, signal.SIGTERM), pytest.param(45, signal.SIGINT, marks=pytest.mark.slow)],
)
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


# Ctrl-C and SIGTERM at any moment of a command: told, with an exit code.


ROOT = pathlib.Path(__file__).parents[2]
SOON = 20  # seconds, on a machine that has other work; what is interrupted would take 30 or more
# `python -m NAME ...`, which says when it has set its handler: before that Python has its own.
BEGIN = """
import runpy, signal, sys

plain = signal.signal

def told(number, handler):
    signal.signal = plain
    before = plain(number, handler)
    print("begun", flush=True)
    return before

signal.signal = told
name = sys.argv[1]
sys.argv[:2] = ["-m"]
runpy.run_module(name, run_name="__main__", alter_sys=True)
"""
STUCK = """
import hashlib
from dtn_jax.parallel import interrupts

interrupts.at_once()
with interrupts.raised("interrupted; again"):
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**8)  # one instruction of Python, for a minute
"""
NOTED = """
import hashlib, signal
from dtn_jax.parallel import interrupts

with interrupts.noted(signal.SIGTERM):
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**8)
"""


def interrupted(words, *, begun=b"", seconds=0.0, signals=(signal.SIGINT,)):
    """(exit code, what was said, seconds until it ended) of a process that gets Ctrl-C."""
    made = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while begun and begun not in (line := made.stdout.readline()):
        assert line, "it ended before it had begun"
    for number in signals:
        time.sleep(seconds)
        start = time.monotonic()
        assert len(signals) == 1 or made.poll() is None
        made.send_signal(number)
    try:
        _, err = made.communicate(timeout=120)
    finally:
        made.kill()
    return made.returncode, err.decode(), time.monotonic() - start


def test_inside_it_is_raised_and_after_it_all_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts.raised():
        assert signal.getsignal(signal.SIGINT) is not before
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_where_it_is_ignored_it_stays_so(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.raised():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_ctrl_c_ends_at_once(first):
    """Of a run that would save its step, while Python can do nothing."""
    given = {"begun": b"begun", "seconds": 0.3, "signals": (first, signal.SIGINT)}
    code, said, seconds = interrupted(["-c", NOTED], **given)
    assert code == 130
    assert said.endswith("interrupted\n")
    assert ("Ctrl-C again ends at once" in said) == (first == signal.SIGINT)
    assert seconds < SOON


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted; again\n"), (signal.SIGTERM, 143, "terminated; again\n")],
)
def test_a_compiler_does_not_hold_it_up(number, code, said):
    """SIGTERM comes before there is anything to save."""
    given = {"begun": b"begun", "seconds": 0.1, "signals": (number,)}
    *found, seconds = interrupted(["-c", STUCK], **given)
    assert found == [code, said]
    assert seconds < SOON


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "seconds"),
    [(["experiments.train"], 0.15), (["experiments.train"], 2.5), (["dtn_jax", "train"], 0.8)],
)
def test_while_a_command_begins(command, seconds, tmp_path):
    words = ["-c", BEGIN, *command, "--config=configs/adult.py:dtn", "--config.train.epochs=1000"]
    words.append(f"--workdir={tmp_path / 'run'}")
    code, err, took = interrupted(words, begun=b"begun", seconds=seconds)
    assert code == 130
    assert err.startswith("interrupted")
    assert err.count("\n") == 1
    assert took < SOON

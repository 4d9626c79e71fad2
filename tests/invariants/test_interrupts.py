"""Ctrl-C and SIGTERM at any moment of a command: told, with an exit code."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from dtn_jax.parallel import interrupts

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

"""Runs dtn-jax train as several processes on this machine; if one dies, restarts all.

Everything after `--` is passed to dtn-jax train. This command is for one machine and for tests;
on a cluster, each host runs dtn-jax train itself. docs/launch.md has examples, and the flags of
XLA that are worth setting.
"""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from dtn_jax.cli import command
from dtn_jax.errors import UserError
from dtn_jax.parallel import interrupts
from dtn_jax.report import screen

EXAMPLE = "dtn-jax launch --processes=2 -- --config=configs/adult.py:dtn --workdir=runs/adult_two"
USAGE = "%(prog)s [--processes N] [--restarts N] -- ARGUMENTS OF dtn-jax train"
OPTIONS = {"processes=N": "how many to start", "restarts=N": "times to restart all if one dies"}
DEFAULTS = {"processes": 2, "restarts": 3}
RANGES = {"processes": (1, 256), "restarts": (0, math.inf)}
PREEMPTED = 143, -signal.SIGTERM  # saved first, or with nothing to save
LAST = {2, interrupts.CODE}  # of wrong input, where the same would happen again, and of Ctrl-C
PATIENCE = 60  # seconds that the others have to end by themselves when one has failed
ended = threading.Event()  # this command has SIGTERM, and its processes are to have it


def main(arguments: Sequence[str]) -> None:
    arguments = list(arguments)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    known, unknown = command.Parser(__name__).parse_known_args(arguments[:at])
    training = arguments[at + 1 :]
    if unknown or not training:
        what = f"unknown argument {unknown[0]!r}" if unknown else "nothing to run"
        raise UserError(f"{what}: the arguments of train come after --")
    # Only take note: an exception between a process's start and its entry in the list would leave
    # the process running.
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    if code := run_until_done(training, known.processes, known.restarts):
        sys.exit(code)


def run_until_done(training: Sequence[str], count: int, restarts: int) -> int:
    """Starts all processes, and again if one dies; returns the exit code."""
    for left in range(restarts, -1, -1):
        codes = run_once(training, count)
        if not any(codes):
            return 0
        if last := LAST & {*codes}:
            return min(last)
        if ended.is_set() or {*codes} & {*PREEMPTED}:
            return PREEMPTED[0]
        index, code = next((index, code) for index, code in enumerate(codes) if code)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        next_ = f"restarting all ({left} restarts left)" if left else "the same command resumes"
        screen.say(f"process {index} of {count} ended with {how}; {next_}")
    return 1


def run_once(training: Sequence[str], count: int) -> list[int]:
    """Starts the processes, waits for all of them, and returns their exit codes.

    When one fails, the others have PATIENCE seconds: JAX ends them when it misses the heartbeat.
    Whatever still runs then is killed.
    """
    address, deadline, passed_on = f"127.0.0.1:{free_port()}", math.inf, False
    started: list[subprocess.Popen] = []
    try:
        for index in range(count):
            where = f"--config.parallel.processes={address},{count},{index}"
            run = [sys.executable, "-m", "dtn_jax", "train", *training, where]
            started.append(subprocess.Popen(run))
        while None in (codes := [process.poll() for process in started]):
            if ended.is_set() and not passed_on:
                passed_on = True
                for process in started:  # they save their step, and end
                    process.terminate()
            if any(codes):
                deadline = min(deadline, time.monotonic() + PATIENCE)
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    except KeyboardInterrupt:  # a terminal tells the processes too; a second one kills them
        for process in started:
            process.terminate()
        for process in started:
            process.wait()
        return [interrupts.CODE]
    finally:
        for process in started:
            process.kill()  # which does nothing to one that has ended
            process.wait()
    return [process.returncode for process in started]


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]

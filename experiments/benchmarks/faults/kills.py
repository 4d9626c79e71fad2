"""Commands that are killed at random moments, again and again, until they have ended."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import signal
from collections.abc import Mapping

from experiments.benchmarks.faults.calls import Server, Work, timed
from experiments.benchmarks.faults.tally import Tally

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ENDED = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM, 128 + signal.SIGINT}
ENDED |= {-signal.SIGINT}
MOST_WAIT = 60.0  # seconds that a process may take to end after a signal
TRIES = 30  # calls for each kill that hits, at most: on a busy machine an uncut call may take long


def killed(server: Server, work: Work, folder: pathlib.Path, kills: int, seed: int) -> Tally:
    """Kills a command `kills` times while it works; what it finds must be an uncut call's.

    The moments are uniform over the seconds that an uncut call takes. One that comes when the call
    has already ended is no kill; what was found is compared, and a new folder begun.
    """
    tally = Tally("killed (SIGKILL, SIGTERM, SIGINT)", work.name)
    timed(server, work, folder / "first")  # its programs are compiled for the others
    seconds = timed(server, work, folder / "uncut")
    expected = work.found(folder / "uncut")
    if work.found(folder / "first") != expected:
        raise RuntimeError(f"{work.name}: two uncut calls differ")
    draw, hits, rounds, since = random.Random(f"{work.name} {seed}"), 0, 0, 0
    for _ in range(TRIES * kills):
        own = folder / f"killed{rounds}"
        if hits == kills:
            break
        stop = SIGNALS[hits % len(SIGNALS)]
        code = cut(server, work, own, draw.uniform(0, seconds), stop)
        if code == 0:  # it ended first: the kills until now, judged together
            judge(tally, work, own, expected, since)
            rounds, since = rounds + 1, 0
        elif code in ENDED:
            hits, since = hits + 1, since + 1
        else:
            hits += 1
            tally.count("lost", f"signal {stop.name}: exit {code}: {last(own)}")
    own = folder / f"killed{rounds}"
    code = server.run(work.module, work.arguments(own), log_of(own))
    if code:
        tally.count("lost", f"exit {code} after kills: {last(own)}")
    judge(tally, work, own, expected, since)
    return tally


def cut(
    server: Server, work: Work, folder: pathlib.Path, after: float, stop: signal.Signals
) -> int | None:
    """The code of a call that gets a signal after some seconds; None where it hung then."""
    pid = server.start(work.module, work.arguments(folder), log_of(folder))
    code = server.wait(after)
    if code is not None:
        return code
    with contextlib.suppress(ProcessLookupError):  # it has ended just now
        os.kill(pid, stop)
    code = server.wait(MOST_WAIT)
    with contextlib.suppress(ProcessLookupError):  # what it had started ends with it
        os.killpg(pid, signal.SIGKILL)
    if code is None:
        server.wait()
    return code


def judge(
    tally: Tally, work: Work, folder: pathlib.Path, expected: Mapping[str, object], kills: int
) -> None:
    """Counts the kills that a folder has seen by what it holds in the end."""
    found = work.found(folder)
    same = found == expected
    wrong = [k for k in {**expected, **found} if found.get(k) != expected.get(k)]
    for _ in range(kills):
        tally.count("survived" if same else "wrong", f"other {', '.join(sorted(wrong)[:4])}")


def log_of(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(f"{folder.name}.log")


def last(folder: pathlib.Path) -> str:
    """The end of what a call has said."""
    log = log_of(folder)
    return log.read_text(errors="replace")[-600:] if log.exists() else ""

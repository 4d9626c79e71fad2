"""Two calls of one command at once, on one folder."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from experiments.benchmarks.faults.calls import Server, Work, timed
from experiments.benchmarks.faults.tally import Tally


def two_at_once(servers: Sequence[Server], work: Work, folder: pathlib.Path, times: int) -> Tally:
    """Both must find what one finds alone; one of them may say that the other is at work."""
    tally = Tally("two at once", work.name)
    timed(servers[0], work, folder / "alone")
    expected = work.found(folder / "alone")
    for number in range(times):
        shared = folder / f"shared{number}"
        logs = [folder / f"shared{number}-{i}.log" for i in range(2)]
        for server, log in zip(servers, logs):
            server.start(work.module, work.arguments(shared), log)
        codes = [server.wait() for server in servers]
        told = "".join(log.read_text(errors="replace") for log in logs)
        if not {0, *codes} <= {0, 2} or 0 not in codes or "Traceback" in told:
            tally.count("lost", f"exits {codes}: {told}")
        elif work.found(shared) != expected:
            tally.count("wrong", f"exits {codes}: {told[-400:]}")
        else:
            tally.count("named" if 2 in codes else "survived")
    return tally

"""Clients that each send the next request when the last one is answered."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

import numpy as np

from experiments.benchmarks.served.server import Connection

WARM = 0.2  # of the seconds, before anything is measured


async def _client(
    port: int, requests: Sequence[bytes], first: int, begin: float, end: float
) -> list[tuple[float, int]]:
    """(seconds, status) of each request that ended between `begin` and `end`."""
    connection, found = Connection(port), []
    at = first
    while (start := time.perf_counter()) < end:
        status, _ = await connection.ask(requests[at % len(requests)])
        now = time.perf_counter()
        if begin <= now <= end:
            found.append((now - start, status))
        at += 1
    connection.close()
    return found


def load(port: int, clients: int, requests: Sequence[bytes], seconds: float) -> dict[str, float]:
    """Requests a second, and the median and the 99th percentile of their seconds.

    Raises:
      RuntimeError: a request was not answered with scores.
    """

    async def all_clients() -> list[tuple[float, int]]:
        begin = time.perf_counter() + WARM * seconds
        each = (_client(port, requests, n, begin, begin + seconds) for n in range(clients))
        return list(itertools.chain.from_iterable(await asyncio.gather(*each)))

    found = asyncio.run(all_clients())
    bad = {status for _, status in found} - {200}
    if bad or not found:
        raise RuntimeError(f"good requests were answered with {sorted(bad) or 'nothing'}")
    took = np.array([spent for spent, _ in found])
    return {
        "rate": len(took) / seconds,
        "p50": float(np.median(took)),
        "p99": float(np.percentile(took, 99)),
    }

"""Serving: requests a second and their times beside the bare compiled call; 10,000 bad requests.

A small DTN on 20 columns is trained for a moment, exported, and served by a process of its own. Its
clients are in this process, on the same machine; each sends the next request when the last one is
answered. A request is a user with 1, 100 or 1000 candidates, as JSON. The bare call is the same
program on the same rows, encoded before, in this process, alone.
"""

from __future__ import annotations

import asyncio
import collections
import json
import pathlib
import tempfile
import time

import numpy as np

from dtn_jax.export.model import Model
from experiments.benchmarks.measured import Goal, Measured, Options
from experiments.benchmarks.served import made
from experiments.benchmarks.served.garbage import Garbage
from experiments.benchmarks.served.load import load
from experiments.benchmarks.served.server import Connection, request, running

CLIENTS, CANDIDATES = (1, 8, 64), (1, 100, 1000)
SECONDS, QUICK_SECONDS = 8.0, 0.5
BODIES = 20  # other rows in each
GARBAGE, QUICK_GARBAGE = 10_000, 340
EVERY = 20  # bad requests between two good ones
SLOW = 20  # clients that send half a request and wait
NEAR = 1e-6
SHOWN = ("candidates", "clients", "requests/s")
SHOWN += ("rows/s, of bare", "p50, of bare", "p99, of bare")


def measure(options: Options) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        place = made.model(folder, options.quick)
        model = made.load(place)
        rows = {n: [made.rows(n, seed) for seed in range(BODIES)] for n in CANDIDATES}
        with running(place, folder / "log", "--body_seconds=2") as port:
            found = speeds(model, port, rows, options.quick)
            count = QUICK_GARBAGE if options.quick else GARBAGE
            statuses, wrong, slow = asyncio.run(attack(model, port, rows[100][0], count))
        log = (folder / "log").read_text()
    failed = sum(n for status, n in statuses.items() if status >= 500)
    scored = statuses.get(200, 0)
    each = ", ".join(f"{n:,} x {status or 'closed'}" for status, n in sorted(statuses.items()))
    return Measured(
        "Requests of a user with candidates, as JSON; times in ms, and as multiples of a bare call",
        found,
        goals=[
            Goal(f"of {count:,} bad requests answered with 5xx", 0, failed, at_least=False),
            Goal("of them answered with scores", 0, scored, at_least=False),
            Goal("good requests between them that were answered wrongly", 0, wrong, at_least=False),
            Goal(f"of {SLOW} slow clients cut off with 408", SLOW, slow),
            Goal("tracebacks in the server's log", 0, log.count("Traceback"), at_least=False),
        ],
        notes=[f"bad requests: {each}"],
        shown=SHOWN,
    )


def speeds(model: Model, port: int, rows: dict[int, list[list[dict]]], quick: bool) -> list[dict]:
    """Each number of clients at each number of candidates, with the bare call before and after."""
    found, seconds = [], QUICK_SECONDS if quick else SECONDS
    for candidates in CANDIDATES:
        requests = [request(made.body(each)) for each in rows[candidates]]
        encoded = [model.encode(each) for each in rows[candidates]]
        for clients in CLIENTS:
            calls = bare(model, encoded, seconds / 4)
            got = load(port, clients, requests, seconds)
            one = np.median(calls + bare(model, encoded, seconds / 4))
            found.append(
                {
                    "candidates": candidates,
                    "clients": clients,
                    "requests/s": got["rate"],
                    "rows/s": got["rate"] * candidates,
                    "p50": got["p50"] * 1e3,
                    "p99": got["p99"] * 1e3,
                    "bare call": float(one) * 1e3,
                    "rows/s, of bare": got["rate"] * float(one),
                    "p50, of bare": got["p50"] / float(one),
                    "p99, of bare": got["p99"] / float(one),
                }
            )
    return found


def bare(model: Model, encoded: list, seconds: float) -> list[float]:
    """Seconds of each compiled call on rows that are encoded already, for some seconds."""
    model.logits(encoded[0])  # compiled
    found: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or not found:
        model.logits(encoded[len(found) % len(encoded)])
        found.append(time.perf_counter() - start)
    return found


async def attack(
    model: Model, port: int, rows: list[dict], count: int
) -> tuple[dict[int, int], int, int]:
    """Sends bad requests, good ones between them, while slow clients wait.

    Returns:
      {status: how many of the bad ones}, the good ones answered wrongly, and the slow clients that
      were cut off.
    """
    garbage, draw = Garbage(rows, made.stream(rows)), np.random.default_rng(0)
    bad, good = Connection(port), Connection(port)
    right = made.wanted(model, rows)
    slow = [asyncio.create_task(_slow(port)) for _ in range(SLOW)]
    statuses: collections.Counter = collections.Counter()
    wrong = 0
    for at in range(count):
        _, sent = garbage.draw(draw)
        status, _ = await asyncio.wait_for(bad.ask(sent), 60)
        statuses[status] += 1
        if at % EVERY == EVERY - 1:
            wrong += not await _is_right(good, made.body(rows), right)
    cut = sum([await one for one in slow])
    bad.close()
    good.close()
    return dict(statuses), wrong, cut


async def _is_right(connection: Connection, body: bytes, right: dict[str, np.ndarray]) -> bool:

    status, answer = await connection.ask(request(body))
    if status != 200:
        return False
    scores = json.loads(answer)["scores"]
    return all(np.abs(np.array(scores[n]) - v).max() <= NEAR for n, v in right.items())


async def _slow(port: int) -> bool:
    """Whether a client that sends half a request is told 408."""
    connection = Connection(port)
    status, _ = await asyncio.wait_for(connection.ask(request(b"x" * 100)[:-50]), 60)
    connection.close()
    return status == 408

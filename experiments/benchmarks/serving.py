"""Serving: requests a second and their times beside the bare compiled call.

A small DTN on the log of the suite `logs` is trained for a moment, exported, and served by a
process of its own. Its clients are in this process, on the same machine; each sends the next
request when the last one is answered. A request is a user with 1, 100 or 1000 candidates, as JSON.
The bare call is the same program on the same rows, encoded before, in this process, alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export.model import Model
from experiments.benchmarks.logs import columns, exported
from experiments.benchmarks.measured import Measured, Options

ROWS, QUICK = 100_000, 6_000  # of the log
CLIENTS, CANDIDATES = (1, 8, 64), (1, 100, 1000)
SECONDS, QUICK_SECONDS = 8.0, 0.5
WARM = 0.2  # of the seconds, before anything is measured
BODIES = 20  # other rows in each
LABELS = ("click", "cart", "order")
USER = ("user", "session", "query", "city", "device", "system", "language", "t", "age")
PATIENCE = 300.0  # seconds until a server must be ready
LISTENS = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")
SHOWN = ("candidates", "clients", "requests/s")
SHOWN += ("rows/s, of bare", "p50, of bare", "p99, of bare")


def measure(options: Options) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        argument = "dtn,model.experts=mlp" if options.quick else "dtn"
        place = exported(folder, "model", argument, QUICK if options.quick else ROWS)
        with running(place, folder / "log") as port:
            lines = list(speeds(export.load(place, largest=1024), port, options.quick))
    title = "Requests of a user with candidates, as JSON; times in ms, and as multiples of a bare "
    return Measured(title + "call", lines, shown=SHOWN)


def speeds(model: Model, port: int, quick: bool) -> Iterator[dict[str, float]]:
    """Each number of clients at each number of candidates, with the bare call before and after."""
    seconds = QUICK_SECONDS if quick else SECONDS
    for candidates in CANDIDATES:
        given = [rows(candidates, seed) for seed in range(BODIES)]
        requests = [request(body(each)) for each in given]
        encoded = [model.encode(each) for each in given]
        for clients in CLIENTS:
            calls = bare(model, encoded, seconds / 4)
            took = asyncio.run(load(port, clients, requests, seconds))
            one = float(np.median(calls + bare(model, encoded, seconds / 4)))
            rate = len(took) / seconds
            times = {"p50": float(np.median(took)), "p99": float(np.percentile(took, 99))}
            yield {
                "candidates": candidates,
                "clients": clients,
                "requests/s": rate,
                "rows/s": rate * candidates,
                **{name: 1e3 * time for name, time in times.items()},
                "bare call": 1e3 * one,
                "rows/s, of bare": rate * one,
                **{f"{name}, of bare": time / one for name, time in times.items()},
            }


def bare(model: Model, encoded: list, seconds: float) -> list[float]:
    """Seconds of each compiled call on rows that are encoded already, for some seconds."""
    model.logits(encoded[0])  # compiled
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or not took:
        model.logits(encoded[len(took) % len(encoded)])
        took.append(time.perf_counter() - start)
    return took


async def load(port: int, clients: int, requests: Sequence[bytes], seconds: float) -> list[float]:
    """Seconds of each request of so many clients that ended in these seconds.

    Raises:
      RuntimeError: a request was not answered with scores.
    """
    begin = time.perf_counter() + WARM * seconds
    end = begin + seconds

    async def client(first: int) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        found = []
        for at in itertools.count(first):
            if (start := time.perf_counter()) >= end:
                break
            status, answer = await ask(reader, writer, requests[at % len(requests)])
            if status != 200:
                raise RuntimeError(f"a good request was answered with {status}: {answer[:200]}")
            if begin <= time.perf_counter() <= end:
                found.append(time.perf_counter() - start)
        writer.close()
        return found

    each = await asyncio.gather(*(client(n) for n in range(clients)))
    return [seconds for found in each for seconds in found]


def rows(count: int, seed: int) -> list[dict]:
    """Rows of a day that training has not seen, as JSON has them: a user and many candidates."""
    frame = columns(max(count, 64), 1000 + seed).drop(LABELS)
    frame = frame.with_columns(pl.col("t").dt.strftime("%Y-%m-%dT%H:%M:%S"))
    frame = frame.sample(count, seed=seed)
    return frame.with_columns(pl.lit(frame[name][0]).alias(name) for name in USER).to_dicts()


def body(rows: list[dict]) -> bytes:
    """The rows as a request: the user's fields once."""
    user = {name: rows[0][name] for name in USER}
    rest = [{k: v for k, v in row.items() if k not in USER} for row in rows]
    return json.dumps({"user": user, "candidates": rest}).encode()


def request(body: bytes) -> bytes:
    """The bytes of a POST to /score."""
    head = (
        "POST /score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


@contextlib.contextmanager
def running(model: pathlib.Path, log: pathlib.Path) -> Iterator[int]:
    """The port of a server that is ready; it must end with exit code 0."""
    words = ["-m", "dtn_jax", "serve", f"--model={model}", "--port=0"]
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, *words], stdout=out, stderr=out)
    try:
        yield ready(process, log)
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            raise UserError(f"the server ended with exit code {process.returncode}; see {log}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ready(process: subprocess.Popen, log: pathlib.Path) -> int:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        text = log.read_text()
        if (place := LISTENS.search(text)) and "ready: batches" in text:
            return int(place.group(1))
        time.sleep(0.1)
    raise UserError(f"the server did not start:\n{log.read_text()}")


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes
) -> tuple[int, bytes]:
    """The status and body of the answer to a request."""
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(re.search(rb"\r\ncontent-length: (\d+)", head)[1])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)

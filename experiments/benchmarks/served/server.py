"""A server in a process of its own, and one connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from dtn_jax.errors import UserError

PATIENCE = 300.0  # seconds until it must be ready
LISTENS = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


@contextlib.contextmanager
def running(model: pathlib.Path, log: pathlib.Path, *options: str) -> Iterator[int]:
    """The port of a server that is ready; it must end with exit code 0."""
    command = [sys.executable, "-m", "experiments.serve", f"--model={model}", "--port=0", *options]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield _ready(process, log)
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            raise UserError(f"the server ended with exit code {process.returncode}; see {log}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen, log: pathlib.Path) -> int:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        text = log.read_text()
        if (found := LISTENS.search(text)) and "ready: batches" in text:
            return int(found.group(1))
        time.sleep(0.1)
    raise UserError(f"the server did not start:\n{log.read_text()}")


def request(body: bytes, kind: str = "application/json", accept: str = "*/*") -> bytes:
    """The bytes of a POST to /score."""
    head = (
        f"POST /score HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
        f"accept: {accept}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


class Connection:
    """Sends bytes, and reads answers; opens again what the server has closed."""

    def __init__(self, port: int):
        self.port = port
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, sent: bytes) -> tuple[int, bytes]:
        """The status and body of the answer; status 0 where the connection was closed without."""
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            self.writer.write(sent)
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"\r\ncontent-length: (\d+)", head)
            body = await self.reader.readexactly(int(length[1])) if length else b""
            if not length or b"\r\nconnection: close" in head:
                self.close()
            return int(head.split(b" ", 2)[1]), body
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            return 0, b""

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

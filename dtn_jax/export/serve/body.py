"""A request's bytes, within their limits."""

from __future__ import annotations

import asyncio

from fastapi import Request

from dtn_jax.export.serve.limits import MB, Limits
from dtn_jax.export.serve.refused import CLOSE, Refused

RETRY = {"retry-after": "1"}  # a header
LINGER = 1.0  # seconds in which the rest of a refused body is read, so that its sender reads why


class Held:
    """Bytes of all bodies that are in memory."""

    def __init__(self, limits: Limits):
        self.limits, self.bytes = limits, 0

    def add(self, count: int) -> None:
        if self.bytes + count > self.limits.held_bytes:
            raise Refused(503, "the server is full; come again", headers=RETRY | CLOSE)
        self.bytes += count


async def read(request: Request, limits: Limits, held: Held) -> bytes:
    """The body; its bytes are held until the caller gives them back.

    Raises:
      Refused: 413 where it is too long, 408 where it comes too slowly, 503 where there is no room.
      starlette.requests.ClientDisconnect: the client has gone.
    """
    length, kept = request.headers.get("content-length", ""), bytearray()
    try:
        if length.isascii() and length.isdigit() and int(length[:20]) > limits.body_bytes:
            await _skip(request)
            raise _too_long(limits)
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                if len(kept) + len(part) > limits.body_bytes:
                    await _skip(request)
                    raise _too_long(limits)
                held.add(len(part))
                kept += part
    except BaseException as error:
        held.bytes -= len(kept)
        if isinstance(error, TimeoutError):
            said = f"the body did not arrive within {limits.body_seconds:g} s"
            raise Refused(408, said, headers=CLOSE) from None
        raise
    return bytes(kept)


def _too_long(limits: Limits) -> Refused:
    return Refused(413, f"the body is longer than {limits.body_mb} MiB", headers=CLOSE)


async def _skip(request: Request) -> None:
    """Reads what is left, for a moment, and drops it."""
    if request.headers.get("expect"):
        return  # the body waits for a word that does not come
    try:
        async with asyncio.timeout(LINGER):
            left = 16 * MB
            while left > 0:
                message = await request.receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return

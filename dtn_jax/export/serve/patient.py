"""HTTP connections whose clients may not take for ever: uvicorn's protocol with two more clocks.

Uvicorn waits without end for the head of a request, and for a client that does not read its answer.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.auto import AutoHTTPProtocol

SECONDS = 10.0  # for a head; and for a client to go on reading


class Patient(AutoHTTPProtocol):
    """A connection is closed when a head, or the reading of an answer, takes more than SECONDS."""

    _head: asyncio.TimerHandle | None = None
    _full: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._head = self.loop.call_later(SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        inside = self.cycle is not None and not self.cycle.response_complete
        if inside and self._head is not None:
            self._head.cancel()
            self._head = None
        elif not inside and self._head is None:
            self._head = self.loop.call_later(SECONDS, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._full = self.loop.call_later(SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unset_full()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_full()
        if self._head is not None:
            self._head.cancel()

    def _unset_full(self) -> None:
        if self._full is not None:
            self._full.cancel()
            self._full = None

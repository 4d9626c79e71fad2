"""A tracker that can neither end a run nor hold it up."""

from __future__ import annotations

import contextlib
import pathlib
import queue
import sys
import threading
from collections.abc import Mapping, Sequence

MOST = 10_000  # records that wait for a slow tracker; more are dropped
WAIT = 60.0  # seconds for a tracker to end, when the run has
INTERRUPTED_WAIT = 1.0  # when it was interrupted or failed


class Background:
    """Calls a tracker, in a thread of its own where it `waits` for others.

    What the tracker raises becomes one warning, after which it is left alone.
    """

    def __init__(
        self,
        name: str,
        make: type,
        waits: bool,
        folder: pathlib.Path,
        config: Mapping,
        step: int,
    ):
        self.name, self.tracker, self.failed = name, None, False
        self.calls: queue.Queue = queue.Queue(MOST)
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        if waits:
            self.thread.start()
        self._call(lambda: setattr(self, "tracker", make(folder, config, step)))

    def log(self, record: Mapping) -> None:
        self._call(lambda: self.tracker.log(record))

    def finish(self, results: Mapping, files: Sequence[pathlib.Path]) -> None:
        self._call(lambda: self.tracker.finish(results, files))

    def close(self) -> None:
        self._call(lambda: self.tracker.close())
        if not self.thread.is_alive():
            return
        with contextlib.suppress(queue.Full):  # a tracker that failed ends, too
            self.calls.put_nowait(None)
        self.thread.join(WAIT if sys.exc_info()[0] is None else INTERRUPTED_WAIT)
        if self.thread.is_alive():
            self._fail("it did not end in time")

    def _call(self, do) -> None:
        if self.failed:
            return
        if not self.thread.is_alive():
            self._try(do)
            return
        try:
            self.calls.put_nowait(do)
        except queue.Full:
            self._fail(f"{MOST:,} records wait for it")

    def _work(self) -> None:
        while (do := self.calls.get()) is not None:
            self._try(do)

    def _try(self, do) -> None:
        if self.failed:
            return
        try:
            do()
        except Exception as error:  # whatever a tracker's package raises
            self._fail(f"{type(error).__name__}: {str(error)[:300]}")

    def _fail(self, why: str) -> None:
        if not self.failed:
            self.failed = True
            print(
                f"warning: tracker {self.name} failed, and the run goes on without it ({why}). All "
                "numbers are in the run's metrics.jsonl and results.json",
                file=sys.stderr,
            )

"""The thread that owns the model: requests that wait share a call, and a new model begins between
two calls.

It reads bodies, encodes and scores, so that the event loop never does. A request waits for others
`max_wait_ms` at most, and not at all while no other is on its way.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping

from dtn_jax.export.serve import answers, arrow_rows, json_rows, scorer
from dtn_jax.export.serve.asked import Asked
from dtn_jax.export.serve.counters import Counters
from dtn_jax.export.serve.limits import Limits
from dtn_jax.export.serve.loaded import Loaded
from dtn_jax.export.serve.refused import Refused

LOG = logging.getLogger("dtn_jax.serve")
READERS = {answers.JSON: json_rows.read, answers.STREAM: arrow_rows.read}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is sent to a client."""

    status: int
    kind: str
    body: bytes
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Job:
    """A request that waits.

    Attributes:
      body: its bytes.
      kind: the content type of its body.
      wanted: of its answer.
      outputs: that its address names.
      answer: takes the answer, in the worker's thread.
    """

    body: bytes
    kind: str
    wanted: str
    outputs: list[str] | None
    answer: Callable[[Answer], None]


class Worker:
    """See above.

    Attributes:
      loaded: the model; another one takes effect with the next call.
      coming: how many requests are being read from the network.
      waiting: how many were handed over and are not answered.
    """

    def __init__(self, loaded: Loaded, limits: Limits, counters: Counters):
        self.loaded, self.limits, self.counters = loaded, limits, counters
        self.ready = threading.Event()
        self.coming = 0
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        counters.loaded, counters.ready = lambda: self.loaded, self.ready.is_set
        counters.waiting.set_function(self._jobs.qsize)

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def stop(self, seconds: float) -> bool:
        """Answers what was submitted; returns whether that was done in time."""
        self._jobs.put(None)
        if self.ready.is_set():  # else it compiles, and has accepted nothing
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        start = time.monotonic()
        sizes = self.loaded.warm()
        LOG.info("ready: batches of %s rows, %.1f s", sizes, time.monotonic() - start)
        self.ready.set()
        while (job := self._jobs.get()) is not None:
            self._call(job)

    def _call(self, first: Job) -> None:
        """Answers this request, and those that come in time."""
        loaded, start = self.loaded, time.perf_counter()
        jobs: list[tuple[Job, Asked]] = []
        rows, job = 0, first
        while job is not None:
            asked = _guarded(lambda job=job: self._read(loaded, job))
            if isinstance(asked, Answer):
                job.answer(asked)
            else:
                jobs.append((job, asked))
                rows += asked.rows
            job = None if rows >= self.limits.max_batch else self._next(start)
        if jobs:
            self._score(loaded, jobs)
            self.counters.call_seconds.observe(time.perf_counter() - start)

    def _next(self, start: float) -> Job | None:
        """Another request that shares the call; None if none comes in time."""
        try:
            left = start + self.limits.max_wait_ms / 1000 - time.perf_counter()
            wait = self.coming and left > 0
            job = self._jobs.get(timeout=left) if wait else self._jobs.get_nowait()
        except queue.Empty:
            return None
        if job is None:
            self._jobs.put(None)  # the end comes after this call
        return job

    def _read(self, loaded: Loaded, job: Job) -> Asked:
        asked = READERS[job.kind](job.body, loaded.reading, self.limits, job.outputs)
        if asked.ignored:
            self.counters.ignored.inc()
        return asked

    def _score(self, loaded: Loaded, jobs: list[tuple[Job, Asked]]) -> None:
        each = [asked for _, asked in jobs]
        scored = _guarded(lambda: scorer.score(loaded.model, loaded.reading, each))
        if isinstance(scored, Answer):
            for job, _ in jobs:
                job.answer(scored)
            return
        for (job, asked), found in zip(jobs, scored.answers):
            job.answer(_guarded(lambda j=job, a=asked, f=found: _answer(loaded, j, a, f)))
        if scored.encoded is not None:
            self.counters.batch_requests.observe(len(jobs))
            self.counters.batch_rows.observe(len(scored.encoded))
            self.counters.rows.inc(len(scored.encoded))
            self.counters.values(loaded.model.schema.fields, scored.encoded)


def refusal(error: Refused) -> Answer:
    return Answer(error.status, answers.JSON, error.body, error.headers)


def _answer(loaded: Loaded, job: Job, asked: Asked, found: scorer.Scores | Refused) -> Answer:
    if isinstance(found, Refused):
        raise found
    body = answers.written(job.wanted, asked, found)
    return Answer(200, job.wanted, body, loaded.headers)


def _guarded(work: Callable):
    """What the work gives, or the answer that says why there is nothing.

    An exception that nothing expects is logged, and the thread goes on.
    """
    try:
        return work()
    except Refused as error:
        return refusal(error)
    except BaseException:  # polars panics with one
        LOG.exception("a request failed")
        return refusal(Refused(500, "the server failed; its log says where"))

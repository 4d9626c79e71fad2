"""The thread that owns the model: requests that wait share a call, and a new model begins between
two calls.

It reads bodies, encodes and scores, so that the event loop never does. A call takes what has come
while the last one ran, so no request waits for others. Every value gets the type that training had
by itself, so no answer depends on what another request holds.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import polars as pl
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from dtn_jax.data.cast import of_values
from dtn_jax.data.clean import Bad
from dtn_jax.export.serve.requests import Contract, Job, Limits, answer, bad_value, read

LOG = logging.getLogger("dtn_jax.serve")
ROWS = tuple(1 << n for n in range(15))
METRICS = (  # kind, name without dtn_, help, labels
    (Counter, "requests", "Requests to /score, and refused ones, by status", "status"),
    (Histogram, "score_seconds", "From the head of a request to its scores"),
    (Histogram, "batch_rows", "Rows that share a call"),
    (Gauge, "waiting_requests", "Requests in the queue"),
    (Gauge, "model_info", "The model", "id", "made", "folder"),
    (Counter, "field_values", "Values of a field", "field"),
    (Counter, "field_unknown_values", "Those that are missing, or not in training", "field"),
    (Counter, "reloads", "New models, by what became of them", "result"),
)


class Worker:
    """See above.

    Attributes:
      contract: of the model; another one takes effect with the next call.
      jobs: the requests that wait.
      metrics: what GET /metrics counts: each of METRICS by its name, and their `registry`.
      ready: whether the model is compiled.
      stopping: whether the server is about to end.
    """

    def __init__(self, contract: Contract, limits: Limits):
        self.limits, self.stopping, self.ready = limits, False, threading.Event()
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.metrics = SimpleNamespace(registry=CollectorRegistry())
        for kind, name, text, *labels in METRICS:
            more = {"buckets": ROWS} if name == "batch_rows" else {}
            metric = kind(f"dtn_{name}", text, labels, registry=self.metrics.registry, **more)
            vars(self.metrics)[name] = metric
        self.metrics.waiting_requests.set_function(self.jobs.qsize)
        self.thread = threading.Thread(target=self._run, name="model", daemon=True)
        self.take(contract)

    def take(self, contract: Contract) -> None:
        """Scores with this model from the next call on."""
        self.contract, folder = contract, str(contract.model.folder)
        self.metrics.model_info.clear()
        self.metrics.model_info.labels(contract.id, contract.date, folder).set(1)

    def stop(self, seconds: float) -> None:
        """Waits until what was submitted is answered."""
        self.jobs.put(None)
        if self.ready.is_set():  # else it compiles, and has accepted nothing
            self.thread.join(seconds)

    def _run(self) -> None:
        LOG.info("ready: batches of %s rows", self.contract.warm())
        self.ready.set()
        while (job := self.jobs.get()) is not None:
            self._call(job)

    def _call(self, first: Job) -> None:
        """Answers this request, and those behind it, until there are `max_batch` rows."""
        contract, job = self.contract, first
        jobs: list[Job] = []
        while job is not None:
            if job.answer.set_running_or_notify_cancel():
                try:
                    read(job, contract, self.limits)
                    jobs.append(job)
                except BaseException as error:  # polars panics with one
                    job.answer.set_exception(error)
            if self.jobs.empty() or sum(one.rows for one in jobs) >= self.limits.max_batch:
                break
            if (job := self.jobs.get()) is None:
                self.jobs.put(None)  # the end comes after this call
        if jobs:
            self._score(contract, jobs)

    def _score(self, contract: Contract, jobs: Sequence[Job]) -> None:
        """Answers requests in one call; where a row can't be scored, as if each had come alone."""
        model, bad = contract.model, Bad(np.arange(1, sum(job.rows for job in jobs) + 1))
        try:
            frame = _frame(contract, jobs, bad)
            rows = model.encoding.clean(frame, bad)
            encoded = model.encoding.arrays(rows, bad)
            scores = model.scores(model.logits(encoded))
            if not encoded.good.all():
                raise bad_value(jobs[0], min(encoded.bad, key=lambda one: one.row), contract)
        except BaseException as error:  # polars panics with one
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
            else:
                for job in jobs:
                    self._score(contract, [job])
            return
        start = 0
        for job in jobs:
            part = slice(start, start := start + job.rows)
            job.answer.set_result(answer(contract, job, scores, part))
        self.metrics.batch_rows.observe(len(encoded))
        counts = model.encoding.counted(encoded).tolist()
        for name, values, unknown in zip(model.schema.field_names, *counts):
            self.metrics.field_values.labels(name).inc(values)
            self.metrics.field_unknown_values.labels(name).inc(unknown)


def _frame(contract: Contract, jobs: Sequence[Job], bad: Bad) -> pl.DataFrame:
    """The values of all rows in their types; those of a user are cast once."""
    rows = [job.rows for job in jobs]
    job_of, place = np.repeat(np.arange(len(jobs)), rows), np.concatenate([*map(np.arange, rows)])
    columns = []
    for name, kind in contract.types.items():
        parts = [job.values[name] for job in jobs]
        counts = np.array([len(part) for part in parts])
        first = np.cumsum(counts) - counts
        of_row = first[job_of] + place % counts[job_of]  # a user's one value is that of each row

        def reject(good, reason, column, of_row=of_row):
            bad(good[of_row], reason, column.gather(of_row))

        columns.append(of_values(name, [*itertools.chain(*parts)], kind, reject).gather(of_row))
    return pl.DataFrame(columns)

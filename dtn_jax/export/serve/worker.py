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
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from pydantic_core import to_json
from starlette.responses import Response

from dtn_jax.data.cast import of_values
from dtn_jax.data.raw.types import Types
from dtn_jax.export import tally
from dtn_jax.export.encoded import Bad, Encoded
from dtn_jax.export.serve.limits import Limits
from dtn_jax.export.serve.requests import ARROW, Contract, Job, bad_value, read

LOG = logging.getLogger("dtn_jax.serve")
TEXT = 4096  # bytes of one value: the time of its hash grows with them, alone among rows
ENDS = (float("inf"), float("-inf"))
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
ROWS = tuple(1 << n for n in range(15))
METRICS = (  # kind, name without dtn_, help, labels
    (Counter, "requests", "Requests to /score, and refused ones, by status", "status"),
    (Histogram, "score_seconds", "From the head of a request to its scores"),
    (Histogram, "batch_rows", "Rows that share a call"),
    (Histogram, "batch_requests", "Requests that share a call"),
    (Histogram, "batch_seconds", "Reading, encoding and scoring of requests that share a call"),
    (Counter, "ignored_fields_requests", "Requests with fields that the model does not read"),
    (Counter, "field_values", "Ids of a field", "field"),
    (Counter, "field_unknown_values", "Ids of values unseen in training, or missing", "field"),
    (Gauge, "waiting_requests", "Requests in the queue"),
    (Gauge, "ready", "Whether the model is compiled"),
    (Gauge, "model_info", "The model", "id", "made", "folder"),
    (Counter, "reloads", "New models, by what became of them", "result"),
)


def metrics() -> SimpleNamespace:
    """What GET /metrics counts: each of METRICS by its name, and the `registry` that has them."""
    made = SimpleNamespace(registry=CollectorRegistry())
    for kind, name, text, *labels in METRICS:
        buckets = {"buckets": SECONDS if name.endswith("seconds") else ROWS}
        more = buckets if kind is Histogram else {}
        vars(made)[name] = kind(f"dtn_{name}", text, labels, registry=made.registry, **more)
    return made


class Worker:
    """See above.

    Attributes:
      contract: of the model; another one takes effect with the next call.
      jobs: the requests that wait.
      ready: whether the model is compiled.
      stopping: whether the server is about to end.
    """

    def __init__(self, contract: Contract, limits: Limits):
        self.limits, self.metrics = limits, metrics()
        self.stopping, self.ready = False, threading.Event()
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.metrics.waiting_requests.set_function(self.jobs.qsize)
        self.metrics.ready.set_function(self.ready.is_set)
        self.thread = threading.Thread(target=self._run, name="model", daemon=True)
        self.take(contract)

    def take(self, contract: Contract) -> None:
        """Scores with this model from the next call on."""
        self.contract, folder = contract, str(contract.model.folder)
        self.metrics.model_info.clear()
        self.metrics.model_info.labels(contract.id, contract.made, folder).set(1)

    def stop(self, seconds: float) -> bool:
        """Answers what was submitted; returns whether that was done in time."""
        self.jobs.put(None)
        if self.ready.is_set():  # else it compiles, and has accepted nothing
            self.thread.join(seconds)
        return not self.thread.is_alive()

    def _run(self) -> None:
        start = time.monotonic()
        sizes = self.contract.warm()
        LOG.info("ready: batches of %s rows, %.1f s", sizes, time.monotonic() - start)
        self.ready.set()
        while (job := self.jobs.get()) is not None:
            self._call(job)

    def _call(self, first: Job) -> None:
        """Answers this request, and those behind it, until there are `max_batch` rows."""
        contract, start, job = self.contract, time.perf_counter(), first
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
            wide = [[job] for job in jobs if job.shared]
            for group in ([job for job in jobs if not job.shared], *wide):
                if group:
                    self._score(contract, group)
            self.metrics.batch_seconds.observe(time.perf_counter() - start)

    def _score(self, contract: Contract, jobs: Sequence[Job]) -> None:
        """Answers requests in one call; where a row can't be scored, as if each had come alone."""
        model, bad = contract.model, Bad(np.arange(1, sum(job.rows for job in jobs) + 1))
        try:
            encoded = _encoded_once(contract, jobs[0]) if jobs[0].shared else None
            if encoded is None:
                every = itertools.chain.from_iterable
                values = {n: list(every(job.values[n] for job in jobs)) for n in contract.types}
                encoded = model.encoding.encode_frame(_frame(contract.types, values, bad), bad)
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
            self.metrics.ignored_fields_requests.inc(bool(job.ignored))
        self.metrics.batch_requests.observe(len(jobs))
        self.metrics.batch_rows.observe(len(encoded))
        for name, (ids, unknown) in tally.counted(model.schema.fields, encoded).items():
            self.metrics.field_values.labels(name).inc(ids)
            self.metrics.field_unknown_values.labels(name).inc(unknown)


def _frame(types: Types, values: Mapping[str, list], bad: Bad) -> pl.DataFrame:
    """Values in their types."""
    series = [of_values(name, values[name], kind, bad) for name, kind in types.items()]
    for column in series:
        if column.dtype not in (pl.String, pl.List(pl.String)):
            continue
        given = values[column.name]
        if {float, list} & set(map(type, given)):
            good = np.array([not _endless(value) for value in given])
            if not good.all():
                shown = pl.Series(column.name, given, dtype=pl.Object)
                bad(good, "a number that no 64-bit float holds", shown)
        size, lists = pl.element().str.len_bytes(), column.dtype == pl.List
        sizes = column.list.eval(size).list.max() if lists else column.str.len_bytes()
        if (sizes.max() or 0) > TEXT:
            bad(sizes.fill_null(0) <= TEXT, f"a text of more than {TEXT:,} bytes", column)
    return pl.DataFrame(series)


def _endless(value: object) -> bool:
    """Whether it is infinite, as 1e999 is once it is read, or a list with such a number."""
    return value in ENDS if not isinstance(value, list) else any(end in value for end in ENDS)


def _encoded_once(contract: Contract, job: Job) -> Encoded | None:
    """A request's arrays, its user's values encoded once; None where one of its rows is bad."""
    user, rest = Bad(np.ones(1, np.int64)), Bad(np.arange(job.rows))
    types = {name: kind for name, kind in contract.types.items() if name in job.shared}
    once = _frame(types, {name: job.values[name][:1] for name in types}, user)
    others = {name: kind for name, kind in contract.types.items() if name not in types}
    frame = _frame(others, job.values, rest)
    good = user.good.all() and rest.good.all()
    return contract.model.encoding.encode_shared(once, frame, job.rows) if good else None


def answer(contract: Contract, job: Job, scores: Mapping[str, np.ndarray], part: slice) -> Response:
    """`{"rows": 2, "scores": {"click@all": [0.12, 0.34], …}, "ignored": ["colour"]}`, or Arrow."""
    chosen = {name: scores[name][part] for name in job.outputs or ()}
    if job.wanted == ARROW:
        table, sink = pa.table(chosen), pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        body = sink.getvalue().to_pybytes()
    else:
        ignored = {"ignored": job.ignored} if job.ignored else {}
        lists = {name: values.tolist() for name, values in chosen.items()}
        body = to_json({"rows": job.rows, "scores": lists} | ignored, inf_nan_mode="null")
    headers = {"x-model-id": contract.id, "x-model-date": contract.made}
    return Response(body, 200, headers, job.wanted)

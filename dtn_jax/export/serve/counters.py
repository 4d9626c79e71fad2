"""What GET /metrics says, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dtn_jax.export import tally
from dtn_jax.export.encoded import Encoded
from dtn_jax.export.serve.loaded import Loaded
from dtn_jax.schema import Field

CONTENT = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


class Counters(Collector):
    """Counts of one server, in a registry of its own."""

    def __init__(self):
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "dtn_requests", "Requests by path and status", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "dtn_score_seconds",
            "From the head of a request to /score to its answer",
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "dtn_batch_rows", "Rows that share a call", buckets=ROWS, registry=registry
        )
        self.batch_requests = Histogram(
            "dtn_batch_requests",
            "Requests that share a call",
            buckets=ROWS,
            registry=registry,
        )
        self.call_seconds = Histogram(
            "dtn_batch_seconds",
            "Reading, encoding and scoring of requests that share a call",
            buckets=SECONDS,
            registry=registry,
        )
        self.rows = Counter("dtn_rows", "Rows that were scored", registry=registry)
        self.ignored = Counter(
            "dtn_ignored_fields_requests",
            "Requests with fields that the model does not read",
            registry=registry,
        )
        self.waiting = Gauge("dtn_waiting_requests", "Requests in the queue", registry=registry)
        self.reloads = Counter(
            "dtn_reloads",
            "New models that were found, by what became of them",
            ["result"],
            registry=registry,
        )
        for result in ("swapped", "refused"):
            self.reloads.labels(result)
        self.fields: dict[str, tuple[int, int]] = {}  # name: values, of which unknown
        self.loaded: Callable[[], Loaded | None] = lambda: None
        self.ready: Callable[[], bool] = lambda: False
        registry.register(self)

    def values(self, fields: Sequence[Field], encoded: Encoded) -> None:
        """Counts the ids of each field, and those that are the unknown one; see `tally.counted`."""
        self.fields = tally.added(self.fields, tally.counted(fields, encoded))

    def collect(self) -> Iterator:
        """Of the fields, and of the model."""
        values = CounterMetricFamily("dtn_field_values", "Ids of a field", labels=["field"])
        unknown = CounterMetricFamily(
            "dtn_field_unknown_values",
            "Ids of a field that are the unknown one: values that training has not seen, or none",
            labels=["field"],
        )
        for name, (there, lost) in list(self.fields.items()):
            values.add_metric([name], float(there))
            unknown.add_metric([name], float(lost))
        ready = GaugeMetricFamily("dtn_ready", "Whether the model is compiled", self.ready())
        info = GaugeMetricFamily("dtn_model_info", "The model", labels=["id", "made", "folder"])
        loaded = self.loaded()
        if loaded is not None:
            info.add_metric([loaded.id, loaded.made, str(loaded.model.folder)], 1)
        yield from (values, unknown, ready, info)

    def text(self) -> bytes:
        return generate_latest(self.registry)

"""The server's own metrics, in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0)


class Metrics:
    """Counters of one server; each server has its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connections = Gauge(
            "ringlog_sql_connections", "Open native connections", registry=self.registry
        )
        self.running = Gauge(
            "ringlog_sql_running_queries",
            "Queries now running",
            ["protocol"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ringlog_sql_query_seconds",
            "Time from a query to the end of its answer",
            ["protocol"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.errors = Counter(
            "ringlog_sql_errors",
            "Queries that ended in an error, by ClickHouse's code",
            ["protocol", "code"],
            registry=self.registry,
        )
        self.spool_bytes = Gauge(
            "ringlog_sql_insert_spool_bytes",
            "Bytes of INSERTs waiting in memory",
            registry=self.registry,
        )

    @contextmanager
    def query(self, protocol: str) -> Iterator[None]:
        """Count one query while it runs."""
        begin = time.perf_counter()
        with self.running.labels(protocol).track_inprogress():
            try:
                yield
            finally:
                self.seconds.labels(protocol).observe(time.perf_counter() - begin)

    def text(self) -> bytes:
        """Everything in the text format."""
        return generate_latest(self.registry)

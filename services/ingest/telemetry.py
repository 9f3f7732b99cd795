"""Metrics of the receivers and the writer: items and bytes received, accepted, refused (by reason) and written, and how long it took."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tael.errors import Forbidden, NotFound, Overloaded, Rejected, Retryable, TooLarge, Unauthenticated
from tael.runtime.shard_gauges import ShardGauges

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 10, 100, 1000, 5000, 10_000, 20_000, 60_000, 100_000, 1_000_000)
_BYTES = (1 << 10, 1 << 14, 1 << 17, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20)
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (TooLarge, "too_large"),
    (Rejected, "malformed"),
    (Unauthenticated, "unauthenticated"),
    (Forbidden, "forbidden"),
    (NotFound, "not_found"),
    (Overloaded, "overloaded"),
    (Retryable, "unavailable"),
    (asyncio.CancelledError, "cancelled"),
)


class Telemetry:
    """The receivers' metrics, one instance a process. ``held_bytes`` and ``waiting_bytes`` return the bytes that requests hold and wait for
    now.
    """

    def __init__(self, registry: CollectorRegistry, *, held_bytes: Callable[[], int], waiting_bytes: Callable[[], int]) -> None:
        self.accepted = Counter("tael_ingest_accepted_items", "Items acknowledged to clients.", ["signal"], registry=registry)
        self.rejected = Counter("tael_ingest_rejected_items", "Items rejected as partial success.", ["signal"], registry=registry)
        self.received = Counter("tael_ingest_received_bytes", "Uncompressed bytes of admitted requests.", ["signal"], registry=registry)
        self._seconds = Histogram(
            "tael_ingest_request_seconds",
            "Time from the call to the acknowledgement.",
            ["signal", "transport"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "tael_ingest_refused_requests", "Requests refused as a whole.", ["signal", "transport", "reason"], registry=registry
        )
        held = Gauge("tael_ingest_inflight_bytes", "Bytes of requests held in memory.", registry=registry)
        held.set_function(held_bytes)
        waiting = Gauge("tael_ingest_waiting_bytes", "Bytes that waiting requests need and others hold.", registry=registry)
        waiting.set_function(waiting_bytes)

    @contextlib.contextmanager
    def request(self, signal: str, transport: str) -> Iterator[None]:
        """Count the block as one request: its duration, or the reason for its refusal."""
        started = time.monotonic()
        try:
            yield
        except BaseException as error:
            self._refused.labels(signal, transport, reason_of(error)).inc()
            raise
        self._seconds.labels(signal, transport).observe(time.monotonic() - started)


def reason_of(error: BaseException) -> str:
    """The value of the label ``reason`` for an error."""
    known = next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
    return known or ("malformed" if 400 <= getattr(error, "status", 0) < 500 else "internal")


class WriterMetrics:
    """The writer's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.batches = Counter("tael_writer_batches", "Batches written to the hot tier.", ["shard", "signal"], registry=registry)
        self.batch_items = Histogram(
            "tael_writer_batch_items", "Spans, records and points of one batch.", ["signal"], buckets=_SIZES, registry=registry
        )
        self.batch_bytes = Histogram(
            "tael_writer_batch_bytes", "Bytes of one batch, as encoded in the WAL.", ["signal"], buckets=_BYTES, registry=registry
        )
        self.items = Counter("tael_writer_items", "Spans, records and points written.", ["shard", "signal"], registry=registry)
        self.insert_seconds = Histogram(
            "tael_writer_insert_seconds", "Duration of inserts into the hot tier.", ["signal"], registry=registry
        )
        self.dead_letters = Counter(
            "tael_writer_dead_letters", "Items that the hot tier permanently refused.", ["shard", "signal"], registry=registry
        )
        self.incomplete = Counter(
            "tael_writer_incomplete_inserts",
            "Inserts that were stored in part and did not fit in memory: the missing items were written on their own, and derived counts may lack them.",
            ["shard", "signal"],
            registry=registry,
        )
        self.retries = Counter("tael_writer_retries", "Inserts that were retried.", ["shard"], registry=registry)
        self.resends = Counter(
            "tael_writer_resends",
            "Duplicate requests within two minutes that were stored once.",
            ["shard", "signal"],
            registry=registry,
        )
        self.wal_restarts = Counter("tael_wal_restarts", "Times a WAL was found truncated or recreated.", ["shard"], registry=registry)
        self.wal_lost = Counter(
            "tael_wal_lost_entries", "WAL entries lost before they were written to the hot tier.", ["shard"], registry=registry
        )
        self.lag = Gauge("tael_writer_lag_entries", "WAL entries not yet written.", ["shard"], registry=registry)
        self.epoch = Gauge(
            "tael_writer_epoch", "Epoch of this process's writer lease on the shard; 0 when it holds none.", ["shard"], registry=registry
        )
        self.of_lease = ShardGauges((self.lag,))
        """The gauges that a writer shows only while it holds the lease: the next holder shows them."""
        self.fenced = Counter("tael_writer_fenced", "Times this process found its lease taken over.", ["shard"], registry=registry)

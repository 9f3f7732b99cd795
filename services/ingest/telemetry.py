"""What the receivers say of themselves on ``/metrics``: what came, what was taken or refused and why, and how long it took."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tael.errors import Forbidden, NotFound, Overloaded, Rejected, Retryable, TooLarge, Unauthenticated

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
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
    """One for the process. ``held_bytes`` and ``waiting_bytes`` tell what requests hold and wait for now."""

    def __init__(self, registry: CollectorRegistry, *, held_bytes: Callable[[], int], waiting_bytes: Callable[[], int]) -> None:
        self.accepted = Counter("tael_ingest_accepted_items", "Items acknowledged to clients.", ["signal"], registry=registry)
        self.rejected = Counter("tael_ingest_rejected_items", "Items refused as partial success.", ["signal"], registry=registry)
        self.received = Counter(
            "tael_ingest_received_bytes", "Bytes of requests, uncompressed, that were admitted.", ["signal"], registry=registry
        )
        self._seconds = Histogram(
            "tael_ingest_request_seconds",
            "Time from the call to the acknowledgement.",
            ["signal", "transport"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "tael_ingest_refused_requests", "Requests of which nothing was taken.", ["signal", "transport", "reason"], registry=registry
        )
        held = Gauge("tael_ingest_inflight_bytes", "Bytes of requests that are held now.", registry=registry)
        held.set_function(held_bytes)
        waiting = Gauge("tael_ingest_waiting_bytes", "Bytes that requests wait for, because others hold them.", registry=registry)
        waiting.set_function(waiting_bytes)

    @contextlib.contextmanager
    def request(self, signal: str, transport: str) -> Iterator[None]:
        """Count the block as one request: the time that it took, or why it was refused."""
        started = time.monotonic()
        try:
            yield
        except BaseException as error:
            self._refused.labels(signal, transport, reason_of(error)).inc()
            raise
        self._seconds.labels(signal, transport).observe(time.monotonic() - started)


def reason_of(error: BaseException) -> str:
    """An error as one of a few words."""
    known = next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
    return known or ("malformed" if 400 <= getattr(error, "status", 0) < 500 else "internal")

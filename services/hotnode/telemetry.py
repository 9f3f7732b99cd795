"""The hot node's metrics."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from services.hotnode.errors import StatementFailed

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STATEMENTS = Histogram(
    "tael_hotnode_statement_seconds", "Duration of statements, including sending the answer.", buckets=_SECONDS, registry=REGISTRY
)
FAILED = Counter("tael_hotnode_failed_statements", "Statements that failed, by ClickHouse's error code.", ["code"], registry=REGISTRY)
RUNNING = Gauge("tael_hotnode_running", "Statements running or waiting.", registry=REGISTRY)
BODY_BYTES = Gauge("tael_hotnode_body_bytes", "Memory held by request bodies.", registry=REGISTRY)


def observe(running: Callable[[], int], body_bytes: Callable[[], int]) -> None:
    """Read the gauges' values from these functions at each scrape."""
    RUNNING.set_function(running)
    BODY_BYTES.set_function(body_bytes)


@contextlib.contextmanager
def statement() -> Iterator[None]:
    """Time the block as one statement, and count it when it fails."""
    started = time.monotonic()
    try:
        yield
    except StatementFailed as error:
        FAILED.labels(str(error.code)).inc()
        raise
    finally:
        STATEMENTS.observe(time.monotonic() - started)

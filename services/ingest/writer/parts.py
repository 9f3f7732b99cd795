"""The parts of one WAL's writer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from services.ingest.telemetry import WriterMetrics
from services.ingest.writer.prepare import Preparation
from services.ingest.writer.settings import WriterSettings
from tael.cluster.api import KeyValue
from tael.errors import Retryable
from tael.model.lanes import shard_of_wal, wal_name
from tael.runtime.failpoint import FailPoint
from tael.runtime.observe import get_logger
from tael.runtime.retry import retry
from tael.runtime.service import Stop
from tael.storage.api import BatchWriter
from tael.wal.api import DigestStore, WalReader

log = get_logger("writer")
T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """The ports, settings and metrics of the writer of one WAL. ``inserts_at_once`` limits its concurrent inserts."""

    wal_number: int
    node_id: str
    kv: KeyValue
    wal: WalReader
    digests: DigestStore
    storage: BatchWriter
    settings: WriterSettings
    metrics: WriterMetrics
    fail: FailPoint
    preparations: Mapping[str, Preparation] = field(default_factory=dict)
    inserts_at_once: int = 2

    @property
    def shard(self) -> int:
        """The shard that this WAL belongs to."""
        return shard_of_wal(self.wal_number)

    @property
    def name(self) -> str:
        """The WAL's name in log lines and metrics."""
        return wal_name(self.wal_number)

    async def until_done(self, what: str, call: Callable[[], Awaitable[T]], stop: Stop) -> T:
        """Retry ``call`` while it raises Retryable, counting and logging each failure. Raises Stopped when the process drains first."""

        def failed(error: Retryable, pause: float) -> None:
            self.metrics.retries.labels(self.name).inc()
            log.warning("failed; retrying", what=what, shard=self.name, reason=str(error), retry_in_seconds=pause)

        return await retry(call, stop, failed)

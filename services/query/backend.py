"""The dependencies of the APIs: readers, live feeds, the PromQL engine, and the settings that limit them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.query.live.feed import LiveFeed
from services.query.live.logs import LiveRecord
from services.query.live.spans import LiveSpan
from services.query.promql.engine import PromqlEngine
from services.query.settings import QuerySettings
from services.query.turns import Turns
from tael.cluster.api import KeyValue
from tael.cluster.cold import Cold
from tael.runtime.retention import CurrentRetention
from tael.runtime.service import Readiness
from tael.storage.api import Answer, LogReader, SpanReader
from tael.storage.holdings import HoldingReader
from tael.storage.llm import LlmReader
from tael.storage.long_traces import LongTraceReader
from tael.storage.payloads import PayloadReader
from tael.storage.spansets import SpansetReader
from tael.storage.topology import TopologyReader
from tael.wal.api import DeadLetters, WalAppender


class Status(Protocol):
    """Reads the cluster's state for ``/internal/cluster``."""

    def read(self) -> Awaitable[Mapping[str, Any]]:
        """The cluster's state as a JSON object. Raises Unavailable."""
        ...


class ColdTier(Protocol):
    """The state of the cold tier and the requests to it. Every method raises Retryable when the cluster's state cannot be reached."""

    def look(self) -> Awaitable[Answer[Cold]]:
        """Every shard's manifest and hot hours; shards whose ClickHouse does not answer are missing."""
        ...

    def roll(self, before_ns: int) -> Awaitable[None]:
        """Request that hours that ended before that time are rolled now."""
        ...

    def rebuild(self, *, force: bool) -> Awaitable[list[int]]:
        """Request that missing or damaged manifests, with ``force`` all, are restored from the bucket; returns the shards."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """One reader and one live feed for each signal, and one set of turns for all APIs."""

    settings: QuerySettings
    turns: Turns
    spans: SpanReader
    long_traces: LongTraceReader
    logs: LogReader
    spansets: SpansetReader
    topology: TopologyReader
    holdings: HoldingReader
    llm: LlmReader
    retention: CurrentRetention
    payloads: PayloadReader
    engine: PromqlEngine
    live_spans: LiveFeed[LiveSpan]
    live_logs: LiveFeed[LiveRecord]
    kv: KeyValue
    letters: DeadLetters
    appender: WalAppender
    status: Status
    cold: ColdTier
    readiness: Readiness

"""A live bus in memory, and streams of server-sent events as a client reads them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from tael.model.signals import LOGS, TRACES
from tael.model.tenant import DEFAULT_TENANT, TENANT_HEADER
from tael.wal import codec
from tael.wal.api import LiveBody
from tests.support.storage import RECEIVED_NS
from tests.support.suite import PATIENCE_SECONDS


@dataclass
class MemoryBus:
    """A LiveBus in memory; ``queues`` has a queue for each current subscription."""

    queues: dict[str, list[asyncio.Queue[LiveBody | None]]] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def watch(self, signal: str) -> AsyncIterator[AsyncIterator[LiveBody]]:
        """See LiveBus."""
        queue: asyncio.Queue[LiveBody | None] = asyncio.Queue()
        self.queues.setdefault(signal, []).append(queue)
        try:
            yield self._bodies(queue)
        finally:
            self.queues[signal].remove(queue)

    @staticmethod
    async def _bodies(queue: asyncio.Queue[LiveBody | None]) -> AsyncIterator[LiveBody]:
        while (body := await queue.get()) is not None:
            yield body

    def publish(self, signal: str, body: bytes, items: int = 1) -> None:
        """Deliver a body to all watchers."""
        for queue in self.queues.get(signal, []):
            queue.put_nowait(LiveBody(items, body))

    def lose_connection(self, signal: str) -> None:
        """End every subscription, as a lost connection does."""
        for queue in self.queues.get(signal, []):
            queue.put_nowait(None)


def body_of(*groups: ResourceSpans, tenant: str = DEFAULT_TENANT) -> tuple[bytes, int]:
    """The body that a receiver appends for these spans, and their number."""
    request = ExportTraceServiceRequest(resource_spans=groups)
    items = sum(len(scoped.spans) for group in groups for scoped in group.scope_spans)
    return codec.encode(tenant, time.time_ns(), request.SerializeToString()), items


def publish_spans(bus: MemoryBus, *groups: ResourceSpans, tenant: str = DEFAULT_TENANT) -> None:
    """Publish a request with these spans."""
    bus.publish(TRACES, *body_of(*groups, tenant=tenant))


def publish_logs(bus: MemoryBus, *groups: ResourceLogs, tenant: str = DEFAULT_TENANT) -> None:
    """Publish a request with these records."""
    request = ExportLogsServiceRequest(resource_logs=groups)
    items = sum(len(scoped.log_records) for group in groups for scoped in group.scope_logs)
    bus.publish(LOGS, codec.encode(tenant, RECEIVED_NS, request.SerializeToString()), items)


@dataclass
class Event:
    """One server-sent event: its type (``message`` if none is given) and its parsed JSON data."""

    name: str
    value: Any


class Stream:
    """An open response, read event by event; comments are skipped and counted."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments = 0
        self.retry_ms = 0
        self._unread = bytearray()
        self._searched = 0

    async def next(self, seconds: float = PATIENCE_SECONDS) -> Event | None:
        """The next event; None at the end of the stream."""
        async with asyncio.timeout(seconds):
            name, data = "message", ""
            while (line := await self._line()) is not None:
                field_name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field_name == "event":
                    name = value
                elif field_name == "data":
                    data += value
                elif not line and data:
                    return Event(name, json.loads(data))
        return None

    async def _line(self) -> str | None:
        """The next line, of any length; comments and the retry hint are recorded."""
        while (end := self._unread.find(b"\n", self._searched)) < 0:
            self._searched = len(self._unread)
            chunk = await self.response.content.readany()
            if not chunk:
                return None
            self._unread += chunk
        line, self._unread, self._searched = self._unread[:end].decode(), self._unread[end + 1 :], 0
        self.comments += line.startswith(":")
        if line.startswith("retry:"):
            self.retry_ms = int(line.removeprefix("retry:"))
        return line

    async def items(self, count: int, seconds: float = PATIENCE_SECONDS) -> list[Any]:
        """The next ``count`` items, however they are distributed over events."""
        found: list[Any] = []
        while len(found) < count:
            event = await self.next(seconds)
            assert event is not None, f"the stream ended after {len(found)} of {count}"
            assert event.name == "message", event
            found += event.value
        return found

    async def begun(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for the preamble: from here on nothing is missed."""
        async with asyncio.timeout(seconds):
            while not self.comments:
                await self._line()


@contextlib.asynccontextmanager
async def watching(
    session: aiohttp.ClientSession, url: str, *, tenant: str = DEFAULT_TENANT, read_bytes: int = 1 << 16, **parameters: Any
) -> AsyncIterator[Stream]:
    """A stream whose preamble has arrived."""
    async with session.get(url, params=parameters, headers={TENANT_HEADER: tenant}, read_bufsize=read_bytes) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        stream = Stream(response)
        await stream.begun()
        yield stream

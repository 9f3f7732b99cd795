"""Live feeds: one subscription for each signal, shared by its watchers, decoded in a thread, and active only while there are watchers.

A body of a tenant without watchers is dropped before it is decoded. Memory is bounded, for bodies that wait for the thread and for frames
that wait for a client. Items that do not fit are lost to the watchers concerned, whose clients are notified how many they may have missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from prometheus_client import Counter, Gauge

from tael.errors import Overloaded, Unavailable
from tael.runtime.observe import get_logger
from tael.wal import codec
from tael.wal.api import LiveBody, LiveBus

log = get_logger("live")
WATCHERS = Gauge("tael_query_live_watchers", "Open live streams.", ["signal"])
LOST = Counter("tael_query_live_lost_total", "Items that live streams may have missed because their clients read too slowly.", ["signal"])
_WAITING_BYTES, _WATCHER_BYTES = 16 << 20, 1 << 20
_EVENT_ITEMS, _EVENT_BYTES = 200, 256 << 10
"""The limits of one frame; its bytes are estimated from those of the request."""


T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Framing(Protocol[T_contra]):
    """How an API encodes a feed. Each method returns one complete frame, ready to be sent."""

    @property
    def heartbeat(self) -> bytes:
        """Sent to keep a silent stream open."""
        ...

    def items(self, items: Sequence[T_contra]) -> bytes:
        """Items in order of arrival. MUST be safe to call from a thread."""
        ...

    def dropped(self, count: int) -> bytes:
        """A frame that notifies the client that it may have missed ``count`` items because it reads too slowly."""
        ...

    def ended(self, reason: str) -> bytes:
        """The last frame, with the reason why the stream ended."""
        ...


@dataclass(eq=False)
class LiveLimits:
    """Limits of live streams: ``streams`` of a signal, ``tenant_streams`` of one tenant among them, ``total_bytes`` of waiting frames.

    All feeds of a process share one instance, so that ``waiting_bytes`` counts the frames of all of them.
    """

    streams: int
    tenant_streams: int
    total_bytes: int
    waiting_bytes: int = 0


@dataclass(eq=False)
class Watcher(Generic[T]):
    """One live stream: frames that wait to be sent, and how many items it lost since the client was last notified."""

    tenant: str
    matches: Callable[[T], bool]
    framing: Framing[T]
    limits: LiveLimits
    lost: int = 0
    waiting_bytes: int = 0
    _events: deque[bytes] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    @property
    def room_bytes(self) -> int:
        """How many more bytes of frames may wait for this client, by its own limit and by the one that all clients share."""
        # The shared limit is needed because a thousand slow clients would each stay within their own.
        return min(_WATCHER_BYTES - self.waiting_bytes, self.limits.total_bytes - self.limits.waiting_bytes)

    def offer(self, event: bytes) -> bool:
        """Queue a frame; returns False when too much is already waiting for this client, or for all together."""
        # A frame larger than the limit is accepted when nothing else waits, or it could never be sent.
        if len(event) > self.room_bytes and self._events:
            return False
        self._report_losses()
        self._push(event)
        return True

    def lose(self, items: int) -> None:
        """Count items that the client will not get."""
        self.lost += items
        self._wake.set()

    def close(self, reason: str) -> None:
        """Queue the last frame, with the reason, and end the stream."""
        self._report_losses()
        self._push(self.framing.ended(reason))
        self._closed = True

    async def events(self, heartbeat_seconds: float) -> AsyncIterator[bytes]:
        """Frames to send, and heartbeats while there are none, until the stream is closed."""
        while True:
            # Cleared before sending and not after: items lost while the client reads must wake the wait below.
            self._wake.clear()
            if not self._events:
                self._report_losses()
            while self._events:
                event = self._events.popleft()
                self._count(-len(event))
                yield event
            if self._closed:
                return
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    await self._wake.wait()
            except TimeoutError:
                yield self.framing.heartbeat

    def _report_losses(self) -> None:
        if self.lost:
            self._push(self.framing.dropped(self.lost))
            self.lost = 0

    def discard(self) -> None:
        """Drop the waiting frames, because the client is gone."""
        self._events.clear()
        self._count(-self.waiting_bytes)

    def _push(self, event: bytes) -> None:
        self._events.append(event)
        self._count(len(event))
        self._wake.set()

    def _count(self, size_bytes: int) -> None:
        self.waiting_bytes += size_bytes
        self.limits.waiting_bytes += size_bytes


@dataclass(frozen=True, slots=True)
class _Found(Generic[T]):
    """Frames for one watcher with their number of items, and how many items did not fit."""

    watcher: Watcher[T]
    events: list[tuple[bytes, int]]
    lost: int


class LiveFeed(Generic[T]):
    """One signal's watchers. ``read`` decodes a request and its arrival time in ns into items; it runs in a thread."""

    def __init__(self, bus: LiveBus, signal: str, read: Callable[[bytes, int], Sequence[T]], limits: LiveLimits) -> None:
        self._bus = bus
        self._signal = signal
        self._read = read
        self._limits = limits
        self._watchers: set[Watcher[T]] = set()
        self._waiting: deque[LiveBody] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def watch(self, tenant: str, matches: Callable[[T], bool], framing: Framing[T]) -> AsyncIterator[Watcher[T]]:
        """A watcher of one tenant's items that are appended while the block runs.

        Raises Overloaded at the limit of open streams, Unavailable when the WAL cannot be watched.
        """
        if self._closed:
            raise Unavailable("this process is draining")
        self._require_place(tenant)
        watcher = Watcher(tenant, matches, framing, self._limits)
        # Added before the first await: a watcher that leaves meanwhile must not stop the subscription as the last one.
        self._watchers.add(watcher)
        try:
            with WATCHERS.labels(self._signal).track_inprogress():
                await self._ensure_running()
                yield watcher
        finally:
            self._watchers.discard(watcher)
            watcher.discard()
            if not self._watchers:
                await self._stop()

    def _require_place(self, tenant: str) -> None:
        limits = self._limits
        if len(self._watchers) >= limits.streams:
            raise Overloaded(f"live stream limit reached: {limits.streams} are open (TAEL_MAX_LIVE_STREAMS)")
        if sum(watcher.tenant == tenant for watcher in self._watchers) >= limits.tenant_streams:
            raise Overloaded(f"tenant {tenant} has {limits.tenant_streams} live streams open (TAEL_MAX_LIVE_STREAMS_PER_TENANT)")

    def close(self) -> None:
        """End every stream and refuse new ones."""
        self._closed = True
        for watcher in self._watchers:
            watcher.close("the server is draining")

    async def _ensure_running(self) -> None:
        async with self._starting:
            if self._task is None or self._task.done():
                started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._run(started), name=f"live-{self._signal}")
                # The watcher starts only once the subscription is active; items before that would not reach it.
                await asyncio.wait((started, self._task), return_when=asyncio.FIRST_COMPLETED)
                # It ended before it subscribed: awaiting it raises its error here, for this watcher.
                if not started.done():
                    await self._task

    async def _stop(self) -> None:
        async with self._starting:
            # Checked again under the lock: a new watcher may have come while this waited for it.
            if not self._watchers and self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
                self._task = None
                self._waiting.clear()
                self._waiting_bytes = 0

    async def _run(self, started: asyncio.Future[None]) -> None:
        """Watch the bus until cancelled. Any failure ends every stream; clients reconnect."""
        try:
            async with self._bus.watch(self._signal) as bodies, asyncio.TaskGroup() as group:
                # Only now: watchers that wait for this may rely on seeing everything appended from here on.
                started.set_result(None)
                decoding = group.create_task(self._decode(), name=f"live-{self._signal}-decode")
                async for body in bodies:
                    self._arrive(body)
                decoding.cancel()
        except Unavailable:
            raise
        except Exception:
            log.exception("live streams ended", signal=self._signal)
            raise
        finally:
            for watcher in self._watchers:
                watcher.close("the connection to the WAL was lost")

    def _arrive(self, body: LiveBody) -> None:
        """Queue a body for decoding if one of its tenants has watchers."""
        try:
            # From the envelopes alone: bodies of tenants without watchers are never decoded.
            items = _items_by_tenant(body.body)
        except ValueError:
            return
        interested = [watcher for watcher in self._watchers if watcher.tenant in items]
        if not interested:
            return
        if self._waiting and self._waiting_bytes + len(body.body) > _WAITING_BYTES:
            for watcher in interested:
                self._lose(watcher, items[watcher.tenant])
            return
        self._waiting.append(body)
        self._waiting_bytes += len(body.body)
        self._wake.set()

    async def _decode(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                body = self._waiting.popleft()
                self._waiting_bytes -= len(body.body)
                # A copy, because watchers come and go on the loop while the thread runs. Frames are queued here, on the loop, which owns
                # the queues.
                for found in await asyncio.to_thread(self._find, body, tuple(self._watchers)):
                    lost = sum(items for event, items in found.events if not found.watcher.offer(event))
                    self._lose(found.watcher, lost + found.lost)

    def _find(self, body: LiveBody, watchers: Sequence[Watcher[T]]) -> list[_Found[T]]:
        """The frames of this body for each watcher; runs in a thread."""
        found = []
        for record in codec.decode(body.body):
            interested = [watcher for watcher in watchers if watcher.tenant == record.tenant]
            items = self._read(record.request, record.received_at) if interested else ()
            # Estimated from the mean size on the wire: the size of a frame is known only once it is rendered, and rendering it twice
            # costs more than a bad estimate.
            at_once = max(1, min(_EVENT_ITEMS, _EVENT_BYTES * len(items) // len(record.request))) if items else 1
            found += [_events_of(watcher, [item for item in items if watcher.matches(item)], at_once) for watcher in interested]
        return found

    def _lose(self, watcher: Watcher[T], items: int) -> None:
        if items:
            watcher.lose(items)
            LOST.labels(self._signal).inc(items)


def _items_by_tenant(body: bytes) -> dict[str, int]:
    """How many items of each tenant a body holds. Raises ValueError for a body that is not a WAL entry."""
    items: dict[str, int] = {}
    for envelope in codec.envelopes(body):
        # Envelopes of older releases do not say how many items they hold; count at least one.
        items[envelope.tenant] = items.get(envelope.tenant, 0) + max(1, envelope.items)
    return items


def _events_of(watcher: Watcher[T], items: Sequence[T], at_once: int) -> _Found[T]:
    """As many frames as the watcher has room for; the rest is not rendered."""
    room = watcher.room_bytes
    events: list[tuple[bytes, int]] = []
    for start in range(0, len(items), at_once):
        if room <= 0:
            return _Found(watcher, events, len(items) - start)
        batch = items[start : start + at_once]
        event = watcher.framing.items(batch)
        room -= len(event)
        events.append((event, len(batch)))
    return _Found(watcher, events, 0)

"""Live feeds: one subscription for each signal, shared by its watchers, decoded in a thread, and only while there are watchers.

A body of a tenant without watchers is dropped before it is decoded. Memory is bounded: bodies that wait for the thread, and frames that wait
for a watcher. What does not fit is lost to the watchers concerned, who are told how many items they may have missed.
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
WATCHERS = Gauge("tael_query_live_watchers", "Live streams that are open.", ["signal"])
LOST = Counter("tael_query_live_lost_total", "Items that live streams may have missed because their clients read too slowly.", ["signal"])
_WAITING_BYTES, _WATCHER_BYTES = 16 << 20, 4 << 20
_EVENT_ITEMS = 200


T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Framing(Protocol[T_contra]):
    """How an API writes a feed. Each method returns one complete frame, as it is sent."""

    @property
    def heartbeat(self) -> bytes:
        """Sent to keep a silent stream open."""
        ...

    def items(self, items: Sequence[T_contra]) -> bytes:
        """Items in order of arrival. MUST be safe to call from a thread."""
        ...

    def dropped(self, count: int) -> bytes:
        """Tells the client that it may have missed ``count`` items because it reads too slowly."""
        ...

    def ended(self, reason: str) -> bytes:
        """The last frame, with the reason why the stream ends."""
        ...


@dataclass(eq=False)
class Watcher(Generic[T]):
    """One live stream: frames that wait to be sent, and how many items it lost since the client was last told."""

    tenant: str
    matches: Callable[[T], bool]
    framing: Framing[T]
    lost: int = 0
    waiting_bytes: int = 0
    _events: deque[bytes] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def offer(self, event: bytes) -> bool:
        """Queue a frame; False when the client has too much waiting already."""
        if self.waiting_bytes + len(event) > _WATCHER_BYTES and self._events:
            return False
        self._tell_losses()
        self._push(event)
        return True

    def lose(self, items: int) -> None:
        """Count items that the client will not get."""
        self.lost += items
        self._wake.set()

    def close(self, reason: str) -> None:
        """Queue the last frame, with the reason, and end the stream."""
        self._tell_losses()
        self._push(self.framing.ended(reason))
        self._closed = True

    async def events(self, heartbeat_seconds: float) -> AsyncIterator[bytes]:
        """Frames to send, heartbeats in silence, until the stream is closed."""
        while True:
            if not self._events:
                self._tell_losses()
            while self._events:
                event = self._events.popleft()
                self.waiting_bytes -= len(event)
                yield event
            if self._closed:
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    await self._wake.wait()
            except TimeoutError:
                yield self.framing.heartbeat

    def _tell_losses(self) -> None:
        if self.lost:
            self._push(self.framing.dropped(self.lost))
            self.lost = 0

    def _push(self, event: bytes) -> None:
        self._events.append(event)
        self.waiting_bytes += len(event)
        self._wake.set()


@dataclass(frozen=True, slots=True)
class _Found(Generic[T]):
    """Frames for one watcher with their number of items, and how many items did not fit."""

    watcher: Watcher[T]
    events: list[tuple[bytes, int]]
    lost: int


class LiveFeed(Generic[T]):
    """One signal's watchers. ``read`` decodes a request and its arrival time in ns into items; it runs in a thread."""

    def __init__(self, bus: LiveBus, signal: str, read: Callable[[bytes, int], Sequence[T]], *, max_watchers: int) -> None:
        self._bus = bus
        self._signal = signal
        self._read = read
        self._max_watchers = max_watchers
        self._watchers: set[Watcher[T]] = set()
        self._waiting: deque[LiveBody] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def watch(self, tenant: str, matches: Callable[[T], bool], framing: Framing[T]) -> AsyncIterator[Watcher[T]]:
        """A watcher of one tenant's items, from everything that is appended while the block runs.

        Raises Overloaded at the limit of open streams, Unavailable when the WAL cannot be watched.
        """
        if self._closed:
            raise Unavailable("this process is draining")
        if len(self._watchers) >= self._max_watchers:
            raise Overloaded(f"live stream limit reached: {self._max_watchers} are open (TAEL_MAX_LIVE_STREAMS)")
        watcher = Watcher(tenant, matches, framing)
        self._watchers.add(watcher)
        try:
            with WATCHERS.labels(self._signal).track_inprogress():
                await self._ensure_running()
                yield watcher
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                await self._stop()

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
                await asyncio.wait((started, self._task), return_when=asyncio.FIRST_COMPLETED)
                if not started.done():
                    await self._task

    async def _stop(self) -> None:
        async with self._starting:
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
        """Queue a body for decoding if its tenant has watchers."""
        try:
            tenant = codec.tenant_of(body.body)
        except ValueError:
            return
        interested = [watcher for watcher in self._watchers if watcher.tenant == tenant]
        if not interested:
            return
        if self._waiting and self._waiting_bytes + len(body.body) > _WAITING_BYTES:
            for watcher in interested:
                self._lose(watcher, body.items)
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
                for found in await asyncio.to_thread(self._find, body, tuple(self._watchers)):
                    lost = sum(items for event, items in found.events if not found.watcher.offer(event))
                    self._lose(found.watcher, lost + found.lost)

    def _find(self, body: LiveBody, watchers: Sequence[Watcher[T]]) -> list[_Found[T]]:
        """In a thread: the frames of this body for each watcher."""
        found = []
        for record in codec.decode(body.body):
            interested = [watcher for watcher in watchers if watcher.tenant == record.tenant]
            items = self._read(record.request, record.received_at) if interested else ()
            found += [_events_of(watcher, [item for item in items if watcher.matches(item)]) for watcher in interested]
        return found

    def _lose(self, watcher: Watcher[T], items: int) -> None:
        if items:
            watcher.lose(items)
            LOST.labels(self._signal).inc(items)


def _events_of(watcher: Watcher[T], items: Sequence[T]) -> _Found[T]:
    """As many frames as the watcher has room for; the rest is not rendered."""
    room = _WATCHER_BYTES - watcher.waiting_bytes
    events: list[tuple[bytes, int]] = []
    for start in range(0, len(items), _EVENT_ITEMS):
        if room <= 0:
            return _Found(watcher, events, len(items) - start)
        some = items[start : start + _EVENT_ITEMS]
        event = watcher.framing.items(some)
        room -= len(event)
        events.append((event, len(some)))
    return _Found(watcher, events, 0)

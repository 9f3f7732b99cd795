"""Loki's tail: a WebSocket that sends the lines of the last hour and then every line as it arrives.

A bad query is refused at the handshake; a metric query ends the connection with 1011. When the server drains, or the token is revoked, the
connection is cut without a close frame, because then Grafana reconnects.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from services.query.api.family import Route
from services.query.api.live import events
from services.query.api.loki.answers import categorized, flags, line
from services.query.api.loki.parameters import DEFAULT_LIMIT, DEFAULT_SINCE_NS, Form, int64, read
from services.query.api.tenant import tenant_of
from services.query.live.feed import LiveFeed, Watcher
from services.query.live.logs import LiveRecord
from services.query.logql.engine import LogqlEngine, Wanted
from services.query.turns import Turns
from tael.errors import Rejected
from tael.logql.ast import LogQuery
from tael.logql.parse import parse
from tael.logql.pipeline import Pipeline
from tael.logql.records import entry
from tael.logql.row import Row
from tael.logql.stages.label_filter import condition
from tael.model.time import NS_PER_SECOND, TimeRange

MAX_DELAY_SECONDS: Final = 5
ONLY_LINES: Final = "only log selector is supported"
_ENDED: Final = b"ended"
_OVERLAP_NS: Final = 60 * NS_PER_SECOND
"""How young a line must be to possibly come both from storage and from the feed."""


class Tail:
    """The handler, over the engine for past lines and the feed for new ones."""

    def __init__(self, engine: LogqlEngine, turns: Turns, feed: LiveFeed[LiveRecord], *, heartbeat_seconds: float) -> None:
        self._engine, self._turns, self._feed = engine, turns, feed
        self._heartbeat_seconds = heartbeat_seconds

    def routes(self) -> list[Route]:
        """The only route. Clients that probe for a second version of it must get 404."""
        return [Route("GET", "/loki/api/v1/tail", self.tail)]

    async def tail(self, request: web.Request) -> web.StreamResponse:
        """``GET /loki/api/v1/tail`` with an upgrade to WebSocket."""
        form = await read(request)
        options = _TailOptions.read(form, self._engine.options.max_entries)
        expr = parse(form.text("query"))
        socket = web.WebSocketResponse(heartbeat=self._heartbeat_seconds)
        if not socket.can_prepare(request):
            raise Rejected("Bad Request: the tail is a WebSocket")
        if not isinstance(expr, LogQuery):
            await socket.prepare(request)
            await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=ONLY_LINES.encode())
            return socket
        framing = _Frames(expr, categorize=categorized(request))
        async with self._feed.watch(tenant_of(request), framing.matches, framing) as watcher:
            await socket.prepare(request)
            with contextlib.suppress(ConnectionError):
                await self._send(request, socket, expr, options, framing, watcher)
        return socket

    async def _send(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        query: LogQuery,
        options: _TailOptions,
        framing: _Frames,
        watcher: Watcher[LiveRecord],
    ) -> None:
        """Send history first; the watcher exists already, so no line between the two is lost."""
        async with self._turns.turn("loki tail", tenant_of(request)) as turn:
            wanted = Wanted(TimeRange(options.start_ns, options.now_ns + _OVERLAP_NS), options.limit)
            answer = await turn.ask(self._engine.lines(tenant_of(request), query, wanted))
        rows = answer.value[::-1]
        # By time and text, because lines from the WAL have no serial yet by which duplicates could be recognised.
        framing.known = {(row.timestamp_ns, row.line) for row in rows if row.timestamp_ns > options.now_ns - _OVERLAP_NS}
        if rows:
            await socket.send_str(framing.frame(rows).decode())
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._live(request, socket, options, framing, watcher), name="loki-tail")
            # Read only to notice that the client is gone; no messages are expected.
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
            sending.cancel()

    async def _live(
        self, request: web.Request, socket: web.WebSocketResponse, options: _TailOptions, framing: _Frames, watcher: Watcher[LiveRecord]
    ) -> None:
        async for event in events(request, watcher, self._heartbeat_seconds):
            if event == _ENDED:
                if request.transport is not None:
                    request.transport.close()
                return
            text = framing.fresh(event)
            if text:
                # From when the lines came: behind a wait for each frame in turn, the tail would fall further and further behind.
                made_at = event.made_at if isinstance(event, _Frame) else time.monotonic() - options.delay_seconds
                await asyncio.sleep(max(0.0, made_at + options.delay_seconds - time.monotonic()))
                await socket.send_str(text)


@dataclass(frozen=True, slots=True)
class _TailOptions:
    """The start, how many past lines to send, and how long to delay lines so that late ones can be sorted in."""

    start_ns: int
    now_ns: int
    limit: int
    delay_seconds: int

    @classmethod
    def read(cls, form: Form, most: int) -> _TailOptions:
        """Read the parameters. Raises Rejected."""
        text = form.text("delay_for")
        if text and not text.isdecimal():
            raise Rejected(f'strconv.Atoi: parsing "{text}": invalid syntax')
        delay = int64(text, "Atoi") if text else 0
        if delay > MAX_DELAY_SECONDS:
            raise Rejected(f"delay_for can't be greater than {MAX_DELAY_SECONDS}")
        start = form.instant_ns("start", form.now_ns - DEFAULT_SINCE_NS)
        return cls(start, form.now_ns, min(form.count("limit", DEFAULT_LIMIT), most), delay)


class _Frame(bytes):
    """Lines as they are sent; when they came, by the monotonic clock; and whether that was before the history was read, which may have
    them.
    """

    made_at: float
    early: bool


@dataclass(slots=True)
class _Frames:
    """Runs the query's stages on live records, and encodes the kept lines as frames; implements ``Framing``."""

    query: LogQuery
    categorize: bool = False
    known: set[tuple[int, str]] | None = None
    """Time and text of the lines that were sent as history; None before it was read."""
    heartbeat: bytes = b""

    def matches(self, record: LiveRecord) -> bool:
        """Whether the record is of a stream that the query selects."""
        stream = entry(record.record).stream
        return all(condition(matcher)(stream.get(matcher.name, "")) for matcher in self.query.matchers)

    def items(self, items: Sequence[LiveRecord]) -> bytes:
        """A frame with the lines that the stages keep, and that are not in the history if that was read."""
        # Read once: it is set while this runs in a thread.
        known = self.known
        pipeline = Pipeline(self.query.stages)
        rows = [row for row in (entry(item.record).row() for item in items) if pipeline.keeps(row)]
        new = [row for row in rows if known is None or (row.timestamp_ns, row.line) not in known]
        if not new:
            return b""
        made = _Frame(self.frame(new))
        made.made_at, made.early = time.monotonic(), known is None
        return made

    def frame(self, rows: Iterable[Row]) -> bytes:
        """A frame with these rows, one stream for each, with all labels, or with those of the stream and the others beside the line."""
        lines = (line(row, categorize=self.categorize) for row in rows)
        return self._encoded([{"stream": labels, "values": [value]} for labels, value in lines])

    def _encoded(self, streams: list[Any]) -> bytes:
        return orjson.dumps({"streams": streams, **flags(categorize=self.categorize)})

    def dropped(self, count: int) -> bytes:
        """A frame about dropped lines. Loki names each entry that it dropped; here only their number is known."""
        return orjson.dumps({"streams": [], "dropped_entries": [{"labels": {}, "timestamp": "0"}] * min(count, 100)})

    def ended(self, reason: str) -> bytes:  # noqa: ARG002 - a cut connection cannot carry a reason
        """The marker at which ``_live`` cuts the connection."""
        return _ENDED

    def fresh(self, event: bytes) -> str:
        """A frame without lines that were already sent as history; empty if none are left."""
        if not isinstance(event, _Frame) or not event.early or not self.known:
            return event.decode()
        streams = [
            one for one in orjson.loads(event.decode())["streams"] if (int(one["values"][0][0]), one["values"][0][1]) not in self.known
        ]
        return self._encoded(streams).decode() if streams else ""

"""The connections of an HTTP listener: how many there may be, how long each may keep us waiting, and what is answered to what is no HTTP.

A client that is slow in sending holds what it has sent and a connection. When all are taken, whoever has been silent longest makes room for
whoever comes, unless it waits for us.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from aiohttp import StreamReader, http_exceptions, web
from aiohttp.streams import EMPTY_PAYLOAD
from prometheus_client import Counter

from tael.runtime.config import Address
from tael.runtime.observe import get_logger
from tael.runtime.pipe import HTTP2, Pipe
from tael.runtime.settings import ConnectionSettings

log = get_logger("http")
Refuse: TypeAlias = "Callable[[web.Request, str, web.HTTPException], web.Response]"
"""The answer to a request that could not be read; all that is known of it is its path, and of that not even much."""
HEAD_BYTES = 1 << 20
"""Of one line of a request's head, and of the head as a whole, as Go's servers take it."""
CUT = Counter("tael_http_connections_cut", "Connections closed because the client was too slow, or to make room.", ["reason"])
_SWEEP_SECONDS = 1.0
# A head that is just small enough may come in one read with the beginning of its body.
_HEAD_SLACK_BYTES = 64 << 10
_PATH_BYTES = 256
# While thousands wait for us, each new connection would otherwise walk past all of them to find one that may be closed.
_LOOKED_AT = 100


class Held(Protocol):
    """A connection, as a listener bounds it."""

    @property
    def waits_for_us(self) -> bool:
        """Whether a request has come as a whole and is being answered."""
        ...

    def overdue(self, now: float) -> str:
        """Why the connection is to be ended; empty when it is not."""
        ...

    def cut(self, reason: str) -> None:
        """End the connection at once."""
        ...


class Listener(web.Server):
    """Makes a connection's handler, and knows them all. ``options`` are aiohttp's for its handler."""

    def __init__(self, handler: Any, *, limits: ConnectionSettings, refuse: Refuse, http2: Address | None = None, **options: Any) -> None:
        super().__init__(handler, access_log=None, keepalive_timeout=limits.idle_seconds, **options)
        self.limits, self.refuse, self.http2 = limits, refuse, http2
        self._options = {**self._kwargs, "max_line_size": HEAD_BYTES, "max_field_size": HEAD_BYTES}
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # A quarter of the descriptors is kept for files and for connections to NATS and ClickHouse.
        self._most = limits.max_connections if files == resource.RLIM_INFINITY else min(limits.max_connections, files * 3 // 4)
        self._by_silence: OrderedDict[Held, None] = OrderedDict()

    def __call__(self) -> Connection:
        """A handler for a connection that was accepted."""
        return Connection(self, loop=self._loop, **self._options)

    def opened(self, connection: Held) -> None:
        """Make room for one more."""
        self._by_silence[connection] = None
        if len(self._by_silence) > self._most:
            oldest = (old for old, _ in zip(self._by_silence, range(_LOOKED_AT), strict=False))
            # The longest silent connection makes room, but never one whose request we are still answering.
            next((old for old in oldest if not old.waits_for_us), connection).cut("too many")

    def received(self, connection: Held) -> None:
        """It sent something."""
        if connection in self._by_silence:
            self._by_silence.move_to_end(connection)

    def closed(self, connection: Held) -> None:
        """It is no more."""
        self._by_silence.pop(connection, None)

    def end_pipes(self) -> None:
        """End the connections that were handed on and are still there."""
        for connection in tuple(self._by_silence):
            if isinstance(connection, Pipe):
                connection.cut("drained")

    async def sweep(self) -> None:
        """End connections that keep us waiting, until cancelled."""
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.limits.header_seconds / 2, self.limits.body_window_seconds / 2))
            now = self._loop.time()
            for connection in tuple(self._by_silence):
                if reason := connection.overdue(now):
                    connection.cut(reason)


class Connection(web.RequestHandler):
    """One connection. What state it is in, aiohttp tells by attributes of its own that its tests hold still."""

    def __init__(self, listener: Listener, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(listener, loop=loop, **options)
        self._listener = listener
        self._opened_at = loop.time()
        self._head_since: float | None = None
        self._head_bytes = 0
        self._start = b""
        self._payload: StreamReader = EMPTY_PAYLOAD
        self._received = 0
        self._window: tuple[float, int] | None = None
        self._unread_since: float | None = None

    @property
    def waits_for_us(self) -> bool:
        """Whether a request has come as a whole and is being answered."""
        request = self._current_request
        return request is not None and request.content.is_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._listener.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self._listener.closed(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        self._unread_since = self._loop.time()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        self._unread_since = None

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        # Only at the very beginning, and in one piece, as clients send the preface: a connection that has spoken HTTP/1 does not change.
        if not self._received and data.startswith(HTTP2) and self._listener.http2 is not None and self.transport is not None:
            self._hand_over(self.transport, data, self._listener.http2)
            return
        self._received += len(data)
        if data:
            self._listener.received(self)
        if self._force_close:
            return  # answered for good; what was on its way is nobody's
        # Taken before the parser sees the data: afterwards it may have become a request. What is left of the body of one that was answered
        # early, as when it is refused, is no head either.
        between = self._current_request is None and not self._messages and self._payload.is_eof()
        if between and self._head_since is None:
            self._start, self._head_bytes = data[:_PATH_BYTES], 0
        super().data_received(data)
        if self._messages:
            self._payload = self._messages[-1][1]
        if not between or self._messages or self._current_request is not None:
            self._head_since = None
            return
        self._head_bytes += len(data)
        if self._head_since is None and data:
            self._head_since = self._loop.time()
        if self._head_bytes > HEAD_BYTES + _HEAD_SLACK_BYTES:
            self._end_with(web.HTTPRequestHeaderFieldsTooLarge(reason=f"a request's head may have {HEAD_BYTES} bytes"))

    def _hand_over(self, transport: asyncio.Transport, data: bytes, target: Address) -> None:
        """Let what listens at ``target`` answer: this is not HTTP/1."""
        pipe = Pipe(transport, data, self._listener.closed, CUT)
        self.transport = None  # or it would be closed with the handler
        self.connection_lost(None)
        transport.set_protocol(pipe)
        self._listener.opened(pipe)
        pipe.dial(target, self._loop)

    def overdue(self, now: float) -> str:
        """Why the connection is to be ended; empty when it is not."""
        limits, request = self._listener.limits, self._current_request
        if self._unread_since is not None and now - self._unread_since > limits.body_window_seconds * 6:
            return "unread answer"
        if not self._received and now - self._opened_at > limits.header_seconds:
            return "silent"
        if self._head_since is not None and now - self._head_since > limits.header_seconds:
            return "slow head"
        if request is None or request.content.is_eof() or self._reading_paused:
            # Our turn, or backpressure from our own handler: its silence is not the client's fault.
            self._window = None
            return ""
        if self._window is None:
            self._window = (now, self._received)
        since, before = self._window
        if now - since < limits.body_window_seconds:
            return ""
        # Windows follow each other: a client that was fast at first and then stops is not carried by its average.
        self._window = (now, self._received)
        return "slow body" if self._received - before < limits.body_bytes_per_second * (now - since) else ""

    def cut(self, reason: str) -> None:
        """End the connection at once."""
        CUT.labels(reason).inc()
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what could not be read as HTTP, and say so in one line: neither holds what was sent, which may be a secret."""
        if not isinstance(exc, http_exceptions.HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        error = _explained(exc)
        log.info("malformed request", peer=self.peername and self.peername[0], reason=error.reason)
        response = self._listener.refuse(request, self._path(), error)  # type: ignore[arg-type]  # aiohttp makes a web.Request here too
        response.force_close()
        return response

    def _end_with(self, error: web.HTTPException) -> None:
        """Answer on the bare connection: there is no request yet to answer."""
        log.info("malformed request", peer=self.peername and self.peername[0], reason=error.reason)
        if self.transport is not None:
            head = f"HTTP/1.1 {error.status} {error.reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            self.transport.write(head.encode())
        self.force_close()

    def _path(self) -> str:
        words = self._start.split(b" ", 2)
        return words[1].decode(errors="replace").partition("?")[0] if len(words) > 1 else "/"


def _explained(error: http_exceptions.HttpProcessingError) -> web.HTTPException:
    if isinstance(error, http_exceptions.LineTooLong):
        return web.HTTPRequestHeaderFieldsTooLarge(reason=f"the URL or a header has more than {HEAD_BYTES} bytes")
    if isinstance(error, http_exceptions.InvalidHeader):
        return web.HTTPBadRequest(reason="a header is malformed")
    if isinstance(error, http_exceptions.BadStatusLine | http_exceptions.InvalidURLError):
        return web.HTTPBadRequest(reason="the request line is not that of HTTP/1.1")
    return web.HTTPBadRequest(reason="the request is not valid HTTP/1.1")

"""The connections of an HTTP listener: their maximum number, how long each may keep us waiting, and the answer to requests that are not
HTTP.

A slow client holds a connection and the bytes that it has sent. When all connections are in use, a new one replaces the one that has been
silent longest, unless that one is waiting for our answer.
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
"""Answers a request that could not be parsed, given the (possibly truncated) path, which is all that is known of it."""
HEAD_BYTES = 1 << 20
"""The limit of one line of a request's head, and of the whole head: the default of Go's servers."""
CUT = Counter("tael_http_connections_cut", "Connections closed because the client was too slow, or to make room.", ["reason"])
_SWEEP_SECONDS = 1.0
# A head just below the limit may arrive in one read with the beginning of its body.
_HEAD_SLACK_BYTES = 64 << 10
_PATH_BYTES = 256
# While thousands wait for us, each new connection would otherwise examine all of them to find one that may be closed.
_MAX_EXAMINED = 100


class Held(Protocol):
    """A connection that counts towards a listener's limit."""

    @property
    def waits_for_us(self) -> bool:
        """Whether a request has been received completely and is being answered."""
        ...

    def overdue(self, now: float) -> str:
        """Why the connection must be closed, as a label value; empty when it need not."""
        ...

    def cut(self, reason: str) -> None:
        """Close the connection at once."""
        ...


class Listener(web.Server):
    """Creates a handler for each connection and keeps track of them. ``options`` are those of aiohttp's handler."""

    def __init__(self, handler: Any, *, limits: ConnectionSettings, refuse: Refuse, http2: Address | None = None, **options: Any) -> None:
        super().__init__(handler, access_log=None, keepalive_timeout=limits.idle_seconds, **options)
        self.limits, self.refuse, self.http2 = limits, refuse, http2
        self._options = {**self._kwargs, "max_line_size": HEAD_BYTES, "max_field_size": HEAD_BYTES}
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # A quarter of the file descriptors is reserved for files and for connections to NATS and ClickHouse.
        self._most = limits.max_connections if files == resource.RLIM_INFINITY else min(limits.max_connections, files * 3 // 4)
        self._by_silence: OrderedDict[Held, None] = OrderedDict()

    def __call__(self) -> Connection:
        """A handler for an accepted connection."""
        return Connection(self, loop=self._loop, **self._options)

    def opened(self, connection: Held) -> None:
        """Track a new connection, and close another one if there are too many."""
        self._by_silence[connection] = None
        if len(self._by_silence) > self._most:
            oldest = (old for old, _ in zip(self._by_silence, range(_MAX_EXAMINED), strict=False))
            # The longest silent connection is closed, but never one whose request we are still answering; else the new one itself.
            next((old for old in oldest if not old.waits_for_us), connection).cut("too many")

    def received(self, connection: Held) -> None:
        """Note that the connection sent something."""
        if connection in self._by_silence:
            self._by_silence.move_to_end(connection)

    def closed(self, connection: Held) -> None:
        """Forget a closed connection."""
        self._by_silence.pop(connection, None)

    def end_pipes(self) -> None:
        """Close the remaining connections that were handed to another listener."""
        for connection in tuple(self._by_silence):
            if isinstance(connection, Pipe):
                connection.cut("drained")

    async def sweep(self) -> None:
        """Close connections that keep us waiting too long, until cancelled."""
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.limits.header_seconds / 2, self.limits.body_window_seconds / 2))
            now = self._loop.time()
            for connection in tuple(self._by_silence):
                if reason := connection.overdue(now):
                    connection.cut(reason)


class Connection(web.RequestHandler):
    """One connection. Its state is read from private attributes of aiohttp's handler, which aiohttp's own tests rely on."""

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
        """See Held."""
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
        # Only at the very start, and in one piece, as clients send the preface: a connection that has spoken HTTP/1 does not switch.
        if not self._received and data.startswith(HTTP2) and self._listener.http2 is not None and self.transport is not None:
            self._hand_over(self.transport, data, self._listener.http2)
            return
        self._received += len(data)
        if data:
            self._listener.received(self)
        if self._force_close:
            return  # the final answer has been sent; further data is discarded
        # Determined before the parser sees the data, which may turn it into a request. The rest of the body of a request that was answered
        # early (a refused one, for example) does not count as a head either.
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
        """Hand the connection, which is not HTTP/1, to the listener at ``target``."""
        pipe = Pipe(transport, data, self._listener.closed, CUT)
        self.transport = None  # otherwise connection_lost() would close it
        self.connection_lost(None)
        transport.set_protocol(pipe)
        self._listener.opened(pipe)
        pipe.dial(target, self._loop)

    def overdue(self, now: float) -> str:
        """See Held."""
        limits, request = self._listener.limits, self._current_request
        if self._unread_since is not None and now - self._unread_since > limits.body_window_seconds * 6:
            return "unread answer"
        if not self._received and now - self._opened_at > limits.header_seconds:
            return "silent"
        if self._head_since is not None and now - self._head_since > limits.header_seconds:
            return "slow head"
        if request is None or request.content.is_eof() or self._reading_paused:
            # It is our turn, or our own handler applies backpressure: the silence is not the client's fault.
            self._window = None
            return ""
        if self._window is None:
            self._window = (now, self._received)
        since, before = self._window
        if now - since < limits.body_window_seconds:
            return ""
        # Each window counts by itself: a client that was fast at first and then stops does not profit from its earlier rate.
        self._window = (now, self._received)
        return "slow body" if self._received - before < limits.body_bytes_per_second * (now - since) else ""

    def cut(self, reason: str) -> None:
        """See Held."""
        CUT.labels(reason).inc()
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer a request that is not valid HTTP, and log it in one line. Neither repeats what was sent, which may contain a secret."""
        if not isinstance(exc, http_exceptions.HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        error = _explained(exc)
        log.info("malformed request", peer=self.peername and self.peername[0], reason=error.reason)
        response = self._listener.refuse(request, self._path(), error)  # type: ignore[arg-type]  # aiohttp makes a web.Request here too
        response.force_close()
        return response

    def _end_with(self, error: web.HTTPException) -> None:
        """Answer on the transport directly, as there is no request object yet."""
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

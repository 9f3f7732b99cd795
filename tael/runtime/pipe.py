"""Forwards a connection to another listener of this process: bytes in both directions, at the pace of the slower side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from prometheus_client import Counter

from tael.runtime.config import Address

HTTP2: Final = b"PRI * HTTP/2.0"
"""The start of an HTTP/2 connection with prior knowledge, such as gRPC's (RFC 9113, 3.4)."""
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound
_DIAL_SECONDS = 5.0


class Behind(Protocol):
    """A listener that connections are handed to."""

    @property
    def address(self) -> Address:
        """The address that it listens on."""
        ...

    async def end(self) -> None:
        """Finish the calls on these connections; there will be no new ones. MUST be safe to call again."""
        ...


class Pipe(asyncio.Protocol):
    """The client's side. ``first`` holds the bytes already read; ``closed`` is called once, at the end."""

    def __init__(self, client: asyncio.Transport, first: bytes, closed: Callable[[Pipe], None], cuts: Counter) -> None:
        self._client = client
        self._first = first
        self._closed = closed
        self._cuts = cuts
        self._server: asyncio.Transport | None = None
        self._dialling: asyncio.Task[None] | None = None

    @property
    def waits_for_us(self) -> bool:
        """Unknown here, so False: a pipe that is silent longest may be closed to make room."""
        return False

    def overdue(self, now: float) -> str:  # noqa: ARG002  # the listener behind closes connections that keep it waiting
        """Never overdue by itself."""
        return ""

    def cut(self, reason: str) -> None:
        """See Held."""
        self._cuts.labels(reason).inc()
        self._client.abort()

    def dial(self, target: Address, loop: asyncio.AbstractEventLoop) -> None:
        """Connect to the listener at ``target``; nothing more is read from the client before that."""
        self._client.pause_reading()
        self._dialling = loop.create_task(self._dial(target, loop), name="pipe-dial")

    async def _dial(self, target: Address, loop: asyncio.AbstractEventLoop) -> None:
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                transport, _ = await loop.create_connection(
                    lambda: _Back(self._client), _LOOPBACK.get(target.host, target.host), target.port
                )
        # A timeout is included: TimeoutError is an OSError.
        except OSError:
            self._client.abort()
            return
        self._server = transport
        # The client disconnected while we dialled, when connection_lost() had no server transport to close yet.
        if self._client.is_closing():
            transport.abort()
            return
        transport.write(self._first)
        self._first = b""
        self._client.resume_reading()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._server is not None:
            self._server.write(data)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        # The client reads slowly: stop reading from the server, so that no more than a buffer piles up here.
        if self._server is not None:
            self._server.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._server is not None:
            self._server.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it ended
        """See asyncio.Protocol."""
        if self._dialling is not None:
            self._dialling.cancel()
        if self._server is not None:
            self._server.close()
        self._closed(self)


class _Back(asyncio.Protocol):
    """The side of the listener behind."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it ended
        self._client.close()

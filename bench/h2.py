"""A gRPC client of unary calls that costs little, for load: HTTP/2 frames written by hand, and of an answer only whether it holds a
message.

grpc.aio takes a third of a millisecond of processor time a call, which is missing for what is measured where the load shares its machine.
On the wire it is a client like any other: data is sent within the server's frame size and windows, and pings and settings are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_INITIAL_WINDOW, _MAX_FRAME = 0x4, 0x5
_HEAD_BYTES: Final = 9
_PREFIX_BYTES: Final = 5
"""What gRPC puts in front of a message: whether it is compressed, and its length."""
_WIDEN_BYTES: Final = 32_768
_CANCEL: Final = (8).to_bytes(4, "big")
DEADLINE_SECONDS: Final = 60.0
"""How long a call may take, and a connection; a server that is slow under load is not one that hangs."""
Call: TypeAlias = "Callable[[bytes], Awaitable[None]]"
"""Sends a message and returns once it is answered. Raises CallFailed."""


class CallFailed(Exception):
    """The server refused a call, or the connection was lost."""


@dataclass(slots=True)
class _Sent:
    """A call under way: what is not sent yet, the bytes that may be sent, and whether a message came back."""

    left: memoryview
    window: int
    done: asyncio.Future[None]
    answered: bool = False


@dataclass(slots=True)
class _Room:
    """What the server takes: in one frame, on a new stream, and on the connection."""

    frame: int = 16_384
    stream: int = 65_535
    connection: int = 65_535


@dataclass
class Http2(asyncio.Protocol):
    """One connection; ``call`` any number of times at once."""

    authority: str
    path: str
    _calls: dict[int, _Sent] = field(default_factory=dict)
    _room: _Room = field(default_factory=_Room)
    _buffer: bytearray = field(default_factory=bytearray)
    _next: int = 1
    _unread: int = 0
    _transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        for call in self._calls.values():
            _end(call, f"the connection was lost: {exc}")
        self._calls.clear()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD_BYTES:
            size = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at < _HEAD_BYTES + size:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & 0x7FFF_FFFF
            self._received(kind, flags, stream, bytes(buffer[at + _HEAD_BYTES : at + _HEAD_BYTES + size]))
            at += _HEAD_BYTES + size
        del buffer[:at]

    async def call(self, message: bytes) -> None:
        """Send one message, and return once the server has answered with one. Raises CallFailed for any other end, and when the deadline is
        over.
        """
        if self._transport is None:
            raise CallFailed("there is no connection")
        stream, self._next = self._next, self._next + 2
        body = b"\x00" + len(message).to_bytes(4, "big") + message
        call = self._calls[stream] = _Sent(memoryview(body), self._room.stream, asyncio.get_running_loop().create_future())
        self._write(_frame(_HEADERS, _END_HEADERS, stream, _headers(self.authority, self.path)))
        self._send(stream, call)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await call.done
        except TimeoutError as error:
            # Reset, so that a server that hangs on one call does not keep its room on the connection.
            self._calls.pop(stream, None)
            self._write(_frame(_RESET, 0, stream, _CANCEL))
            raise CallFailed(f"no answer within {DEADLINE_SECONDS:g} s") from error

    def _received(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._settle(body)
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, body))
        elif kind == _WINDOW:
            self._widen(stream, int.from_bytes(body, "big"))
        elif kind == _GOAWAY and self._transport is not None:
            self._transport.close()
        else:
            self._answered(kind, flags, stream, body)

    def _answered(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        self._unread += len(body) if kind == _DATA else 0
        if self._unread > _WIDEN_BYTES:
            self._write(_frame(_WINDOW, 0, 0, self._unread.to_bytes(4, "big")))
            self._unread = 0
        if (call := self._calls.get(stream)) is not None:
            # A refused call has trailers only: a message means success, whatever the headers say, which are not decoded.
            call.answered |= kind == _DATA and len(body) >= _PREFIX_BYTES
            if kind == _RESET or flags & _END_STREAM:
                del self._calls[stream]
                _end(call, "" if call.answered else "refused")

    def _settle(self, body: bytes) -> None:
        """Take the server's settings; a change of the streams' windows applies to those that are open too (RFC 9113, 6.9.2)."""
        for at in range(0, len(body), 6):
            name, value = int.from_bytes(body[at : at + 2], "big"), int.from_bytes(body[at + 2 : at + 6], "big")
            if name == _MAX_FRAME:
                self._room.frame = value
            elif name == _INITIAL_WINDOW:
                for call in self._calls.values():
                    call.window += value - self._room.stream
                self._room.stream = value
        self._write(_frame(_SETTINGS, _ACK, 0, b""))
        self._send_all()

    def _widen(self, stream: int, by: int) -> None:
        if stream == 0:
            self._room.connection += by
            self._send_all()
        elif (call := self._calls.get(stream)) is not None:
            call.window += by
            self._send(stream, call)

    def _send_all(self) -> None:
        for stream, call in self._calls.items():
            self._send(stream, call)

    def _send(self, stream: int, call: _Sent) -> None:
        """Send as much of a call as the windows allow."""
        frames: list[bytes | memoryview] = []
        while call.left and (size := min(len(call.left), self._room.frame, call.window, self._room.connection)) > 0:
            piece, call.left = call.left[:size], call.left[size:]
            call.window -= size
            self._room.connection -= size
            frames += (_head(size, _DATA, 0 if call.left else _END_STREAM, stream), piece)
        if frames:
            self._write(b"".join(frames))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


@contextlib.asynccontextmanager
async def client(endpoint: str, path: str) -> AsyncIterator[Call]:
    """A connection to ``host:port`` for calls of the method at ``path``."""
    host, _, port = endpoint.rpartition(":")
    async with asyncio.timeout(DEADLINE_SECONDS):
        transport, connection = await asyncio.get_running_loop().create_connection(lambda: Http2(endpoint, path), host, int(port))
    try:
        yield connection.call
    finally:
        transport.close()


def _end(call: _Sent, failure: str) -> None:
    if call.done.done():
        return
    if failure:
        call.done.set_exception(CallFailed(failure))
    else:
        call.done.set_result(None)


def _headers(authority: str, path: str) -> bytes:
    """The header block of a call: two fields of HPACK's static table (POST, http), the others as literals without indexing."""
    named = (
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
    return b"\x83\x86" + b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in named)


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return _head(len(body), kind, flags, stream) + body


def _head(size: int, kind: int, flags: int, stream: int) -> bytes:
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")

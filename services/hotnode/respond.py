"""Sends a statement's result as it comes, with a server's headers.

Up to ``buffer_size`` bytes are held back, so that a statement that fails early answers with its own status and one that succeeds with
its final summary. One that fails later ends the body with an exception block and closes the connection.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from services.hotnode import answer
from services.hotnode.call import Call
from services.hotnode.codec import Encoder, choose_encoding, response_encoder
from services.hotnode.engine import Stats
from services.hotnode.errors import StatementFailed
from services.hotnode.run import Job, Running
from services.hotnode.spool import Spool
from services.hotnode.statement import Other, Select

_OFF_LOOP_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Node:
    """What every answer says of the node."""

    name: str
    timezone: str
    version: str


@dataclass(slots=True)
class Exchange:
    """One request and its answer. ``call`` is None until the request is read."""

    request: web.Request
    node: Node
    call: Call | None = None
    output_format: str = "TabSeparated"
    began_ns: int = field(default_factory=time.monotonic_ns)

    def fail(self, error: StatementFailed) -> web.Response:
        """The answer of a statement that returned nothing yet."""
        headers = {**self._headers(Stats()), "X-ClickHouse-Exception-Code": str(error.code), "Content-Type": "text/plain; charset=UTF-8"}
        return web.Response(status=error.status, body=f"{self._text(error)}\n".encode(), headers=headers)

    async def respond(self, job: Job, running: Running, held: Spool) -> web.StreamResponse:
        """Send the result of ``job``. Raises StatementFailed while nothing has been sent. ``held`` keeps what is held back."""
        self.call = call = job.call
        self.output_format = call.default_format
        if isinstance(job.statement, Select | Other) and job.statement.output_format:
            self.output_format = job.statement.output_format
        encoding = choose_encoding(self.request.headers.get("Accept-Encoding", "")) if call.compress_out else ""
        encoder = response_encoder(encoding, level=call.zlib_level)
        while piece := await running.read():
            held.append(piece)
            if held.size > call.buffer_bytes and not call.wait_for_end:
                return await self._stream(running, held, encoder, encoding, Stats())
        stats = await running.stats()
        if held.size > call.buffer_bytes:
            return await self._stream(running, held, encoder, encoding, stats)
        whole = await _encode(encoder, b"".join(held.chunks()), last=True)
        return web.Response(body=whole, headers=self._result_headers(stats, encoding))

    async def _stream(self, running: Running, held: Spool, encoder: Encoder, encoding: str, stats: Stats) -> web.StreamResponse:
        tag = secrets.token_hex(8)
        response = web.StreamResponse(headers={**self._result_headers(stats, encoding), "X-ClickHouse-Exception-Tag": tag})
        response.enable_chunked_encoding()
        await response.prepare(self.request)
        for piece in held.chunks():
            await response.write(await _encode(encoder, piece))
        while piece := await running.read():
            await response.write(await _encode(encoder, piece))
        try:
            await running.stats()
            await response.write(await _encode(encoder, b"", last=True))
            await response.write_eof()
        except StatementFailed as error:
            await response.write(await _encode(encoder, answer.exception_block(tag, self._text(error)), last=True))
            # No last chunk, and the connection ends: a client that knows no exception block sees a body that was cut.
            response.force_close()
            if self.request.transport is not None:
                self.request.transport.close()
        return response

    def _text(self, error: StatementFailed) -> str:
        return f"{error.text} (version {self.node.version} (chdb))"

    def _result_headers(self, stats: Stats, encoding: str) -> dict[str, str]:
        headers = {**self._headers(stats), "Content-Type": answer.media_type(self.output_format)}
        return {**headers, "Content-Encoding": encoding, "Vary": "Accept-Encoding"} if encoding else headers

    def _headers(self, stats: Stats) -> dict[str, str]:
        query_id = {"X-ClickHouse-Query-Id": self.call.query_id} if self.call is not None else {}
        return {
            **query_id,
            "X-ClickHouse-Server-Display-Name": self.node.name,
            "X-ClickHouse-Timezone": self.node.timezone,
            "X-ClickHouse-Format": self.output_format,
            "X-ClickHouse-Summary": answer.summary(stats, time.monotonic_ns() - self.began_ns),
        }


async def _encode(encoder: Encoder, piece: bytes, *, last: bool = False) -> bytes:
    """Small pieces here, larger ones in a thread."""
    if len(piece) < _OFF_LOOP_BYTES:
        return _finished(encoder, piece) if last else encoder.encode(piece)
    return await asyncio.to_thread(_finished if last else _encoded, encoder, piece)


def _encoded(encoder: Encoder, piece: bytes) -> bytes:
    return encoder.encode(piece)


def _finished(encoder: Encoder, piece: bytes) -> bytes:
    return encoder.encode(piece) + encoder.finish()

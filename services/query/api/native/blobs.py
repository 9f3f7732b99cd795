"""Payloads by the SHA-256 of their content, under ``/api/v1/blobs``: those that items refer to, and those posted by hand."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from typing import Final

from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.partial import partial_json
from services.query.api.tenant import tenant_of
from services.query.backend import Backend
from services.query.parameters import Parameters
from tael.auth import INGEST
from tael.errors import NotFound, Overloaded, Rejected, TaelError, TooLarge
from tael.model.signals import PAYLOADS
from tael.model.time import HOUR_NS, NS_PER_SECOND, TimeRange
from tael.runtime.http import json_response
from tael.wal.payloads import Wanted, bodies

_POSTS_AT_ONCE: Final = 4
_LOOK_EVERY_SECONDS: Final = 0.2
_WAL: Final = 0
"""The WAL of posted payloads. Any shard would do: payloads are read from all."""


class Blobs:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._posting = 0

    def routes(self) -> list[Route]:
        """Every route."""
        return [Route("POST", "/api/v1/blobs", self.post, INGEST), Route("GET", "/api/v1/blobs/{sha256}", self.get)]

    async def get(self, request: web.Request) -> web.Response:
        """``GET /api/v1/blobs/{sha256}``: the content, as bytes."""
        Parameters(request.query.items(), known=())
        text, tenant = request.match_info["sha256"], tenant_of(request)
        if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
            raise Rejected(f"{text[:80]!r} is not the SHA-256 of a payload", where="sha256", accepted="64 hexadecimal digits")
        sha256 = bytes.fromhex(text)
        async with self._backend.turns.turn("blob", tenant) as turn:
            found = await turn.ask(self._backend.payloads.get_payloads(tenant, [sha256]))
        content = found.value.get(sha256)
        if content is not None:
            headers = {"X-Content-Type-Options": "nosniff"}
            return web.Response(body=content, content_type="application/octet-stream", headers=headers)
        if found.missing:
            reason = f"payload {sha256.hex()} was not found, but it may be on {', '.join(found.missing)}, which did not answer"
            return json_response({"error": reason, **partial_json(found.missing)}, status=503, headers={"Retry-After": "1"})
        raise NotFound(f"payload {sha256.hex()} was not found")

    async def post(self, request: web.Request) -> web.Response:
        """``POST /api/v1/blobs``: store the body; answers its SHA-256 and size, 201 once it can be read, or 202 where it is durable and
        cannot be read yet.
        """
        Parameters(request.query.items(), known=())
        if self._posting >= _POSTS_AT_ONCE:
            raise Overloaded(f"{_POSTS_AT_ONCE} payloads are being posted")
        self._posting += 1
        try:
            content = await self._read(request)
            wanted = Wanted(_this_hour(), (await asyncio.to_thread(hashlib.sha256, content)).digest(), content)
            await self._append(tenant_of(request), wanted)
        finally:
            self._posting -= 1
        posted = {"sha256": wanted.sha256.hex(), "size": len(content)}
        if await self._readable(tenant_of(request), wanted):
            return json_response(posted, status=201)
        return json_response({**posted, "warning": "it is stored, but cannot be read yet: its shard's writer is behind"}, status=202)

    async def _readable(self, tenant: str, wanted: Wanted) -> bool:
        """Whether the payload can be read before the patience with the writer ends. Never raises: what is durable must not look failed."""
        deadline = time.monotonic() + self._backend.settings.posted_payload_wait_seconds
        start_ns = wanted.hour * NS_PER_SECOND
        hour = TimeRange(start_ns, start_ns + HOUR_NS)
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TaelError, TimeoutError):
                # The turn is given back between looks, so that waiting posts do not keep queries waiting.
                async with self._backend.turns.turn("blob", tenant) as turn:
                    found = await turn.ask(self._backend.payloads.get_payloads(tenant, [wanted.sha256], hour))
                if wanted.sha256 in found.value:
                    return True
            await asyncio.sleep(min(_LOOK_EVERY_SECONDS, left))
        return False

    async def _append(self, tenant: str, wanted: Wanted) -> None:
        appender = self._backend.appender
        for body in bodies(tenant, _WAL, [wanted], time.time_ns(), appender.max_body_bytes):
            await appender.append(_WAL, PAYLOADS, body.body, body.items, body.dedup_id)

    async def _read(self, request: web.Request) -> bytes:
        most = self._backend.settings.max_posted_payload_bytes
        read = bytearray()
        async for chunk in request.content.iter_any():
            read += chunk
            if len(read) > most:
                raise TooLarge(f"the payload has more than {most} bytes (TAEL_MAX_POSTED_PAYLOAD_BYTES)", where="body")
        return bytes(read)


def _this_hour() -> int:
    now = int(time.time())
    return now - now % 3600

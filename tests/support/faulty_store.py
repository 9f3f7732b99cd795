"""A proxy in front of an object store that corrupts some answers, as real ones sometimes do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from tael.runtime.config import Address
from tael.runtime.http import serve


class FaultyStore:
    """Forwards requests to ``target``; while ``fault`` is set, it spoils answers for keys that contain ``where``.

    ``busy`` answers 503 without forwarding, ``late`` forwards and then answers 500, ``short`` ends the body half way,
    ``silent`` gives no answer.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self.fault = ""
        self.where = ""
        self.spoiled = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Handle one request."""
        body = await request.read()
        spoil = bool(self.fault) and self.where in request.path
        self.spoiled += spoil
        if spoil and self.fault == "busy":
            return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>", content_type="application/xml")
        if spoil and self.fault == "silent":
            await asyncio.Event().wait()
        # The path goes on as it came, for it is signed.
        url = URL(self._target + request.raw_path, encoded=True)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, url, headers=request.headers, data=body, skip_auto_headers=("Content-Type", "User-Agent")
            ) as answer,
        ):
            content = await answer.read()
            headers = {
                name: value for name, value in answer.headers.items() if name not in {"Transfer-Encoding", "Connection", "Content-Encoding"}
            }
        if spoil and self.fault == "late":
            return web.Response(status=500, text="<Error><Code>InternalError</Code></Error>", content_type="application/xml")
        if request.method == "HEAD":
            return web.Response(status=answer.status, headers=headers)
        if spoil and self.fault == "short" and len(content) > 1:
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            await response.write(content[: len(content) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        headers.pop("Content-Length", None)
        return web.Response(status=answer.status, headers=headers, body=content)


@asynccontextmanager
async def faulty(target: str, address: Address) -> AsyncIterator[FaultyStore]:
    """Run the proxy at an address while the block runs; yields it."""
    store, app = FaultyStore(target), web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", store.handle)
    async with serve(app, address, what="the proxy's", variable="none"):
        yield store

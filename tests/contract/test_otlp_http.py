"""OTLP over HTTP, by the specification's list (bodies, statuses, encodings, browsers), against the real receiver."""

from __future__ import annotations

import aiohttp

from tests.support.otlp import receiving, request_of

PROTOBUF, JSON = "application/x-protobuf", "application/json"


async def test_a_request_reaches_the_log_byte_for_byte() -> None:
    body = request_of(3).SerializeToString()
    async with receiving() as r, aiohttp.ClientSession() as session:
        async with session.post(r.url, data=body, headers={"Content-Type": PROTOBUF}) as answer:
            assert (answer.status, answer.headers["Content-Type"], await answer.read()) == (200, PROTOBUF, b"")
        assert r.log.requests == [body]

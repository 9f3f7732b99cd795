"""OTLP over gRPC, by the specification's list (transport, statuses, semantics), against the real receiver."""

from __future__ import annotations

import grpc

from tests.support.otlp import call, receiving, request_of


async def test_a_request_reaches_the_log_byte_for_byte() -> None:
    body = request_of(3).SerializeToString()
    async with receiving() as r:
        answer = await call(r.grpc, body)
        assert (answer.code, answer.response and answer.response.ByteSize()) == (grpc.StatusCode.OK, 0)
        assert r.log.requests == [body]
        assert [items for *_, items in r.log.appended] == [3]

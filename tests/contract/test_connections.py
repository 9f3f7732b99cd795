"""Clients that stall, shout or pretend, on a bare socket: what the listeners of HTTP answer, and whom they keep."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import resource
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tael.runtime.config import Address
from tael.runtime.connections import HEAD_BYTES
from tael.runtime.http import errors_to_status, json_response, serve
from tael.runtime.service import raise_open_files
from tael.runtime.settings import ConnectionSettings
from tests.support.doubles import MemorySpans
from tests.support.otlp import Receivers, eventually, receiving, request_of
from tests.support.query import serving

PROTOBUF = {"Content-Type": "application/x-protobuf"}
SECRET = "Bearer very-secret-token-0123"


@contextlib.asynccontextmanager
async def listener(**limits: float) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """A listener that keeps the bodies it was sent."""
    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return json_response({})

    async def tell(_: web.Request) -> web.Response:
        return web.Response(body=bytes(64 << 20))

    app = web.Application(middlewares=[errors_to_status()], client_max_size=1 << 30)
    app.router.add_post("/", take)
    app.router.add_get("/", tell)
    settings = ConnectionSettings.model_validate(limits)
    async with serve(app, Address("127.0.0.1", 0), what="the test's", variable="-", drain_seconds=1, limits=settings) as bound:
        yield bound, bodies


class Wire:
    """A bare connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, address: Address, sent: bytes = b"") -> Wire:
        wire = cls(*await asyncio.open_connection(address.host, address.port))
        wire.writer.write(sent)
        return wire

    async def rest(self) -> bytes:
        """What comes until the connection ends, which it must."""
        try:
            async with asyncio.timeout(60):
                return await self.reader.read()
        except ConnectionError:
            return b""
        finally:
            self.writer.close()


async def test_a_head_that_does_not_come_to_its_end_ends_the_connection() -> None:
    async with listener(TAEL_HEADER_SECS=0.4) as (address, _):
        wire = await Wire.open(address, b"POST / HTTP/1.1\r\n")
        before = time.monotonic()
        for _ in range(3):
            await asyncio.sleep(0.1)
            wire.writer.write(b"a: b\r\n")
        assert await wire.rest() == b""
        assert time.monotonic() - before < 5


async def test_an_idle_connection_is_ended() -> None:
    async with listener(TAEL_IDLE_SECS=0.3) as (address, _):
        assert await (await Wire.open(address)).rest() == b""


async def test_a_body_that_drips_is_ended_and_one_that_flows_is_not() -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n"
    async with listener(TAEL_BODY_WINDOW_SECS=0.5, TAEL_BODY_BYTES_PER_SEC=1000) as (address, bodies):
        drips, flows = await Wire.open(address, head), await Wire.open(address, head)
        dripped = asyncio.ensure_future(drips.rest())
        for _ in range(20):
            with contextlib.suppress(ConnectionError):
                drips.writer.write(b"x")
            flows.writer.write(b"x" * 1000)
            await asyncio.sleep(0.1)
        assert dripped.done()
        await eventually(lambda: bodies == [b"x" * 20_000])
        flows.writer.close()


async def test_an_answer_that_is_not_read_is_ended() -> None:
    async with listener(TAEL_BODY_WINDOW_SECS=0.1) as (address, _):
        wire = await Wire.open(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(2)
        assert len(await wire.rest()) < 64 << 20


async def test_the_longest_idle_connection_is_closed_for_a_new_one() -> None:
    """Idle connections and stalled uploads keep nobody out; a request that is being answered is not ended."""
    async with listener(TAEL_MAX_CONNECTIONS=20) as (address, _):
        stalled = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n12"
        others = [await Wire.open(address, stalled if i % 2 else b"") for i in range(60)]
        async with aiohttp.ClientSession() as http:
            for _ in range(5):
                async with http.post(f"http://{address}/", data=b"whole") as answer:
                    assert answer.status == 200
        for other in others[:30]:
            assert await other.rest() == b""
        for other in others[30:]:
            other.writer.close()


async def test_stalled_uploads_hold_only_the_memory_of_what_they_sent() -> None:
    head = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 60000000\r\n\r\n"
    async with receiving() as r:
        wires = [await Wire.open(r.http, head + bytes(100)) for _ in range(50)]
        await eventually(lambda: r.pipeline.held_bytes == 5_000)
        assert await status(r) == 200
        for wire in wires:
            wire.writer.close()
        await eventually(lambda: r.pipeline.held_bytes == 0)


async def status(r: Receivers, **headers: str) -> int:
    body = request_of(1).SerializeToString()
    async with aiohttp.ClientSession() as http, http.post(r.url, data=body, headers={**PROTOBUF, **headers}) as answer:
        return answer.status


async def test_an_unread_body_is_not_parsed_as_the_next_request(capsys: pytest.CaptureFixture[str]) -> None:
    size = 3 * HEAD_BYTES
    async with listener() as (address, _):
        wire = await Wire.open(address, f"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size >> 16):
            wire.writer.write(bytes(1 << 16))
            await wire.writer.drain()
        wire.writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        answer = await wire.rest()
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"405", b"200"]
    said = "".join(capsys.readouterr())
    assert "malformed" not in said
    assert "Traceback" not in said


async def test_a_drain_does_not_wait_for_a_stalled_upload() -> None:
    async with contextlib.AsyncExitStack() as stack:
        r = await stack.enter_async_context(receiving(TAEL_DRAIN_SECS=1))
        wire = await Wire.open(
            r.http, b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nContent-Type: application/x-protobuf\r\n\r\n1"
        )
        await eventually(lambda: r.pipeline.held_bytes == 1)
        before = time.monotonic()
        await stack.aclose()
        assert time.monotonic() - before < 5
        wire.writer.close()


async def test_too_long_urls_and_headers_are_refused_in_the_form_of_the_api() -> None:
    async with serving(MemorySpans()) as q, receiving() as r, aiohttp.ClientSession() as http:
        assert await status(r, baggage="k=" + "v" * 900_000) == 200
        async with http.get(f"{q.url}/healthz?x={'a' * 900_000}") as answer:
            assert answer.status == 200
        for path, error in (("/prometheus/api/v1/query", "error"), ("/api/v1/services", "error"), ("/api/v1/query", "errorType")):
            async with http.get(f"{q.url}{path}?x={'a' * 1_100_000}") as answer:
                told = json.loads(await answer.text())
                assert (answer.status, answer.content_type, error in told) == (431, "application/json", True)
        async with http.get(f"http://{r.http}/v1/traces?x={'a' * 1_100_000}") as answer:
            assert (answer.status, "1048576" in (await answer.json())["message"]) == (431, True)


async def test_forms_above_ten_megabytes_are_refused() -> None:
    async with serving(MemorySpans()) as q, aiohttp.ClientSession() as http:
        for size, expected in ((9 << 20, 200), (11 << 20, 400)):
            form, headers = io.BytesIO(b"query=1%20%23" + b"a" * size), {"Content-Type": "application/x-www-form-urlencoded"}
            async with http.post(f"{q.url}/prometheus/api/v1/parse_query", data=form, headers=headers) as answer:
                assert (answer.status, "status" in await answer.json()) == (expected, True)


async def test_many_headers_are_no_way_around_the_limit() -> None:
    async with listener() as (address, _):
        wire = await Wire.open(address, b"GET / HTTP/1.1\r\n")
        line = b"a" * 100 + b": " + b"b" * 60_000 + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for _ in range(2 * HEAD_BYTES // len(line)):
                wire.writer.write(line)
                await wire.writer.drain()
        assert (await wire.rest())[:12] in (b"HTTP/1.1 431", b"")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (f"GET / HTTP/1.1\r\nAuthorization {SECRET}\r\n\r\n".encode(), "the request"),
        (f"GET / HTTP/1.1\r\nAuthorization: {SECRET}\x00\r\n\r\n".encode(), "the request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "the request"),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n", ""),
    ],
)
async def test_bytes_that_are_not_http_are_logged_as_one_line_without_content(
    sent: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listener() as (address, _):
        wire = await Wire.open(address, sent)
        answer = await wire.rest()
    said = "".join(capsys.readouterr())
    assert answer.split(b" ")[1] == b"400"
    assert words.encode() in answer
    assert "Traceback" not in said
    for text in (said, answer.decode(errors="replace")):
        assert "secret-token" not in text


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Host": "localhost:4318"}, 200),
        ({"Host": "tael.shop.example"}, 200),
        ({"Host": "host.docker.internal:4318"}, 200),
        ({"Host": "192.168.1.5:4318"}, 200),
        ({"Host": "[::1]:4318"}, 200),
        ({"Host": "collector"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "https://evil.example", "Content-Type": "application/json"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://shop.example"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_on_loopback_foreign_hosts_and_other_sites_pages_are_refused(headers: dict[str, str], expected: int) -> None:
    allowed: dict[str, Any] = {"TAEL_ALLOWED_HOSTS": "tael.shop.example", "TAEL_CORS_ORIGINS": "https://shop.example"}
    async with receiving(**allowed) as r:
        body = b"{}" if headers.get("Content-Type") else request_of(1).SerializeToString()
        async with aiohttp.ClientSession() as http, http.post(r.url, data=body, headers={**PROTOBUF, **headers}) as answer:
            assert answer.status == expected


async def test_the_query_api_refuses_foreign_hosts_in_each_api_s_shape() -> None:
    async with serving(MemorySpans()) as q, aiohttp.ClientSession() as http:
        for path, key in (("/api/v1/services", "error"), ("/prometheus/api/v1/query?query=1", "errorType")):
            async with http.get(q.url + path, headers={"Host": "evil.example"}) as answer:
                assert (answer.status, key in await answer.json()) == (403, True)
        async with http.post(f"{q.url}/prometheus/api/v1/query", data={"query": "1"}, headers={"Origin": "https://evil.example"}) as answer:
            assert answer.status == 403


@pytest.mark.parametrize(("origin", "expected"), [("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 101), ("", 101)])
async def test_no_other_sites_page_reads_logs_over_a_websocket(origin: str, expected: int) -> None:
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "WebSocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    async with serving(MemorySpans()) as q, aiohttp.ClientSession() as http:
        headers = {**handshake, **({"Origin": origin} if origin else {})}
        async with http.get(f"{q.url}/loki-api/loki/api/v1/tail", params={"query": '{a="b"}'}, headers=headers) as answer:
            assert answer.status == expected


def test_a_process_may_open_as_many_files_as_the_system_lets_it() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        raise_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

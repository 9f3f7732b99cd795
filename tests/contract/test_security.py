"""What a stranger tries by way of what is sent: requests of ours to elsewhere, other files, other headers, other log lines
(docs/security.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

import pytest
import structlog

from tael.runtime.config import load
from tael.runtime.observe import configure_logging, get_logger
from tael.runtime.settings import NodeSettings
from tests.support.doubles import MemorySpans
from tests.support.otlp import receiving, request_of
from tests.support.query import Api, serving

ROUTES = (
    "/api/v1/traces",
    "/api/v1/logs",
    "/api/v1/metrics/query",
    "/api/v1/services",
    "/prometheus/api/v1/query",
    "/prometheus/api/v1/label/{}/values",
    "/loki-api/loki/api/v1/query_range",
    "/tempo/api/search",
    "/tempo/api/v2/search/tag/{}/values",
    "/jaeger/api/traces",
    "/nowhere/{}",
)
PARAMETERS = ("query", "q", "service", "match[]", "limit", "cursor", "start", "tags", "trace_id", "lookback")


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that nobody has a reason to talk to: its URL, and what it was sent."""
    seen: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(1024))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x", seen
    finally:
        server.close()


async def test_no_request_makes_us_send_one() -> None:
    """Not by a parameter, a header, nor by what is stored: queries reach the readers alone, and data is only data."""
    async with listening() as (url, seen), serving(MemorySpans()) as api, receiving() as receivers:
        forwarded = dict.fromkeys(("X-Forwarded-Host", "Forwarded", "Referer", "X-Original-URL", "X-Scope-URL"), url)
        for route in ROUTES:
            for name in PARAMETERS:
                await api.get(route.format(quote(url, safe="")), (name, url), headers=forwarded)
        body = request_of(1)
        body.resource_spans[0].schema_url = url
        body.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="url.full").value.string_value = url
        async with api.session.post(
            receivers.url, data=body.SerializeToString(), headers={"Content-Type": "application/x-protobuf", **forwarded}
        ) as answer:
            assert answer.status == 200
        await asyncio.sleep(0)
        assert seen == []


async def raw(api: Api, target: str) -> bytes:
    """The whole answer to a request line that no client would write."""
    parts = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"))
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("prefix", ["", "/api/v1/traces", "/api/v1/blobs", "/tempo/api", "/loki-api", "/prometheus/api/v1/label"])
@pytest.mark.parametrize(
    "way", ["../../../../etc/passwd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%252e%252e%252fetc%252fpasswd"]
)
async def test_paths_lead_to_no_file(prefix: str, way: str) -> None:
    async with serving(MemorySpans()) as api:
        answer = await raw(api, f"{prefix}/{way}")
        assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 2")
        assert b"root:" not in answer


@pytest.mark.parametrize("route", ROUTES)
async def test_request_content_cannot_inject_headers(route: str) -> None:
    async with serving(MemorySpans()) as api:
        planted = "x%0d%0aSet-Cookie:%20planted=1%0d%0a%0d%0a<script>"
        answer = await raw(api, f"{route.format(planted)}?" + "&".join(f"{name}={planted}" for name in PARAMETERS))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"set-cookie" not in head.lower()
        if b"<script>" in body:
            assert b"text/html" not in head.lower()


@pytest.mark.parametrize("format_", ["console", "json"])
def test_request_content_cannot_inject_log_lines(format_: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    forged = "x\n2026-01-01 [error] forged\r\x1b[2Jcleared"
    try:
        configure_logging(load(NodeSettings, {"TAEL_LOG_FORMAT": format_}), "test")
        get_logger("security").warning("malformed", path=forged, several=[forged], named={"a": forged})
        get_logger("security").warning(forged)
        logging.getLogger("library").warning("cannot read %s", forged)
        written = capsys.readouterr().err
    finally:
        logging.getLogger().handlers[:] = before
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    lines = written.splitlines()
    assert len(lines) == 3
    assert all("forged" in line for line in lines)
    assert not any(letter in written for letter in "\r\x1b")
    if format_ == "json":
        assert all(isinstance(json.loads(line), dict) for line in lines)

"""Loki's tail as a WebSocket client meets it: history, then what comes; filters; how it is refused and how it ends."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from tael.model.log import LogRecord
from tael.model.signals import LOGS
from tael.otlp.decode import decode_logs
from tael.storage.api import Answer, LogQuery
from tests.support.doubles import MemorySpans
from tests.support.live import MemoryBus, publish_logs
from tests.support.logs import MemoryLogs
from tests.support.otlp import eventually
from tests.support.query import Api, serving
from tests.support.storage import RECEIVED_NS, START_NS, logs_of, wire_log

TAIL = "/loki/api/v1/tail"
TOKEN = "tail-token-0123456789"
SECOND = 1_000_000_000
PAST = logs_of("shop", wire_log(0, "one"), wire_log(1, "two"), wire_log(2, "other"))


def connect(api: Api, query: str, *, bearer: str = "", **parameters: Any) -> Any:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return api.session.ws_connect(api.url + TAIL, headers=headers, params={"query": query, "start": str(START_NS - SECOND), **parameters})


async def frame(socket: aiohttp.ClientWebSocketResponse) -> Any:
    async with asyncio.timeout(60):
        return json.loads((await socket.receive()).data)


def lines(body: Any) -> list[str]:
    return [value[1] for stream in body["streams"] for value in stream["values"]]


async def test_history_comes_first_and_then_what_is_appended() -> None:
    """One stream an entry, oldest first, every label in it; the query's stages run on both."""
    bus = MemoryBus()
    async with serving(MemorySpans(), logs=MemoryLogs(list(decode_logs([PAST], RECEIVED_NS))), bus=bus) as api:
        async with connect(api, '{service_name="shop"} != "other" | line_format "<{{__line__}}>"') as socket:
            body = await frame(socket)
            assert lines(body) == ["<one>", "<two>"]
            assert body["streams"][0] == {
                "stream": {"service_name": "shop", "detected_level": "unknown"},
                "values": [[str(START_NS), "<one>"]],
            }
            publish_logs(bus, logs_of("shop", wire_log(5, "new"), wire_log(6, "other")), logs_of("job", wire_log(7, "not mine")))
            publish_logs(bus, logs_of("shop", wire_log(8, "newer")))
            assert lines(await frame(socket)) == ["<new>"]
            assert lines(await frame(socket)) == ["<newer>"]
        await eventually(lambda: not bus.queues.get(LOGS))


async def test_labels_are_separated_by_their_origin_where_the_client_asks() -> None:
    """As in the answers to queries, for history and for what comes."""
    bus = MemoryBus()
    flagged = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
    query = {"query": '{service_name="shop"} | logfmt', "start": str(START_NS - SECOND)}
    past = MemoryLogs(list(decode_logs([logs_of("shop", wire_log(0, "a=1"))], RECEIVED_NS)))
    async with (
        serving(MemorySpans(), logs=past, bus=bus) as api,
        api.session.ws_connect(api.url + TAIL, headers=flagged, params=query) as socket,
    ):
        first = await frame(socket)
        publish_logs(bus, logs_of("shop", wire_log(5, "a=2")))
        second = await frame(socket)
    for body, at, value in ((first, 0, "1"), (second, 5, "2")):
        extra = {"structuredMetadata": {"detected_level": "unknown"}, "parsed": {"a": value}}
        assert body == {
            "streams": [{"stream": {"service_name": "shop"}, "values": [[str(START_NS + at), f"a={value}", extra]]}],
            "encodingFlags": ["categorize-labels"],
        }


async def test_a_delay_is_counted_from_when_a_line_came() -> None:
    """And not from when the line before it was sent: the tail would fall further and further behind."""
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api, connect(api, '{service_name="shop"}', delay_for=3) as socket:
        await eventually(lambda: bool(bus.queues.get(LOGS)))
        for at in range(9):
            publish_logs(bus, logs_of("shop", wire_log(at, f"line {at}")))
            await asyncio.sleep(0.05)
        async with asyncio.timeout(20):  # nine waits of three seconds after one another would take 27
            assert [lines(await frame(socket)) for _ in range(9)] == [[f"line {at}"] for at in range(9)]


async def test_a_limit_holds_for_history() -> None:
    async with (
        serving(MemorySpans(), logs=MemoryLogs(list(decode_logs([PAST], RECEIVED_NS))), bus=MemoryBus()) as api,
        connect(api, '{service_name="shop"}', limit=1) as socket,
    ):
        assert lines(await frame(socket)) == ["other"]


async def test_a_metric_query_is_closed_with_a_reason() -> None:
    async with serving(MemorySpans(), bus=MemoryBus()) as api, connect(api, 'rate({a="b"}[1m])') as socket:
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1011, "only log selector is supported")


@pytest.mark.parametrize(
    ("query", "parameters"), [("{", {}), ('{a="b"}', {"delay_for": "6"}), ('{a="b"}', {"delay_for": "²"}), ('{a="b"}', {"limit": "0"})]
)
async def test_a_bad_request_is_refused_at_the_handshake(query: str, parameters: dict[str, Any]) -> None:
    async with serving(MemorySpans(), bus=MemoryBus()) as api:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await connect(api, query, **parameters)
        assert refused.value.status == 400


async def test_the_end_of_the_feed_cuts_the_connection_so_that_clients_come_again() -> None:
    """Grafana reconnects after 1006, which is a connection that ends without a close frame."""
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api, connect(api, '{service_name="shop"}') as socket:
        await eventually(lambda: bool(bus.queues.get(LOGS)))
        bus.lose_connection(LOGS)
        async with asyncio.timeout(60):
            message = await socket.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)
        assert socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE


async def test_a_tail_ends_when_its_token_is_revoked(tmp_path: Path) -> None:
    """Whether lines come or none do, and whoever comes again is refused."""
    tokens, bus = tmp_path / "tokens", MemoryBus()
    tokens.write_text(f"{TOKEN} shop query\n")
    async with serving(MemorySpans(), bus=bus, TAEL_TOKENS_FILE=str(tokens), TAEL_LIVE_HEARTBEAT_SECS="0.1") as api:
        async with connect(api, '{service_name="shop"}', bearer=TOKEN) as socket:
            tokens.write_text("another-token-0123456789 shop query\n")
            async with asyncio.timeout(60):
                while (message := await socket.receive()).type != aiohttp.WSMsgType.CLOSED:
                    assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING)
            assert socket.close_code == 1006
        await eventually(lambda: not bus.queues.get(LOGS))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await connect(api, '{service_name="shop"}', bearer=TOKEN)
        assert refused.value.status == 401


class _ReadLate(MemoryLogs):
    """Storage that is read only once the feed has brought ``lines`` of it."""

    def __init__(self, bus: MemoryBus, *lines: ResourceLogs) -> None:
        super().__init__(list(decode_logs(lines, RECEIVED_NS)))
        self._bus, self._lines = bus, lines

    async def find_logs(self, tenant: str, query: LogQuery) -> Answer[list[LogRecord]]:
        publish_logs(self._bus, *self._lines)
        # Decoded and rendered in the feed's thread, before the tail knows its history.
        await asyncio.sleep(0.2)
        return await super().find_logs(tenant, query)


@pytest.mark.parametrize("delay", [0, 1])
async def test_a_line_of_the_history_does_not_come_again(delay: int) -> None:
    """Whether the feed brings it before the history is read or after that, and next to new lines or alone."""
    now = time.time_ns() - START_NS
    old, new = wire_log(now, "old"), wire_log(now + 1, "new")
    bus = MemoryBus()
    async with (
        serving(MemorySpans(), logs=_ReadLate(bus, logs_of("shop", old)), bus=bus) as api,
        connect(api, '{service_name="shop"}', delay_for=delay) as socket,
    ):
        assert lines(await frame(socket)) == ["old"]
        publish_logs(bus, logs_of("shop", old))
        publish_logs(bus, logs_of("shop", old, new))
        publish_logs(bus, logs_of("shop", new, wire_log(now + 2, "newer")))
        assert [lines(await frame(socket)) for _ in range(2)] == [["new"], ["new", "newer"]]

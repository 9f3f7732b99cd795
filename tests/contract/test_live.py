"""Live streams as clients see them: over a bus in memory, and over NATS."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nats.aio.client import Client

from services.query.api.native.span_json import span_json
from tael.errors import Unavailable
from tael.model.attributes import Attributes
from tael.model.signals import TRACES
from tael.model.tenant import DEFAULT_TENANT
from tael.runtime.nats import connection
from tael.wal import codec
from tael.wal.api import LiveBody
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.streams import JetStreamStreams
from tael.wal.live import NatsLiveBus
from tests.support.doubles import MemorySpans
from tests.support.live import Event, MemoryBus, Stream, body_of, publish_spans, watching
from tests.support.nats import NatsServer
from tests.support.otlp import PeakMemory, eventually
from tests.support.query import Api, serving
from tests.support.storage import model_of, of_service, wire_span

TRACES_LIVE = "/api/v1/traces/live"
TOKEN = "reads-the-shop-0123456789"


def live(api: Api, **parameters: Any) -> Any:
    return watching(api.session, api.url + TRACES_LIVE, **parameters)


async def test_a_span_comes_as_the_native_api_writes_it() -> None:
    """Every field, those of an LLM call too, in a message of an array."""
    call: Attributes = {"gen_ai.request.model": "m-1", "gen_ai.usage.input_tokens": 3, "bytes": b"\0", "deep": {"a": [1, 2.5]}}
    group = of_service("agent", wire_span(1, name="chat", attributes=call), wire_span(2, status=2), zone="eu")
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api, live(api) as stream:
        assert stream.retry_ms > 0
        publish_spans(bus, group)
        assert await stream.next() == Event("message", [span_json(span) for span in model_of([group])])


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, ["GET /cart", "POST /pay", "chat"]),
        ({"service": "shop"}, ["GET /cart", "POST /pay"]),
        ({"service": ""}, ["GET /cart", "POST /pay", "chat"]),
        ({"operation": "/"}, ["GET /cart", "POST /pay"]),
        ({"status": "error"}, ["GET /cart"]),
        ({"status": "unset"}, ["chat"]),
        ({"min_duration_ms": "4.5"}, ["GET /cart"]),
        ({"max_duration_ms": "0.5"}, ["POST /pay", "chat"]),
        ({"attribute": "n=5"}, ["GET /cart", "POST /pay"]),
        ({"attribute": "zone=eu"}, ["chat"]),
        ({"attribute": "nobody=1"}, []),
        ({"attribute": "on=true"}, ["POST /pay"]),
        ({"model": "m-1"}, ["chat"]),
        ({"min_cost_usd": "0.25"}, ["chat"]),
        ({"min_cost_usd": "0.26"}, []),
        ({"trace_id": "ab" * 16}, ["POST /pay"]),
        ({"service": "shop", "status": "ok"}, ["POST /pay"]),
    ],
)
async def test_only_items_that_match_the_filter_are_sent(parameters: dict[str, str], names: list[str]) -> None:
    """As in the search of the same name; what does not match is not sent, and neither are empty arrays."""
    call: Attributes = {"gen_ai.request.model": "m-1", "gen_ai.usage.cost": 0.25}
    groups = (
        of_service(
            "shop",
            wire_span(1, name="GET /cart", status=2, duration_ns=5_000_000, attributes={"n": 5}),
            wire_span(2, name="POST /pay", status=1, attributes={"n": 5.0, "on": True}, trace_id=b"\xab" * 16),
        ),
        of_service("agent", wire_span(3, name="chat", attributes=call), zone="eu"),
    )
    end = of_service("shop", wire_span(4, name="/end", status=1, duration_ns=1, trace_id=b"\xab" * 16))
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api, live(api, **parameters) as stream, live(api, operation="/end") as other:
        publish_spans(bus, *groups)
        publish_spans(bus, end)
        await other.next()
        found = [span["operation"] for span in (await stream.items(len(names)) if names else [])]
        assert found == names


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"statsu": "ok"}, "did you mean status"),
        ({"status": "bad"}, "unset, ok, error"),
        ({"last": "15m"}, "unknown parameter"),
        ({"min_duration_ms": "2", "max_duration_ms": "1"}, "at least min_duration_ms"),
        ({"trace_id": "x"}, "32 hexadecimal digits"),
        ({"attribute": "x"}, "key=value"),
    ],
)
async def test_an_invalid_filter_is_refused(parameters: dict[str, str], words: str) -> None:
    async with serving(MemorySpans()) as api:
        status, text = await api.error(TRACES_LIVE, **parameters)
        assert (status, words in text) == (400, True), text


async def test_another_tenants_spans_are_neither_shown_nor_decoded() -> None:
    """They are let go by the head of the body: what follows it here is no request at all."""
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api, live(api) as stream:
        bus.publish(TRACES, codec.encode("other", 1, b"\xff\xff no request"))
        publish_spans(bus, of_service("theirs", wire_span(1)), tenant="other")
        publish_spans(bus, of_service("ours", wire_span(2)))
        assert [span["service"] for span in await stream.items(1)] == ["ours"]


async def test_two_watching_tenants_get_only_their_own_data() -> None:
    """Over one subscription."""
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api, live(api, tenant="blue") as blue, live(api, tenant="red") as red:
        for tenant in ("red", "blue", "red", DEFAULT_TENANT):
            publish_spans(bus, of_service(tenant, wire_span(1)), tenant=tenant)
        assert [span["service"] for span in await red.items(2)] == ["red", "red"]
        assert [span["service"] for span in await blue.items(1)] == ["blue"]
        assert len(bus.queues[TRACES]) == 1


async def test_nothing_is_subscribed_while_nobody_watches() -> None:
    """One subscription for all who watch, gone with the last of them."""
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api:
        assert bus.queues.get(TRACES, []) == []
        async with live(api), live(api, status="error"):
            assert len(bus.queues[TRACES]) == 1
        await eventually(lambda: bus.queues[TRACES] == [])
        async with live(api) as stream:
            publish_spans(bus, of_service("again", wire_span(1)))
            assert [span["service"] for span in await stream.items(1)] == ["again"]


async def test_a_slow_stream_shows_how_much_it_lost_and_the_others_lose_nothing() -> None:
    """What it got, and what it was told that it lost, is all that there was."""
    bus, batches, per_batch = MemoryBus(), 60, 20
    group = of_service("shop", *(wire_span(number, attributes={"text": "x" * 10_000}) for number in range(per_batch)))
    async with serving(MemorySpans(), bus=bus) as api, live(api, read_bytes=1024) as slow, live(api) as quick:
        for _ in range(batches):
            publish_spans(bus, group)
            assert len(await quick.items(per_batch)) == per_batch
        publish_spans(bus, of_service("last", wire_span(1)))
        got, lost = await _until_last(slow)
    assert lost > 0
    assert got + lost == batches * per_batch


async def _until_last(stream: Stream) -> tuple[int, int]:
    got = lost = 0
    while True:
        event = await stream.next()
        assert event is not None
        if event.name == "dropped":
            lost += event.value["count"]
        elif event.value[0]["service"] == "last":
            return got, lost
        else:
            got += len(event.value)


async def test_a_quiet_stream_is_kept_open_by_comments() -> None:
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus, TAEL_LIVE_HEARTBEAT_SECS="0.05") as api, live(api) as stream:
        reading = asyncio.create_task(stream.next())
        await eventually(lambda: stream.comments > 3)
        publish_spans(bus, of_service("shop", wire_span(1)))
        assert await reading is not None


async def test_the_drain_ends_the_streams() -> None:
    """With a word, at once, and no new one begins."""
    async with aiohttp.ClientSession() as session:
        async with serving(MemorySpans()) as api:
            watch = watching(session, api.url + TRACES_LIVE)
            stream = await watch.__aenter__()
            began = time.monotonic()
        event = await stream.next()
        assert event == Event("end", {"reason": "the server is draining"})
        assert await stream.next() is None
        assert time.monotonic() - began < 9  # before the next heartbeat
        await watch.__aexit__(None, None, None)


async def test_a_lost_bus_ends_the_streams() -> None:
    """So that clients come again, instead of watching nothing."""
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api, live(api) as stream:
        bus.lose_connection(TRACES)
        event = await stream.next()
        assert event is not None
        assert event.name == "end"
        assert await stream.next() is None


async def test_too_many_streams_are_refused() -> None:
    async with serving(MemorySpans(), TAEL_MAX_LIVE_STREAMS="1") as api, live(api):
        status, text = await api.error(TRACES_LIVE)
        assert (status, "TAEL_MAX_LIVE_STREAMS" in text) == (429, True)


async def subscriptions(server: NatsServer, subject: str) -> int:
    """How many subscriptions to a subject the server knows."""

    def read() -> Any:
        with urllib.request.urlopen(f"{server.monitor_url}/subsz?subs=1&limit=1000", timeout=2) as answer:  # noqa: S310  # a loopback URL
            return json.load(answer)

    found = await asyncio.to_thread(read)
    return sum(one["subject"] == subject for one in found.get("subscriptions_list", []))


async def test_on_nats_appended_items_are_streamed_and_the_subscription_ends(nats_server: NatsServer, nats_client: Client) -> None:
    """From a receiver's append, on any shard, to the stream."""
    await JetStreamStreams(nats_client, "tael", [nats_server.monitor_url], replicas=1, max_bytes=64 << 20).ensure(2)
    appender = JetStreamAppender(nats_client, "tael")
    async with connection(nats_server.settings(), "query") as client, serving(MemorySpans(), bus=NatsLiveBus(client, "tael")) as api:
        async with live(api) as stream:
            assert await subscriptions(nats_server, "tael.wal.*.traces") == 1
            for shard in (0, 1):
                body, items = body_of(of_service(f"shop-{shard}", wire_span(shard)))
                await appender.append(shard, TRACES, body, items, f"id-{shard}")
                await appender.append(shard, "logs", b"none of this signal", 1, f"log-{shard}")
            assert [span["service"] for span in await stream.items(2)] == ["shop-0", "shop-1"]
        for _ in range(100):
            if await subscriptions(nats_server, "tael.wal.*.traces") == 0:
                break
            await asyncio.sleep(0.02)
        assert await subscriptions(nats_server, "tael.wal.*.traces") == 0


async def test_on_nats_a_stream_continues_after_a_reconnection(nats_server: NatsServer, nats_client: Client) -> None:
    await JetStreamStreams(nats_client, "tael", [nats_server.monitor_url], replicas=1, max_bytes=64 << 20).ensure(1)
    async with connection(nats_server.settings(), "query") as client:
        bus = NatsLiveBus(client, "tael")
        async with bus.watch(TRACES) as bodies:
            nats_server.kill()
            await eventually(lambda: not client.is_connected)
            with pytest.raises(Unavailable):
                async with bus.watch(TRACES):
                    pass
            nats_server.start()
            await eventually(lambda: client.is_connected and nats_client.is_connected)
            await JetStreamAppender(nats_client, "tael").append(0, TRACES, b"body", 3, "id")
            assert await asyncio.wait_for(anext(bodies), 60) == LiveBody(3, b"body")


async def test_a_tenant_has_so_many_places_and_the_others_theirs() -> None:
    async with serving(MemorySpans(), TAEL_MAX_LIVE_STREAMS_PER_TENANT="1") as api, live(api):
        async with api.session.get(api.url + TRACES_LIVE) as answer:
            assert (answer.status, "TAEL_MAX_LIVE_STREAMS_PER_TENANT" in await answer.text()) == (429, True)
        async with api.session.get(api.url + TRACES_LIVE, headers={"X-Scope-OrgID": "other"}) as answer:
            assert answer.status == 200


async def test_slow_streams_hold_bounded_memory_and_drop_items() -> None:
    """Thirty that stop reading, under many times what all of them may hold."""
    bus, group = MemoryBus(), of_service("shop", *(wire_span(i, attributes={"text": "x" * 20_000}) for i in range(200)))
    async with serving(MemorySpans(), bus=bus, TAEL_LIVE_BYTES="2MiB") as api:
        answers = [await api.session.get(api.url + TRACES_LIVE) for _ in range(30)]
        with PeakMemory() as peak:
            for _ in range(20):
                publish_spans(bus, group)
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
        assert peak.grown_bytes < 300 << 20
        for answer in answers:
            answer.close()


async def test_a_stream_ends_when_its_token_is_revoked(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN} shop query\n")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        serving(MemorySpans(), TAEL_TOKENS_FILE=str(tokens), TAEL_LIVE_HEARTBEAT_SECS="0.1") as api,
        api.session.get(api.url + TRACES_LIVE, headers=headers) as answer,
    ):
        assert answer.status == 200
        tokens.write_text("another-token-0123456789 shop query\n")
        async with asyncio.timeout(60):
            assert b"event: end" in await answer.read()

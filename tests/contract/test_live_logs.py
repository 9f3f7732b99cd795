"""Live streams of log records; what they share with those of spans is tested there."""

from __future__ import annotations

from typing import Any

import pytest

from services.query.api.native.log_json import log_json
from tael.model.attributes import AttributeValue
from tael.model.signals import LOGS, TRACES
from tael.otlp.decode import decode_logs
from tests.support.doubles import MemorySpans
from tests.support.live import Event, MemoryBus, publish_logs, watching
from tests.support.otlp import eventually
from tests.support.query import serving
from tests.support.storage import RECEIVED_NS, logs_of, wire_log

LOGS_LIVE = "/api/v1/logs/live"
A, B, C, D = "Payment declined by provider: TIMEOUT after 5ms", "cache miss for key session:5", "payment accepted", "Grüße an alle"


async def test_a_record_comes_as_the_native_api_writes_it() -> None:
    """Every field, with the arrival for a time that it does not have."""
    bodies: list[AttributeValue] = ["text", {"message": "deep", "n": [1, 2.5, True, None]}, b"\0bytes", 7, None]
    timeless = wire_log(0, "no time")
    timeless.time_unix_nano = 0
    group = logs_of(
        "shop", *(wire_log(i, body, severity_number=i * 4, event_name="e") for i, body in enumerate(bodies)), timeless, zone="eu"
    )
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api, watching(api.session, api.url + LOGS_LIVE) as stream:
        publish_logs(bus, group)
        assert await stream.next() == Event("message", [log_json(record) for record in decode_logs([group], RECEIVED_NS)])


@pytest.mark.parametrize(
    ("parameters", "bodies"),
    [
        ({}, [A, B, C, D]),
        ({"service": "shop"}, [A, B]),
        ({"severity": "error"}, [A]),
        ({"severity": "unspecified"}, []),
        ({"min_severity": "warn"}, [A, C]),
        ({"min_severity": "debug", "service": "agent"}, [C, D]),
        ({"body_contains": "payment"}, [A, C]),
        ({"body_contains": "DECLINED BY PRO"}, [A]),
        ({"body_contains": "cache hit for"}, []),
        ({"body_contains": "grÜßE"}, [D]),
        ({"words": "timeout payment"}, [A]),
        ({"words": "pay"}, []),
        ({"words": "SESSION miss"}, [B]),
        ({"trace_id": "ab" * 16}, [C]),
        ({"span_id": "73" * 8}, [C]),
        ({"attribute": "n=5"}, [A, B, D]),
        ({"attribute": "hit=false"}, [B]),
        ({"attribute": "zone=eu"}, [A, B]),
    ],
)
async def test_only_items_that_match_the_filter_are_sent(parameters: dict[str, Any], bodies: list[str]) -> None:
    """As in the search of the same name."""
    groups = (
        logs_of(
            "shop",
            wire_log(1, A, severity_number=17, attributes={"n": 5, "user": "ann"}),
            wire_log(2, B, severity_number=9, attributes={"n": 5.0, "hit": False}),
            zone="eu",
        ),
        logs_of(
            "agent",
            wire_log(3, {"message": C, "n": 5}, severity_number=13, trace_id=b"\xab" * 16, span_id=b"s" * 8),
            wire_log(4, D, severity_text="debug", attributes={"n": "5"}),
        ),
    )
    bus = MemoryBus()
    async with (
        serving(MemorySpans(), bus=bus) as api,
        watching(api.session, api.url + LOGS_LIVE, **parameters) as stream,
        watching(api.session, api.url + LOGS_LIVE, body_contains="the end") as other,
    ):
        publish_logs(bus, *groups)
        publish_logs(bus, logs_of("shop", wire_log(5, "the end")))
        await other.next()
        found = [record["body"] for record in (await stream.items(len(bodies)) if bodies else [])]
        assert [body if isinstance(body, str) else body["message"] for body in found][: len(bodies)] == bodies


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"severity": "loud"}, "unspecified, trace"), ({"status": "ok"}, "unknown parameter"), ({"span_id": "1"}, "16 hexa")],
)
async def test_an_invalid_filter_is_refused(parameters: dict[str, str], words: str) -> None:
    async with serving(MemorySpans()) as api:
        status, text = await api.error(LOGS_LIVE, **parameters)
        assert (status, words in text) == (400, True), text


async def test_logs_are_subscribed_apart_from_spans_and_per_tenant() -> None:
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api:
        async with watching(api.session, api.url + LOGS_LIVE, tenant="red") as red:
            assert (len(bus.queues[LOGS]), bus.queues.get(TRACES, [])) == (1, [])
            publish_logs(bus, logs_of("theirs", wire_log(1)), tenant="blue")
            publish_logs(bus, logs_of("ours", wire_log(2)), tenant="red")
            assert [record["service"] for record in await red.items(1)] == ["ours"]
        await eventually(lambda: bus.queues[LOGS] == [])

"""From a request to the hot tier and back over HTTP: nothing that an LLM said is cut, found by its words, and by its tenant alone."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

from services.ingest.pipeline import Pipeline
from tael.cluster.shard import Router
from tael.model.attributes import AttributeValue
from tael.model.search import find_spans
from tael.model.signals import TRACES
from tael.model.time import ALL_TIME, HOUR_NS
from tael.otlp.anyvalue import encode_attributes
from tael.otlp.signals import SIGNALS
from tael.storage.api import SpanQuery
from tests.support.hotnode import HotNode
from tests.support.otlp import MemoryLog, receiver_settings
from tests.support.query import serving
from tests.support.storage import HotTier, of_service, open_tier, wire_span

NOW_NS = time.time_ns() - 2 * HOUR_NS
FILLER = "so it goes on and on " * 200


async def ingest(tier: HotTier, *calls: dict[str, AttributeValue], tenant: str = "default") -> list[bytes]:
    """Spans with these attributes, through a receiver and into every shard, rolled where the tier is cold; their trace ids."""
    log, request = MemoryLog(), ExportTraceServiceRequest()
    pipeline = Pipeline(log, Router(len(tier.clickhouses)), receiver_settings(), registry=CollectorRegistry())
    spans = request.resource_spans.add().scope_spans.add().spans
    for number, attributes in enumerate(calls):
        trace_id = hashlib.sha256(f"{tenant}{number}{len(str(attributes))}".encode()).digest()[:16]
        spans.add(
            trace_id=trace_id, span_id=b"12345678", start_time_unix_nano=NOW_NS, name="chat", attributes=encode_attributes(attributes)
        )
    async with pipeline.reserve(tenant) as reservation:
        outcome = await pipeline.admit(SIGNALS[TRACES], tenant, request.SerializeToString(), reservation)
    assert (outcome.rejected, outcome.message) == (0, "")
    for shard, signal, body, _ in log.appended:
        await tier.writers[shard].write(signal, body, hashlib.sha256(body).hexdigest())
    await tier.roll(0)
    return [span.trace_id for span in spans]


@pytest.mark.parametrize("prompt", ["nine " * 1_800_000, "six ty" * 10_000_000], ids=["9 MB", "60 MB"])
async def test_a_large_span_is_stored_whole(prompt: str, shared_hot_node: HotNode) -> None:
    async with open_tier([shared_hot_node]) as tier:
        (trace_id,) = await ingest(tier, {"gen_ai.usage.input_tokens": 9, "gen_ai.input.messages": prompt})
        async with serving(tier.reader, tier, payloads=tier.payloads) as api:
            trace = await api.json(f"/api/v1/traces/{trace_id.hex()}")
            (listed,) = (await api.json("/api/v1/traces", limit="1"))["spans"]
        (span,) = trace["spans"]
        assert span["attributes"]["gen_ai.input.messages"] == prompt
        assert span["llm"]["input_tokens"] == 9
        assert len(listed["attributes"]["gen_ai.input.messages"]) < 300


async def test_words_are_found_in_payloads_and_beside_them(any_tier: HotTier) -> None:
    """Whole words of ASCII in any case, of other scripts a part; in texts and in structured messages; not in the words of a reference."""
    calls: list[dict[str, AttributeValue]] = [
        {"gen_ai.prompt": "A refund, please"},
        {
            "gen_ai.input.messages": [{"role": "user", "content": f"{FILLER} REFUND policy 退款政策 {FILLER}"}],
            "gen_ai.completion": FILLER + "granted",
        },
        {"gen_ai.system_instructions": FILLER + "refunds"},
    ]
    ids = await ingest(any_tier, *calls)

    async def found(text: str) -> set[int]:
        answer = await any_tier.reader.find_spans("default", SpanQuery(ALL_TIME, find_spans(text=text)))
        return {ids.index(span.trace_id) for span in answer.value}

    assert await found("refund") == {0, 1}
    assert await found("Refund GRANTED") == {1}
    assert await found("退款") == {1}
    assert await found("sha256") == await found("payload") == await found("refund granted please") == set()


async def test_words_are_found_behind_what_json_escapes(any_tier: HotTier) -> None:
    """Line breaks, tabs and characters that are not ASCII, as Python's json module writes them; not letters that look like an escape."""
    said = "First\nline\tWord Grüße\nÉCOLE 退款政策\r\nbreaks"
    texts = [json.dumps([{"role": "user", "content": f"{said} {filler}"}]) for filler in ("", FILLER)]
    calls: list[dict[str, AttributeValue]] = [{"gen_ai.input.messages": text} for text in texts]
    ids = await ingest(any_tier, *calls, {"gen_ai.prompt": "a nline tword; nbreaks of \\rice"})

    async def found(text: str) -> set[int]:
        answer = await any_tier.reader.find_spans("default", SpanQuery(ALL_TIME, find_spans(text=text)))
        return {ids.index(span.trace_id) for span in answer.value}

    for text in ("line", "LINE word", "breaks", "first line breaks", "grüße", "Grüße", "école", "退款"):
        assert (text, await found(text)) == (text, {0, 1})
    assert await found("nline") == {0, 1, 2}
    assert await found("ice") == {2}
    assert await found("line rice") == await found("ine") == await found("reaks") == set()


async def test_words_are_found_in_events_of_calls(any_tier: HotTier) -> None:
    """In messages, whose attributes have names that elsewhere mean something else."""
    call, other = wire_span(0, attributes={"gen_ai.system": "a"}), wire_span(1, attributes={"gen_ai.system": "a"})
    call.events.add(name="gen_ai.user.message", attributes=encode_attributes({"content": "a blue whale"}))
    other.events.add(name="log", attributes=encode_attributes({"content": "a blue whale", "message": "blue"}))
    await any_tier.store(of_service("agent", call, other), tenant="default")
    answer = await any_tier.reader.find_spans("default", SpanQuery(ALL_TIME, find_spans(text="Blue whale")))
    assert [span.trace_id for span in answer.value] == [call.trace_id]


async def test_a_hash_of_another_tenant_finds_nothing(any_tier: HotTier) -> None:
    """Neither by its reference, nor by its words, nor by itself."""
    secret = FILLER + "the secret word"
    await ingest(any_tier, {"gen_ai.input.messages": secret}, tenant="bank")
    reference = f"tael.payload:sha256:{hashlib.sha256(secret.encode()).hexdigest()}:{len(secret)}"
    (trace_id,) = await ingest(any_tier, {"gen_ai.input.messages": reference, "gen_ai.system": "x"}, tenant="shop")
    assert (await any_tier.reader.find_spans("shop", SpanQuery(ALL_TIME, find_spans(text="secret")))).value == []
    headers = {"X-Scope-OrgID": "shop"}
    async with serving(any_tier.reader, any_tier, payloads=any_tier.payloads) as api:
        trace = (await api.get(f"/api/v1/traces/{trace_id.hex()}", headers=headers)).json()
        assert trace["spans"][0]["attributes"]["gen_ai.input.messages"] == reference
        assert (await api.get(f"/api/v1/blobs/{reference.split(':')[2]}", headers=headers)).status == 404
        assert (await api.get(f"/api/v1/blobs/{reference.split(':')[2]}", headers={"X-Scope-OrgID": "bank"})).status == 200

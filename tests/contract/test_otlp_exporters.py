"""The OpenTelemetry SDK's exporters against the real receivers over a real log: what they send is in JetStream when they are told so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import pytest
from nats.aio.client import Client
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from tael.model.mark import Mark
from tael.wal import codec
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.read import JetStreamReader
from tael.wal.jetstream.streams import JetStreamStreams
from tests.support.nats import NatsServer
from tests.support.otlp import Receivers, call, receiving, request_of, spans_of

EXPORTERS: Mapping[str, Callable[[Receivers], SpanExporter]] = {
    "grpc": lambda r: GrpcExporter(endpoint=str(r.grpc), insecure=True, timeout=60),
    "grpc-gzip": lambda r: GrpcExporter(endpoint=str(r.grpc), insecure=True, timeout=60, compression=grpc.Compression.Gzip),
    "http": lambda r: HttpExporter(endpoint=r.url, timeout=60),
    "http-gzip": lambda r: HttpExporter(endpoint=r.url, timeout=60, compression=Compression.Gzip),
}


async def opened(server: NatsServer, client: Client, max_bytes: int = 64 << 20) -> tuple[JetStreamAppender, JetStreamReader]:
    """The log of one shard."""
    await JetStreamStreams(client, "tael", [server.monitor_url], replicas=1, max_bytes=max_bytes).ensure(1)
    return JetStreamAppender(client, "tael"), JetStreamReader(client, "tael", 0)


async def stored(reader: JetStreamReader) -> list[Any]:
    """The requests in the log, with nothing to wait for: what was acknowledged is there."""
    entries = await reader.read(Mark(), max_items=10**6, max_bytes=1 << 30, wait_seconds=0.2)
    return [record.request for entry in entries for record in codec.decode(entry.body)]


def shop(exporter: SpanExporter) -> TracerProvider:
    provider = TracerProvider(resource=Resource({"service.name": "shop", "ports": [80, 443]}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def buy(provider: TracerProvider) -> None:
    """A trace of two spans that uses what the SDK has."""
    tracer = provider.get_tracer("tests", "1.0", schema_url="https://opentelemetry.io/schemas/1.40.0")
    with tracer.start_as_current_span(
        "buy", kind=SpanKind.SERVER, attributes={"n": 1 << 60, "f": 0.5, "b": True, "l": ["a", "b"]}
    ) as parent:
        parent.add_event("paid", {"amount": 3})
        with tracer.start_as_current_span("pay", links=[Link(parent.get_span_context(), {"why": "test"})]) as child:
            child.set_status(Status(StatusCode.ERROR, "card declined"))


@pytest.mark.parametrize("exporter", EXPORTERS.values(), ids=list(EXPORTERS))
async def test_spans_of_the_sdk_are_in_the_wal(
    exporter: Callable[[Receivers], SpanExporter], nats_server: NatsServer, nats_client: Client
) -> None:
    """T2, T3: every field of two spans, over each transport, plain and gzipped."""
    appender, reader = await opened(nats_server, nats_client)
    async with receiving(appender) as r:
        provider = shop(exporter(r))
        await asyncio.to_thread(buy, provider)
        await asyncio.to_thread(provider.shutdown)
        pay, buying = [span for request in await stored(reader) for span in spans_of(request)]
    assert (pay.name, pay.parent_span_id, pay.trace_id) == ("pay", buying.span_id, buying.trace_id)
    assert (pay.status.code, pay.status.message) == (2, "card declined")
    assert (pay.links[0].span_id, pay.links[0].attributes[0].value.string_value) == (buying.span_id, "test")
    assert (buying.kind, buying.events[0].name) == (Span.SPAN_KIND_SERVER, "paid")
    values = {a.key: a.value for a in buying.attributes}
    assert (values["n"].int_value, values["f"].double_value, values["b"].bool_value) == (1 << 60, 0.5, True)
    assert [v.string_value for v in values["l"].array_value.values] == ["a", "b"]


@pytest.mark.parametrize("exporter", EXPORTERS.values(), ids=list(EXPORTERS))
async def test_the_sdk_sends_again_what_a_log_that_was_away_did_not_take(
    exporter: Callable[[Receivers], SpanExporter], nats_server: NatsServer, nats_client: Client
) -> None:
    """G2, H7: with the log down the client is told to retry, does, and the span is stored once."""
    appender, reader = await opened(nats_server, nats_client)
    async with receiving(appender) as r:
        nats_server.kill()
        sender = exporter(r)
        provider = shop(sender)
        exporting = asyncio.create_task(asyncio.to_thread(buy, provider))
        await asyncio.sleep(0.3)
        assert not exporting.done()
        nats_server.start()
        await asyncio.wait_for(exporting, 120)
        await asyncio.to_thread(provider.shutdown)
        spans = [span.name for request in await stored(reader) for span in spans_of(request)]
    assert spans == ["pay", "buy"]


async def test_a_request_larger_than_an_entry_is_stored_whole(nats_server: NatsServer, nats_client: Client) -> None:
    """Over NATS' 8 MB payload: several appends, all of them acknowledged before the client."""
    appender, reader = await opened(nats_server, nats_client)
    request = request_of(200, attribute="x" * 5_000)
    async with receiving(appender) as r:
        answer = await call(r.grpc, request.SerializeToString(), compression=grpc.Compression.Gzip)
        assert answer.code is grpc.StatusCode.OK
        requests = await stored(reader)
    assert len(requests) == 2
    assert sorted(s.span_id for body in requests for s in spans_of(body)) == sorted(
        s.span_id for s in request.resource_spans[0].scope_spans[0].spans
    )


async def test_a_full_log_is_backpressure(nats_server: NatsServer, nats_client: Client) -> None:
    """G1: RESOURCE_EXHAUSTED with RetryInfo, nothing half stored."""
    appender, _ = await opened(nats_server, nats_client, max_bytes=1 << 20)
    async with receiving(appender) as r:
        codes = set()
        for _ in range(12):
            answer = await call(r.grpc, request_of(2, attribute="y" * 8_000).SerializeToString())
            codes.add(answer.code)
            assert answer.code is grpc.StatusCode.OK or (answer.status is not None and answer.status.details)
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}

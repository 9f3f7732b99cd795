"""The bytes that ClickHouse encodes of any OTLP span say the same as the span itself."""

from __future__ import annotations

import asyncio
import json
import os

from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, example, given, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from services.query.api.jaeger.encode import Processes, span_dict
from services.query.api.native.span_json import span_json
from tael.model.signals import TRACES
from tael.otlp.encode import encode_span
from tael.storage.long_traces import BEGIN, Part
from tael.wal import codec
from tests.contract.test_long_traces import as_json
from tests.property.test_span_round_trip import requests
from tests.support.hotnode import HotNode
from tests.support.storage import HotTier, open_tier

LONGEST = ExportTraceServiceRequest()
"""A span whose duration is more than fits in a signed number."""
LONGEST.resource_spans.add().scope_spans.add().spans.add(name="long", end_time_unix_nano=(1 << 64) - 1)


async def check_bytes(tier: HotTier, batch: list[ExportTraceServiceRequest]) -> None:
    """Write the spans of the batch as one trace, and compare what is read."""
    trace_id, number = os.urandom(16), 0
    for request in batch:
        for group in request.resource_spans:
            for scoped in group.scope_spans:
                for span in scoped.spans:
                    number += 1
                    span.trace_id, span.span_id = trace_id, number.to_bytes(8, "big")
    body = b"".join(codec.encode("t", 1, request.SerializeToString()) for request in batch)
    await tier.writers[0].write(TRACES, body, os.urandom(8).hex())
    part = Part(trace_id, BEGIN, None, 1_000)
    spans = (await tier.long_traces.read_spans("t", part)).value
    assert len(spans) == number
    made = (await tier.long_traces.read_bytes("t", part, "json")).value
    for read, stored in zip(as_json(made), spans, strict=True):
        assert json.dumps(read, sort_keys=True) == json.dumps(span_json(stored), sort_keys=True)
    for form, whole in (("proto_json", MessageToDict), ("otlp_json", span_dict)):
        forms = (await tier.long_traces.read_bytes("t", part, form)).value.bodies  # type: ignore[arg-type]  # both are forms
        for one, stored in zip(forms, spans, strict=True):
            # A double may be written with the digits of an integer, which JSON reads as the same double and Python as an exact integer.
            assert not isinstance(one, bytes) or json.loads(one, parse_int=float) == whole(encode_span(stored))
    jaeger = Processes()
    listed = json.loads(b"[" + jaeger.encode_slice((await tier.long_traces.read_bytes("t", part, "jaeger")).value) + b"]")
    assert json.dumps(listed) == json.dumps((own := Processes()).encode(spans))
    assert jaeger.bodies == own.bodies
    encoded = (await tier.long_traces.read_bytes("t", part, "otlp")).value
    assert [WireSpan.FromString(one) for one in encoded.bodies if isinstance(one, bytes)] == list(map(encode_span, spans))


def test_bytes_of_the_store_equal_encoded_spans(shared_hot_node: HotNode) -> None:
    with asyncio.Runner() as runner:
        opened = open_tier([shared_hot_node])
        tier = runner.run(opened.__aenter__())

        @settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
        @given(requests)
        @example([LONGEST])
        def check(batch: list[ExportTraceServiceRequest]) -> None:
            runner.run(check_bytes(tier, batch))

        try:
            check()
        finally:
            runner.run(opened.__aexit__(None, None, None))

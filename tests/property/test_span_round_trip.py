"""All spans that OTLP can carry are read from the hot tier as they were sent."""

from __future__ import annotations

import asyncio
import os

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.attributes import Attributes
from tael.model.signals import TRACES
from tael.model.span import Span
from tael.otlp.anyvalue import decode_attributes, encode_attributes
from tael.wal import codec
from tests.support.hotnode import HotNode
from tests.support.storage import HotTier, model_of, open_tier

text = st.text(st.characters(codec="utf-8"), max_size=12)
uint32, uint64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
scalars = st.one_of(st.none(), text, st.booleans(), int64, st.floats(allow_nan=False), st.binary(max_size=12))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8)
attributes = st.dictionaries(text, values, max_size=4).map(encode_attributes)
llm_attributes = st.fixed_dictionaries(
    {},
    optional={
        "gen_ai.operation.name": st.sampled_from(["chat", "embeddings", "plan", ""]),
        "gen_ai.system": st.sampled_from(["OpenAI", "xai"]),
        "gen_ai.usage.input_tokens": st.integers(0, 10**9) | st.sampled_from(["5", "1e3", "x", " 7", "0x10", "1.", ".5", "+4", "-0", ""]),
        "llm.token_count.completion": st.integers(0, 10**9) | st.sampled_from([1.5, 2.0, 1e300]),
        "gen_ai.usage.cost": st.floats(0, 10),
        "gen_ai.response.finish_reasons": st.lists(st.sampled_from(["stop", "länge", ""]), max_size=2),
    },
).map(encode_attributes)

events = st.builds(WireSpan.Event, time_unix_nano=uint64, name=text, attributes=attributes, dropped_attributes_count=uint32)
links = st.builds(
    WireSpan.Link,
    trace_id=st.binary(max_size=20),
    span_id=st.binary(max_size=10),
    trace_state=text,
    attributes=attributes,
    dropped_attributes_count=uint32,
    flags=uint32,
)
spans = st.builds(
    WireSpan,
    trace_id=st.builds(os.urandom, st.just(16)),
    span_id=st.binary(min_size=8, max_size=8),
    trace_state=text,
    parent_span_id=st.binary(max_size=8),
    name=text,
    kind=st.integers(0, 5),
    start_time_unix_nano=uint64,
    end_time_unix_nano=uint64,
    attributes=st.one_of(attributes, st.tuples(attributes, llm_attributes).map(lambda pair: [*pair[0], *pair[1]])),
    dropped_attributes_count=uint32,
    events=st.lists(events, max_size=2),
    dropped_events_count=uint32,
    links=st.lists(links, max_size=2),
    dropped_links_count=uint32,
    status=st.builds(Status, message=text, code=st.integers(0, 2)),
    flags=uint32,
)
scopes = st.builds(InstrumentationScope, name=text, version=text, attributes=attributes, dropped_attributes_count=uint32)
scope_spans = st.builds(ScopeSpans, scope=scopes, spans=st.lists(spans, max_size=3), schema_url=text)
resources = st.builds(Resource, attributes=attributes, dropped_attributes_count=uint32)
resource_spans = st.builds(ResourceSpans, resource=resources, scope_spans=st.lists(scope_spans, max_size=2), schema_url=text)
requests = st.lists(st.builds(ExportTraceServiceRequest, resource_spans=st.lists(resource_spans, max_size=2)), min_size=1, max_size=3)


def request_of(own: Attributes) -> ExportTraceServiceRequest:
    """A request of one span with these attributes."""
    span = WireSpan(trace_id=os.urandom(16), span_id=bytes(7) + b"1", attributes=encode_attributes(own))
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])])


async def written_and_read(tier: HotTier, tenant: str, batch: list[ExportTraceServiceRequest]) -> tuple[list[Span], list[Span]]:
    """The spans of the batch, in one joined body, as sent and as read."""
    await tier.writers[0].write(
        TRACES, b"".join(codec.encode(tenant, 1, request.SerializeToString()) for request in batch), os.urandom(8).hex()
    )
    given_spans = [span for request in batch for span in model_of(request.resource_spans)]
    answers = await asyncio.gather(*(tier.reader.get_trace(tenant, trace_id) for trace_id in {span.trace_id for span in given_spans}))
    return given_spans, [span for answer in answers for span in answer.value]


def test_every_field_of_every_span_survives(shared_hot_node: HotNode) -> None:
    """Through one joined batch, flattening in ClickHouse and reading."""
    with asyncio.Runner() as runner:
        opened = open_tier([shared_hot_node])
        tier = runner.run(opened.__aenter__())

        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
        @given(requests)
        @example([request_of({"": "0", "gen_ai.operation.name": "chat"})])
        def check(batch: list[ExportTraceServiceRequest]) -> None:
            expected, read = runner.run(written_and_read(tier, "t", batch))
            by_trace: dict[bytes, Span] = {span.trace_id: span for span in read}
            assert len(read) == len(expected)
            for span in expected:
                assert by_trace[span.trace_id] == span

        try:
            check()
        finally:
            runner.run(opened.__aexit__(None, None, None))


@given(st.dictionaries(text, values, max_size=5))
def test_attributes_survive_encoding(given_attributes: dict[str, object]) -> None:
    """encode_attributes and decode_attributes are each other's inverse."""
    assert decode_attributes(encode_attributes(given_attributes)) == given_attributes  # type: ignore[arg-type]  # drawn from the model's types

"""Splitting a request loses nothing and invents nothing, whatever the request looks like."""

from __future__ import annotations

import zlib
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tael.otlp.scan import Refusals, trace_id_of
from tael.otlp.split import Part, split

_span = st.fixed_dictionaries(
    {"trace_id": st.binary(min_size=16, max_size=16), "span_id": st.binary(min_size=8, max_size=8), "name": st.text(max_size=30)}
)
_scope = st.fixed_dictionaries(
    {"scope": st.fixed_dictionaries({"name": st.text(max_size=5)}), "spans": st.lists(_span, max_size=6), "schema_url": st.text(max_size=4)}
)
_resource = st.fixed_dictionaries(
    {
        "resource": st.fixed_dictionaries({"dropped_attributes_count": st.integers(0, 9)}),
        "scope_spans": st.lists(_scope, max_size=3),
        "schema_url": st.text(max_size=4),
    }
)
requests = st.lists(_resource, max_size=3).map(
    lambda r: ExportTraceServiceRequest(resource_spans=r)  # type: ignore[arg-type]  # dicts build submessages too
)


def placed(request: bytes) -> list[tuple[bytes, str, bytes, str, bytes]]:
    """Each span with everything above it."""
    message = ExportTraceServiceRequest.FromString(request)
    return [
        (r.resource.SerializeToString(), r.schema_url, s.scope.SerializeToString(), s.schema_url, span.SerializeToString())
        for r in message.resource_spans
        for s in r.scope_spans
        for span in s.spans
    ]


def cut(request: bytes, shards: int, max_bytes: int = 1 << 20, refusals: Refusals | None = None) -> list[Part]:
    return split(request, lambda span, _: zlib.crc32(trace_id_of(span)) % shards, max_bytes, refusals or Refusals())


@given(requests, st.integers(1, 5), st.sampled_from([1 << 20, 400, 250]))
def test_the_spans_with_resource_and_scope_are_the_same(request: ExportTraceServiceRequest, shards: int, max_bytes: int) -> None:
    body = request.SerializeToString()
    parts = cut(body, shards, max_bytes)
    assert Counter(item for part in parts for item in placed(part.request)) == Counter(placed(body))
    for part in parts:
        assert len(placed(part.request)) == part.items > 0
        assert len(part.request) <= max_bytes
        assert {zlib.crc32(trace_id_of(item[-1])) % shards for item in placed(part.request)} == {part.shard}


@given(requests, st.integers(1, 3), st.sampled_from([1 << 20, 300]))
def test_a_request_sent_again_is_cut_the_same_way(request: ExportTraceServiceRequest, shards: int, max_bytes: int) -> None:
    body = request.SerializeToString()
    assert cut(body, shards, max_bytes) == cut(body, shards, max_bytes)


@given(requests, st.data())
def test_refused_items_and_nothing_else_are_left_out(request: ExportTraceServiceRequest, data: st.DataObject) -> None:
    body = request.SerializeToString()
    before = placed(body)
    positions = data.draw(st.sets(st.integers(0, max(0, len(before) - 1))))
    refusals = Refusals()
    for position in positions:
        refusals.add(position, "for the test", f"span {position}")
    kept = [item for i, item in enumerate(before) if i not in positions]
    assert [item for part in cut(body, 1, refusals=refusals) for item in placed(part.request)] == kept


@settings(max_examples=50)
@given(requests, st.integers(60, 200))
def test_items_too_large_for_an_entry_are_refused_and_the_rest_fits(request: ExportTraceServiceRequest, max_bytes: int) -> None:
    body = request.SerializeToString()
    refusals = Refusals()
    parts = cut(body, 2, max_bytes, refusals)
    assert sum(part.items for part in parts) + len(refusals.positions) == len(placed(body))
    assert all(len(part.request) <= max_bytes for part in parts)

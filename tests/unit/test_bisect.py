"""Cutting refused bodies keeps every item, in order, and ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.ingest.bisect import halve, normalise
from tael.wal import codec
from tael.wal.api import TRACES


def request(shape: list[list[int]], start: int) -> tuple[ExportTraceServiceRequest, list[int]]:
    """A request with one resource for each list, one scope for each number, and that many spans, numbered by start time."""
    message = ExportTraceServiceRequest()
    numbers: list[int] = []
    for resource, scopes in enumerate(shape):
        spans_of = message.resource_spans.add(schema_url=f"r{resource}")
        for count in scopes:
            scope_spans = spans_of.scope_spans.add(schema_url=f"s{count}")
            for _ in range(count):
                number = start + len(numbers)
                scope_spans.spans.add(trace_id=bytes(16), span_id=bytes(8), start_time_unix_nano=number, name=f"r{resource}")
                numbers.append(number)
    return message, numbers


def numbers_in(body: bytes) -> list[tuple[str, int]]:
    """Tenant and number of every span in a body; the span stands under its own resource or the test fails."""
    found = []
    for record in codec.decode(body):
        for resource in ExportTraceServiceRequest.FromString(record.request).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    assert span.name == resource.schema_url
                    found.append((record.tenant, span.start_time_unix_nano))
    return found


def pieces(body: bytes) -> list[bytes]:
    """Cut until nothing can be cut."""
    halves = halve(body)
    return [body] if halves is None else [piece for half in halves for piece in pieces(half)]


@given(st.lists(st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=3), min_size=1, max_size=4))
def test_pieces_hold_every_span_once_in_order_and_at_most_one_each(shapes: list[list[list[int]]]) -> None:
    """Whatever the shape of the records."""
    body, start = b"", 0
    wanted: list[tuple[str, int]] = []
    for index, shape in enumerate(shapes):
        message, numbers = request(shape, start)
        body += codec.encode(f"t{index}", 7, message.SerializeToString())
        wanted += [(f"t{index}", number) for number in numbers]
        start += len(numbers)
    cut = pieces(body)
    assert [item for piece in cut for item in numbers_in(piece)] == wanted
    assert all(len(numbers_in(piece)) <= 1 for piece in cut)


def test_nothing_to_cut_is_none() -> None:
    """An empty body, and a record without spans."""
    assert halve(b"") is None
    assert halve(codec.encode("t", 0, b"")) is None


def test_normalise_keeps_the_last_member_of_a_oneof() -> None:
    """Two members of one oneof are legal protobuf where the last wins; ClickHouse refuses them."""
    both = b"\x0a\x01a" + b"\x18\x05"  # AnyValue{string_value: "a", int_value: 5}
    attribute = b"\x0a\x01k\x12" + bytes([len(both)]) + both
    span = b"\x4a" + bytes([len(attribute)]) + attribute
    scope = b"\x12" + bytes([len(span)]) + span
    resource = b"\x12" + bytes([len(scope)]) + scope
    raw = b"\x0a" + bytes([len(resource)]) + resource
    fixed = normalise(TRACES, codec.encode("t", 1, raw))
    value = (
        ExportTraceServiceRequest.FromString(codec.decode(fixed)[0].request).resource_spans[0].scope_spans[0].spans[0].attributes[0].value
    )
    assert value.int_value == 5
    assert b"\x0a\x01a\x18" not in fixed
    assert normalise(TRACES, b"\xff\xff") == b"\xff\xff"

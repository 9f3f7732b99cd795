"""Halving refused bodies keeps every item, in order, and terminates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.ingest.writer.bisect import halve, normalise
from tael.model.signals import METRICS, TRACES
from tael.pb.metrics_pb2 import Exemplar, Family, Histogram, MetricBatch, Series
from tael.wal import codec


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
    """Tenant and number of every span in a body; the test fails unless each span is under its own resource."""
    found = []
    for record in codec.decode(body):
        for resource in ExportTraceServiceRequest.FromString(record.request).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    assert span.name == resource.schema_url
                    found.append((record.tenant, span.start_time_unix_nano))
    return found


def pieces(body: bytes) -> list[bytes]:
    """Halve until nothing can be halved."""
    halves = halve(TRACES, body)
    return [body] if halves is None else [piece for half in halves for piece in pieces(half)]


@given(st.lists(st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=3), min_size=1, max_size=4))
def test_pieces_hold_every_span_once_in_order_and_at_most_one_each(shapes: list[list[list[int]]]) -> None:
    """For records of any shape."""
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


def test_a_body_without_items_cannot_be_halved() -> None:
    """An empty body, and a record without spans."""
    assert halve(TRACES, b"") is None
    assert halve(TRACES, codec.encode("t", 0, b"")) is None


def test_normalise_keeps_the_last_member_of_a_oneof() -> None:
    """Two members of one oneof are valid protobuf, of which the last wins, but ClickHouse refuses them."""
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


def metric_pieces(body: bytes) -> list[bytes]:
    """Halve a body of metrics until nothing can be halved."""
    halves = halve(METRICS, body)
    return [body] if halves is None else [piece for half in halves for piece in metric_pieces(half)]


@given(*[st.integers(0, 3)] * 5)
def test_metrics_are_cut_to_one_sample_or_message(samples: int, histograms: int, exemplars: int, series: int, families: int) -> None:
    """Each once, in order, under the same tenant."""
    batch = MetricBatch(
        metric=range(samples),
        series=range(samples),
        time_ms=range(samples),
        value=range(samples),
        histograms=[Histogram(series=number) for number in range(histograms)],
        exemplars=[Exemplar(series=number) for number in range(exemplars)],
        new_series=[Series(series=number) for number in range(series)],
        families=[Family(hour=number) for number in range(families)],
    )
    joined = MetricBatch()
    for piece in metric_pieces(codec.encode("t", 7, batch.SerializeToString())):
        [record] = codec.decode(piece)
        cut = MetricBatch.FromString(record.request)
        assert (record.tenant, record.received_at) == ("t", 7)
        assert len(cut.series) + len(cut.histograms) + len(cut.exemplars) + len(cut.new_series) + len(cut.families) <= 1
        joined.MergeFrom(cut)
    assert joined == batch

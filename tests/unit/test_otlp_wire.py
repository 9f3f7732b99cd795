"""Scanning, splitting, decompression and statuses, each by itself."""

from __future__ import annotations

import gzip
import hashlib

import pytest
import zstandard
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tael.errors import NotFound, Overloaded, Rejected, TooLarge, Unavailable
from tael.otlp.inflate import inflate
from tael.otlp.scan import Refusals, scan_spans, trace_id_of
from tael.otlp.signals import SIGNALS
from tael.otlp.split import split
from tael.otlp.status import MAX_RESPONSE_BYTES, export_response, status_of
from tests.support.otlp import PeakMemory, bomb, request_of, spans_of

_GZIP_BOMB_BYTES = 1 << 28


def test_ids_are_read_as_a_reader_reads_them() -> None:
    """Of a repeated field the last value counts, wherever it is."""
    good = Span(trace_id=b"t" * 16, span_id=b"s" * 8).SerializeToString()
    twice = good + Span(trace_id=bytes(16)).SerializeToString()
    request = request_of(0)
    scope = request.resource_spans[0].scope_spans[0]
    scope.spans.add().MergeFromString(good)
    body = request.SerializeToString()
    assert scan_spans(body).refusals.positions == set()
    assert trace_id_of(good) == b"t" * 16
    reordered = Span(span_id=b"s" * 8).SerializeToString() + Span(trace_id=b"t" * 16).SerializeToString()
    assert trace_id_of(reordered) == b"t" * 16
    scoped = b"\x12" + bytes([len(twice)]) + twice
    resourced = b"\x12" + bytes([len(scoped)]) + scoped
    assert scan_spans(b"\x0a" + bytes([len(resourced)]) + resourced).refusals.positions == {0}


@pytest.mark.parametrize(
    ("trace_id", "span_id", "reason"),
    [
        (b"", b"s" * 8, "trace_id must have 16 bytes and has 0"),
        (b"t" * 8, b"s" * 8, "trace_id must have 16 bytes and has 8"),
        (bytes(16), b"s" * 8, "trace_id is all zero"),
        (b"t" * 16, b"s" * 9, "span_id must have 8 bytes and has 9"),
        (b"t" * 16, bytes(8), "span_id is all zero"),
    ],
)
def test_a_span_with_unusable_ids_is_refused_with_the_reason(trace_id: bytes, span_id: bytes, reason: str) -> None:
    """D1."""
    request = request_of(2)
    request.resource_spans[0].scope_spans[0].spans.add(trace_id=trace_id, span_id=span_id, name="bad")
    scan = scan_spans(request.SerializeToString())
    assert (scan.items, scan.refusals.positions) == (3, {2})
    assert scan.refusals.explain(3, "spans") == f"1 of 3 spans rejected: {reason} (1: span 2 'bad')"


def test_many_refusals_are_counted_and_a_few_are_named() -> None:
    refusals = Refusals()
    for i in range(1000):
        refusals.add(i, "trace_id is all zero", f"span {i}")
    assert refusals.explain(2000, "spans") == "1000 of 2000 spans rejected: trace_id is all zero (1000: span 0, span 1, span 2, …)"


def test_unknown_fields_survive_a_split() -> None:
    """Fields of a newer protocol at every level, in every part."""
    unknown = b"\xfa\x3e\x03new"  # field 1007
    body = ExportTraceServiceRequest.FromString(request_of(4).SerializeToString() + unknown)
    body.resource_spans[0].MergeFromString(unknown)
    body.resource_spans[0].scope_spans[0].MergeFromString(unknown)
    for span in body.resource_spans[0].scope_spans[0].spans:
        span.MergeFromString(unknown)
    order = iter((0, 1, 0, 1))
    parts = split(body.SerializeToString(), lambda *_: next(order), 1 << 20, Refusals())
    assert [(part.shard, part.items, part.request.count(unknown)) for part in parts] == [(0, 2, 5), (1, 2, 5)]
    assert sum(len(spans_of(part.request)) for part in parts) == 4


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress), ("", bytes), ("identity", bytes)])
def test_inflate_undoes_each_encoding(encoding: str, pack: type[bytes]) -> None:
    """T3. Consecutive members or frames are one body."""
    assert inflate(encoding, pack(b"abc" * 1000) + pack(b"d"), 3001, "LIMIT") == b"abc" * 1000 + b"d"
    with pytest.raises(TooLarge, match=r"3000 bytes.*LIMIT"):
        inflate(encoding, pack(b"abc" * 1000) + pack(b"d"), 3000, "LIMIT")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_broken_compression_is_a_bad_request(encoding: str) -> None:
    text = hashlib.shake_256(b"").digest(1000)
    whole = gzip.compress(text) if encoding == "gzip" else zstandard.compress(text)
    for body in (b"neither", whole[:-20], whole[: len(whole) // 2], whole + b"tail"):
        with pytest.raises(Rejected) as refusal:
            inflate(encoding, body, 1 << 20, "LIMIT")
        assert not isinstance(refusal.value, TooLarge)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_unpacks(encoding: str) -> None:
    """T4: memory grows up to the limit, not to what the body claims."""
    small = bomb(_GZIP_BOMB_BYTES) if encoding == "gzip" else zstandard.compress(bytes(1 << 26)) * 8
    with PeakMemory() as peak, pytest.raises(TooLarge):
        inflate(encoding, small, 4 << 20, "LIMIT")
    assert peak.grown_bytes < 32 << 20


def test_statuses_and_retry_info_by_error() -> None:
    """G1-G3, T4: with RetryInfo exactly when a retry can succeed."""
    cases: list[tuple[Exception, int, float | None]] = [
        (Overloaded("full", retry_after_seconds=2.5), code_pb2.RESOURCE_EXHAUSTED, 2.5),
        (Unavailable("away"), code_pb2.UNAVAILABLE, 1.0),
        (ConnectionResetError(), code_pb2.UNAVAILABLE, 1.0),
        (TimeoutError(), code_pb2.UNAVAILABLE, 1.0),
        (TooLarge("over"), code_pb2.RESOURCE_EXHAUSTED, None),
        (NotFound("metrics"), code_pb2.UNIMPLEMENTED, None),
        (ZeroDivisionError(), code_pb2.INTERNAL, None),
    ]
    for error, code, seconds in cases:
        status = status_of(error)
        retry = RetryInfo()
        has_retry = any(detail.Unpack(retry) for detail in status.details)
        assert (status.code, retry.retry_delay.ToTimedelta().total_seconds() if has_retry else None) == (code, seconds)
        assert status.message
    status = status_of(Rejected("cannot read", where="resourceSpans[0]", accepted="an object"))
    bad = BadRequest()
    assert status.details[0].Unpack(bad)
    assert (bad.field_violations[0].field, bad.field_violations[0].description) == ("resourceSpans[0]", "cannot read (accepted: an object)")


def test_a_long_explanation_is_shortened() -> None:
    """T5."""
    response = export_response(SIGNALS["traces"], 7, "é" * (5 << 20))
    assert response.ByteSize() < MAX_RESPONSE_BYTES
    assert response.partial_success.rejected_spans == 7  # type: ignore[attr-defined]  # it is a trace response
    assert response.partial_success.error_message.endswith("… (shortened)")  # type: ignore[attr-defined]  # the same
    assert not export_response(SIGNALS["traces"], 0, "").HasField("partial_success")

"""Where the writer cuts a batch into inserts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.ingest.writer.flat import FLAT_BYTES, flat_bytes
from services.ingest.writer.plan import intent_of
from tael.model.signals import METRICS, TRACES
from tael.wal import codec
from tael.wal.api import Entry


def _entries(items: list[int]) -> list[Entry]:
    return [Entry(sequence, TRACES, count, b"") for sequence, count in enumerate(items, 7)]


def test_a_batch_that_fits_is_one_insert() -> None:
    assert intent_of(_entries([10, 20, 30]), 60).ranges() == [(7, 9)]


def test_a_larger_batch_is_cut_about_evenly() -> None:
    assert intent_of(_entries([10] * 12), 60).ranges() == [(7, 12), (13, 18)]


def test_an_entry_is_never_cut() -> None:
    assert intent_of(_entries([500]), 60).ranges() == [(7, 7)]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.integers(1, 500))
def test_the_inserts_hold_every_entry_once_in_order(items: list[int], most: int) -> None:
    entries = _entries(items)
    ranges = intent_of(entries, most).ranges()
    assert [sequence for first, last in ranges for sequence in range(first, last + 1)] == [entry.sequence for entry in entries]
    sizes = [sum(entry.items for entry in entries if first <= entry.sequence <= last) for first, last in ranges]
    assert all(size <= most + max(items) for size in sizes)


def _large(spans: int, resource_bytes: int) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="k").value.string_value = "v" * resource_bytes
    scoped = group.scope_spans.add()
    scoped.scope.name = "lib"
    for _ in range(spans):
        scoped.spans.add(name="x")
    return codec.encode("t", 1, request.SerializeToString())


def test_repeated_resource_and_scope_bytes_count_for_each_item() -> None:
    """Resource and scope times the number of spans, plus the bytes themselves; metrics repeat nothing."""
    body = _large(10, 1_000)
    assert len(body) + 10 * 1_000 < flat_bytes(TRACES, body) < len(body) + 10 * 1_100
    assert flat_bytes(METRICS, body) == flat_bytes(TRACES, body + b"\xff") - 1 == len(body)
    large = _large(10, 1_000_000)
    assert len(large) + 10 * 64_000 < flat_bytes(TRACES, large) < len(large) + 10 * 70_000
    assert len(large) + 10 * 1_000_000 < flat_bytes(TRACES, large, whole=True)


def test_inserts_are_bounded_in_flattened_bytes() -> None:
    """An entry that is too large by itself gets its own insert, and so does what follows it."""
    half, over = _large(FLAT_BYTES // 100_000, 50_000), _large(3 * FLAT_BYTES // 100_000, 50_000)
    entries = [Entry(1 + at, TRACES, 10, body) for at, body in enumerate([b"", half, half, over, b"", b""])]
    intent = intent_of(entries, 1_000)
    assert intent.ranges() == [(1, 2), (3, 3), (4, 4), (5, 6)]
    assert intent.flat_bytes == FLAT_BYTES

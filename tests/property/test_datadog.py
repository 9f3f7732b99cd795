"""Datadog's payloads, generated: the three versions decode to the same spans, and malformed bodies are refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tael.datadog import wire
from tael.datadog.translate import translate
from tael.errors import Rejected, TooLarge
from tests.support.datadog import RawTraces, as_json, as_msgpack, as_v05, raw_span

texts = st.text(max_size=6)
u64 = st.integers(0, (1 << 64) - 1)
numbers = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
spans = st.builds(
    raw_span,
    service=st.sampled_from(["shop", "db", ""]),
    name=texts,
    resource=texts,
    type=st.sampled_from(["", "web", "http", "sql"]),
    trace_id=u64,
    span_id=u64,
    parent_id=u64,
    start=st.integers(-(1 << 63), (1 << 63) - 1),
    duration=st.integers(-(1 << 63), (1 << 63) - 1),
    error=st.integers(0, 1),
    meta=st.dictionaries(
        texts | st.sampled_from(["env", "version", "span.kind", "_dd.p.tid", "events", "_dd.span_links"]), texts, max_size=4
    ),
    metrics=st.dictionaries(texts, numbers, max_size=4),
)
payloads = st.lists(st.lists(spans, max_size=3), max_size=3)
junk = st.recursive(
    st.none() | st.booleans() | u64 | st.floats() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
READERS = pytest.mark.parametrize("read", [wire.read_msgpack, wire.read_v05, wire.read_json])


def as_otlp(traces: Any, limit_bytes: int = 1 << 20) -> bytes:
    return translate(traces, {}, limit_bytes=limit_bytes, variable="LIMIT").SerializeToString(deterministic=True)


@given(payloads)
def test_all_versions_decode_alike(traces: RawTraces) -> None:
    """As many spans are decoded as were encoded, each with its ids."""
    request = translate(wire.read_msgpack(as_msgpack(traces)), {}, limit_bytes=1 << 20, variable="LIMIT")
    expected = request.SerializeToString(deterministic=True)
    assert as_otlp(wire.read_v05(as_v05(traces))) == as_otlp(wire.read_json(as_json(traces))) == expected
    out = [span for group in request.resource_spans for span in group.scope_spans[0].spans]
    ids = sorted((span["trace_id"], span["span_id"]) for trace in traces for span in trace)
    assert sorted((int.from_bytes(span.trace_id[8:], "big"), int.from_bytes(span.span_id, "big")) for span in out) == ids


@READERS
@given(body=st.binary(max_size=60))
def test_bytes_that_are_no_body_are_refused(read: Any, body: bytes) -> None:
    """No other error is ever raised."""
    with contextlib.suppress(Rejected):
        as_otlp(read(body))


@READERS
@given(value=junk)
def test_values_of_other_shapes_are_refused(read: Any, value: Any) -> None:
    """No other error is ever raised."""
    body = json.dumps(value, default=repr).encode() if read is wire.read_json else msgpack.packb(value)
    with contextlib.suppress(Rejected):
        as_otlp(read(body))


@given(payloads.filter(any), st.data())
def test_a_body_cut_short_is_refused(traces: RawTraces, data: st.DataObject) -> None:
    for read, body in ((wire.read_msgpack, as_msgpack(traces)), (wire.read_v05, as_v05(traces))):
        cut = data.draw(st.integers(0, len(body) - 1))
        with pytest.raises(Rejected):
            as_otlp(read(body[:cut]))
        with pytest.raises(Rejected, match="follow the payload"):
            as_otlp(read(body + b"\xc0"))


@READERS
@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\xff\xff\xff\xff" + b"\xc0" * 50,
        b"\x91\xdd\x00\xff\xff\xff" + b"\x80" * 50,
        b"\x91\x91" * 5000,
        b"\x91\x91\xdf\xff\xff\xff\xff\xa1a",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[[" + b"9" * 5000 + b"]]",
        b"\x92\xdd\xff\xff\xff\xff\xa0",
    ],
)
def test_claims_and_depths_cost_nothing(read: Any, body: bytes) -> None:
    """Lengths without the bytes they claim, unbounded nesting, and counts without items."""
    with pytest.raises(Rejected):
        as_otlp(read(body))


def test_a_text_named_often_does_not_grow_without_bound() -> None:
    """In v0.5 a string of 100 kB that is referred to a thousand times would be a hundred megabytes."""
    row = [0, 0, 0, 1, 1, 0, 0, 0, 0, {0: 0}, {}, 0]
    body = msgpack.packb([["x" * 100_000], [[row] * 1_000]])
    with pytest.raises(TooLarge, match="the limit that LIMIT sets"):
        as_otlp(wire.read_v05(body))

"""An item whose large values were extracted is read as the same item, whatever its values are, and the rest fits its limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.attributes import AttributeValue
from tael.model.payload import parse_reference
from tael.otlp.anyvalue import encode_attributes, encode_value
from tael.otlp.decode import decode_logs, decode_spans
from tael.otlp.extract import Extraction, Sizes
from tael.otlp.limits import ItemLimits, bound
from tael.otlp.resolve import resolve_log, resolve_span
from tests.support.storage import START_NS

HOUR = START_NS // 10**9 // 3600 * 3600
TEXTS = st.builds(lambda text, times: text * times, st.sampled_from(["a", "ä", "😀 b", "tael.payload:sha256:"]), st.integers(0, 3_000))
VALUES: st.SearchStrategy[AttributeValue] = st.recursive(
    TEXTS | TEXTS.map(str.encode) | st.integers(0, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(["gen_ai.input.messages", "gen_ai.request.model", "llm.input_messages.0.message.content", "note"])
OWNED = st.dictionaries(KEYS, VALUES, max_size=3)
SIZES = Sizes(value_bytes=4_000, content_bytes=1_000)
WIDE = ItemLimits(value_bytes=1 << 30)


def contents(extraction: Extraction, request: bytes) -> dict[bytes, bytes]:
    found = extraction.referred(request)
    assert all(payload.hours == (HOUR,) for payload in found)
    return {payload.sha256: payload.content for payload in found}


@given(OWNED, OWNED, OWNED, st.sampled_from([3_000, 1 << 20]))
@settings(max_examples=150)
def test_a_span_comes_together_again(own: Any, of_event: Any, of_link: Any, room: int) -> None:
    """With all its attributes and those of its events and links; small values are not extracted."""
    span = WireSpan(name="n", trace_id=b"t" * 16, start_time_unix_nano=START_NS, attributes=encode_attributes(own))
    span.events.add(name="e", attributes=encode_attributes(of_event))
    span.links.add(trace_id=b"l" * 16, attributes=encode_attributes(of_link))
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.append(span)
    extraction = Extraction(SIZES, START_NS)
    kept, warnings = bound(request.SerializeToString(), WireSpan, WIDE, extraction, room)
    assert warnings == ()
    (read,) = decode_spans(ExportTraceServiceRequest.FromString(kept).resource_spans)
    (sent,) = decode_spans(request.resource_spans)
    assert resolve_span(read, contents(extraction, kept)) == replace(sent, events=tuple(sent.events), links=tuple(sent.links))
    assert len(kept) <= max(room, 6_000)
    for key, value in read.attributes.items():
        size = KeyValue(key=key, value=encode_value(own[key])).value.ByteSize()
        if room > 3_000:
            assert (value != own[key]) == SIZES.stands_apart(key, size)


@given(OWNED, VALUES, st.sampled_from([3_000, 1 << 20]))
@settings(max_examples=100)
def test_a_log_record_comes_together_again(own: Any, body: AttributeValue, room: int) -> None:
    """Its body is extracted only if the record would be too large otherwise, and keeps a long beginning."""
    record = WireRecord(time_unix_nano=START_NS, attributes=encode_attributes(own))
    record.body.CopyFrom(encode_value(body))
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.append(record)
    extraction = Extraction(SIZES, START_NS)
    kept, _ = bound(request.SerializeToString(), WireRecord, WIDE, extraction, room)
    (read,) = decode_logs(ExportLogsServiceRequest.FromString(kept).resource_logs, START_NS)
    (sent,) = decode_logs(request.resource_logs, START_NS)
    resolved = resolve_log(read, contents(extraction, kept))
    assert replace(resolved, level=sent.level) == sent
    if room > 3_000:
        assert read.body == sent.body


def test_attributes_that_columns_are_read_from_stay_inline() -> None:
    """A model's name of any length, and values that are members of a large text."""
    span = WireSpan(attributes=encode_attributes({"llm.invocation_parameters": "x" * 100_000, "gen_ai.request.model": "m" * 20_000}))
    assert not Extraction(Sizes(), 0).take(span, span.ByteSize(), 1 << 20)


def test_a_reference_begins_as_its_value_does() -> None:
    """An array or map begins with the texts in it."""
    said: AttributeValue = [{"role": "user", "parts": [{"type": "text", "content": "Where is my parcel? " * 200}]}]
    span = WireSpan(attributes=encode_attributes({"gen_ai.input.messages": said, "note": "a note " * 2_000}))
    assert Extraction(Sizes(), 0).take(span, span.ByteSize(), 1 << 20)
    (messages, note) = (parse_reference(pair.value.string_value) for pair in span.attributes)
    assert messages is not None
    assert note is not None
    assert (messages.form, messages.preview[:35]) == ("array", "user text Where is my parcel? Where")
    assert (note.form, note.size_bytes, note.preview) == ("string", 14_000, ("a note " * 20)[:128])

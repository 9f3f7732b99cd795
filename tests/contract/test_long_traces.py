"""What every composition of the tiers must hold of long traces (tael/storage/long_traces.py): parts and bytes say what whole spans say."""

from __future__ import annotations

import json
from itertools import pairwise

from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from services.query.api.jaeger.encode import Processes
from services.query.api.native.span_json import resource_json, scope_json, span_json
from tael.model.attributes import Attributes
from tael.model.span import Resource, Scope, Span
from tael.otlp.encode import encode_span
from tael.storage.long_traces import BEGIN, Key, Origin, Outline, Part, Slice, merge_slices
from tests.contract.test_span_storage import everything
from tests.support.storage import START_NS, HotTier, new_trace_id, of_service, wire_span


async def parts_of(tier: HotTier, trace_id: bytes, step: int = 3) -> list[Part]:
    outline = (await tier.long_traces.outline("t1", trace_id, 1_000, step)).value
    bounds = [*outline.bounds, None]
    return [Part(trace_id, first, end, 1_000) for first, end in pairwise(bounds) if first is not None]


async def test_bytes_of_the_store_equal_encoded_spans(any_tier: HotTier) -> None:
    """In every form, of every type of value and of every field."""
    trace_id = new_trace_id()
    group = everything(trace_id)
    for index in range(5):
        copy = group.scope_spans[0].spans.add()
        copy.CopyFrom(group.scope_spans[0].spans[0])
        copy.span_id = bytes([index]) * 8
        copy.start_time_unix_nano = START_NS + index % 2
        if index:  # else it has lists and maps, which have no expression in JSON
            del copy.attributes[14 + index % 2 :]
            del copy.events[0].attributes[14:], copy.links[0].attributes[14:]
    written = await any_tier.store(group)
    whole = (await any_tier.reader.get_trace("t1", trace_id)).value
    assert len(whole) == len(written) == 6
    for part in (Part(trace_id, BEGIN, None, 10), *await parts_of(any_tier, trace_id)):
        spans = (await any_tier.long_traces.read_spans("t1", part)).value
        assert spans == [span for span in whole if part.first <= Key.of(span) and (part.end is None or Key.of(span) < part.end)]
        assert as_json((await any_tier.long_traces.read_bytes("t1", part, "json")).value) == [span_json(span) for span in spans]
        jaeger = (await any_tier.long_traces.read_bytes("t1", part, "jaeger")).value
        assert json.loads(b"[" + Processes().encode_slice(jaeger) + b"]") == Processes().encode(spans)
        read = (await any_tier.long_traces.read_bytes("t1", part, "otlp")).value
        assert [WireSpan.FromString(body) for body in read.bodies] == [encode_span(span) for span in spans]  # type: ignore[arg-type]
        assert [read.origins[number] for number in read.origin_ids] == [Origin(span.resource, span.scope) for span in spans]


def as_json(read: Slice) -> list[object]:
    texts: list[object] = []
    for body, number in zip(read.bodies, read.origin_ids, strict=True):
        origin = read.origins[number]
        if isinstance(body, Span):
            texts.append(span_json(body))
        else:
            whole = json.loads(body + b"}")
            texts.append({**whole, "resource": resource_json(origin.resource), "scope": scope_json(origin.scope)})
    return texts


async def test_the_most_complete_copy_is_read(any_tier: HotTier) -> None:
    """Of a span that was sent at its start and at its end, in whatever order."""
    trace_id = new_trace_id()
    ended = [wire_span(index, trace_id=trace_id, span_id=bytes([index]) * 8, attributes={"done": True}) for index in range(1, 4)]
    begun = [wire_span(index, trace_id=trace_id, span_id=bytes([index]) * 8, duration_ns=-index) for index in range(1, 4)]
    await any_tier.store(of_service("shop", begun[0], ended[1]))
    await any_tier.store(of_service("shop", ended[0], begun[1], ended[2]))
    outline = (await any_tier.long_traces.outline("t1", trace_id, 1_000, 1)).value
    assert (outline.spans, len(outline.bounds)) == (3, 3)
    part = Part(trace_id, BEGIN, None, 1_000)
    spans = (await any_tier.long_traces.read_spans("t1", part)).value
    assert [span.attributes for span in spans] == [{"done": True}] * 3
    read = (await any_tier.long_traces.read_bytes("t1", part, "otlp")).value
    assert [WireSpan.FromString(body) for body in read.bodies] == [encode_span(span) for span in spans]  # type: ignore[arg-type]
    first = (await any_tier.long_traces.read_bytes("t1", Part(trace_id, BEGIN, None, 2), "otlp")).value
    assert first.keys == read.keys[:2]
    assert (await any_tier.long_traces.outline("t1", trace_id, 2, 1)).value.bounds == outline.bounds[:2]
    assert (await any_tier.long_traces.outline("t1", new_trace_id(), 2, 1)).value == Outline(0, calls=False, bounds=[])
    assert (await any_tier.long_traces.outline("other", trace_id, 2, 1)).value.spans == 0


async def test_spans_without_ready_bytes_are_returned_as_spans(any_tier: HotTier) -> None:
    """References of payloads, for whoever resolves them; calls of models in JSON, which says of them what a column does not hold."""
    trace_id = new_trace_id()
    reference = f"tael.payload:sha256:{'0' * 64}:5000 it begins"
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    own: list[Attributes] = [{"a": "plain"}, {"b": reference}, {"c": f"not {reference}"}, call]
    await any_tier.store(
        of_service("shop", *(wire_span(index, trace_id=trace_id, attributes=attributes) for index, attributes in enumerate(own)))
    )
    part = Part(trace_id, BEGIN, None, 1_000)
    for form, expected in (
        ("json", [bytes, Span, Span, Span]),
        ("otlp", [bytes, Span, Span, bytes]),
        ("jaeger", [bytes, Span, Span, bytes]),
    ):
        assert [type(body) for body in (await any_tier.long_traces.read_bytes("t1", part, form)).value.bodies] == expected  # type: ignore[arg-type]


def test_copies_on_two_shards_are_one() -> None:
    """The one that says more, where the map of shards grew between them."""
    one = Slice([Key(1, 1), Key(2, 1)], [b"begun", b"a"], [7, 7], [(0, 0, 1, 0), (1, 0, 3, 0)], {7: Origin(Resource(), Scope())})
    two = Slice([Key(1, 1), Key(3, 1)], [b"ended", b"b"], [8, 8], [(1, 0, 1, 0), (1, 0, 3, 0)], {8: Origin(Resource(), Scope(name="s"))})
    merged = merge_slices([one, two], 10)
    assert (merged.bodies, merged.origin_ids, set(merged.origins)) == ([b"ended", b"a", b"b"], [8, 7, 8], {7, 8})
    assert merge_slices([two, one], 2).bodies == [b"ended", b"a"]

"""What every composition of the tiers must hold of long traces (tael/storage/long_traces.py): parts and bytes say what whole spans say."""

from __future__ import annotations

import json
from itertools import pairwise

from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from services.query.api.native.span_json import resource_json, scope_json, span_json
from tael.model.span import Span
from tael.otlp.encode import encode_span
from tael.storage.long_traces import BEGIN, Key, Origin, Part, Slice
from tests.contract.test_span_storage import everything
from tests.support.storage import START_NS, HotTier, new_trace_id


async def parts_of(tier: HotTier, trace_id: bytes, step: int = 2) -> list[Part]:
    outline = (await tier.long_traces.outline("t1", trace_id, 1_000, step)).value
    bounds = [*outline.bounds, None]
    return [Part(trace_id, first, end, 1_000) for first, end in pairwise(bounds) if first is not None]


async def test_bytes_say_what_spans_say(any_tier: HotTier) -> None:
    """In both forms, of every type of value and of every field."""
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
        read = (await any_tier.long_traces.read_bytes("t1", part, "otlp")).value
        assert [WireSpan.FromString(body) for body in read.bodies] == [encode_span(span) for span in spans]  # type: ignore[arg-type]
        assert [read.origins[number] for number in read.came_under] == [Origin(span.resource, span.scope) for span in spans]


def as_json(read: Slice) -> list[object]:
    texts: list[object] = []
    for body, number in zip(read.bodies, read.came_under, strict=True):
        origin = read.origins[number]
        if isinstance(body, Span):
            texts.append(span_json(body))
        else:
            whole = json.loads(body + b"}")
            texts.append({**whole, "resource": resource_json(origin.resource), "scope": scope_json(origin.scope)})
    return texts

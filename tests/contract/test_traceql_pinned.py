"""Searches that name an attribute's value: it is not read again, and answers are those of reading every attribute, on every tier. The
newest part of the range is searched first.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.attributes import Attributes
from tael.model.time import TimeRange
from tael.storage.clickhouse.traceql import reader, traces
from tael.traceql.parse import parse
from tests.support.storage import START_NS, HotTier, of_service, wire_span

SECOND_NS = 10**9
RANGE = TimeRange(START_NS - 1_800 * SECOND_NS, START_NS + SECOND_NS)
Spans = list[tuple[int, Attributes]]
SHORT: list[Spans] = [[(-at - 1, {}), (-at, {"step": "a", "ok": at % 2 == 0, "size": at}), (1 - at, {"step": "b"})] for at in range(2, 12)]
TRACES: list[Spans] = [
    *SHORT,
    [(-50, {"step": ["a"]}), (-49, {"step": "a", "ok": True})],
    [(-60, {"step": ["a", "b"], "ok": True})],
    [(-70, {"step": 1, "ok": "true"})],
    # Long traces, with such spans on both sides of where a search begins, before the range and after it.
    [(-500, {"step": "a"}), (-80, {"step": "a", "ok": True})],
    [(-2_400, {"step": "a", "ok": True}), (-90, {"step": "a"}), (-89, {"step": "b"})],
    [(-100, {"step": "a"}), (400, {"step": "a", "ok": True})],
    # A span that was sent twice, of which the copy with more attributes is asked; and one that only an older search finds.
    [(-110, {"step": "a"}), (-110, {"step": "b", "ok": True, "size": 1})],
    [(-120, {"step": "b"}), (-120, {"step": "a", "ok": True, "size": 1})],
    [(-1_500, {"step": "a", "ok": True})],
]
"""Of each trace, its spans: seconds from START_NS, and attributes. Those of one second are copies of one span."""
QUERIES: Mapping[str, tuple[int, ...]] = {
    '{ span.step = "a" }': (*range(12), 13, 14, 15, 17, 18),
    '{ span.step = "a" && span.ok = true }': (*range(0, 10, 2), 10, 11, 13, 17, 18),
    '{ "a" = span.step && (span.size > 5 || span.ok = true) }': (),
    '{ span.step = "a" } | { span.ok = true } | select(span.size, name)': (),
    '{ resource.zone = "eu" && resource.service.name = "db" && span.step = "b" }': (),
}
"""With the numbers of the traces that are found, where they are not only compared."""


def _id(number: int) -> bytes:
    return bytes([number + 1]) * 16


async def _stored(tier: HotTier) -> None:
    """Copies come by another request, as they do."""
    sent: dict[tuple[int, str], list[WireSpan]] = {}
    for number, spans in enumerate(TRACES):
        for place, (at, said) in enumerate(spans):
            wire = wire_span(at * SECOND_NS, trace_id=_id(number), span_id=bytes([at % 251 + 1]) * 8, attributes=said)
            root = at == spans[0][0]
            wire.parent_span_id = b"" if root else bytes([spans[0][0] % 251 + 1]) * 8
            copies = sum(other == at for other, _ in spans[:place])
            sent.setdefault((copies, "shop" if root else "db"), []).append(wire)
    for (_, service), wires in sent.items():
        await tier.store(of_service(service, *wires, zone="eu"))


async def test_answers_are_those_of_reading_every_attribute(any_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    await _stored(any_tier)
    for text, found in QUERIES.items():
        query = parse(text)
        known = [(await any_tier.spansets.find_traces("t1", query, RANGE, limit, 3)).value for limit in (2, 100)]
        with monkeypatch.context() as patched:
            for module in (reader, traces):
                patched.setattr(module, "pinned", lambda _: {})
            read = [(await any_tier.spansets.find_traces("t1", query, RANGE, limit, 3)).value for limit in (2, 100)]
        assert known == read, text
        assert len(known[0]) == 2, text
        if found:
            assert sorted(trace.trace_id for trace in known[1]) == [_id(number) for number in found], text


async def test_traces_that_began_long_before_their_newest_span(any_tier: HotTier) -> None:
    """Those that began later are found before them, though their spans are not in the newest part of the range."""
    wires = []
    for number, (begin, last) in enumerate([(-200, -10), (-210, -9), (-220, -8), (-40, -40), (-50, -50), (-45, -41)]):
        root, child = (wire_span(at * SECOND_NS, trace_id=_id(number), attributes={"step": "a"}) for at in (begin, last))
        child.parent_span_id = root.span_id
        wires += [root, child]
    await any_tier.store(of_service("shop", *wires))
    for text in ('{ span.step = "a" }', '{ resource.service.name = "shop" }', '{ span.step =~ "a" }'):
        answer = await any_tier.spansets.find_traces("t1", parse(text), RANGE, 3, 3)
        assert [trace.trace_id for trace in answer.value] == [_id(3), _id(5), _id(4)], text

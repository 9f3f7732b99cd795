"""LLM calls in columns: the same calls count as in ``usage_of``, on hot nodes too, and groups add up."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.llm_calls import DIMENSIONS, LlmCalls, grouped, joined
from tael.model.span import LlmCall, Resource, Scope, Span
from tael.model.time import TimeRange
from tael.otlp.llm_counted import Tree
from tael.otlp.llm_usage import usage_of
from tael.storage.clickhouse.llm_calls import ClickHouseLlm
from tests.support.hotnode import HotNode
from tests.support.llm import calls_of
from tests.support.storage import START_NS, new_trace_id, of_service, open_tier, wire_span

OPERATIONS = ("chat", "completion", "embedding", "tool", "agent", "workflow", "chain", "other", "")
HOUR = TimeRange(START_NS - 10**9, START_NS + 3600 * 10**9)


@st.composite
def traces(draw: st.DrawFn) -> list[Span]:
    """A few traces of a few spans, each with a parent in its trace or a missing one."""
    spans = []
    for trace in range(draw(st.integers(0, 3))):
        for at in range(1, draw(st.integers(1, 7))):
            operation = draw(st.sampled_from(OPERATIONS))
            names = st.sampled_from(["", "a", "b"])
            call = LlmCall(
                operation=operation,
                input_tokens=draw(st.sampled_from([None, 1, 5])),
                session_id=draw(names),
                user_id=draw(names),
                model=draw(names),
                cost_usd=draw(st.sampled_from([None, 0.5])),
            )
            parent = draw(st.integers(0, 8))
            span = Span(
                bytes([trace + 1]) * 16, bytes([at]) * 8, bytes([parent]) * 8, "s", 1, START_NS + at, START_NS + at * 2, Resource(), Scope()
            )
            spans.append(replace(span, llm=call if operation else None))
    return spans


@given(traces())
def test_columns_count_what_a_trace_counts(spans: list[Span]) -> None:
    """Inherited values come from the nearest ancestor that has them."""
    ids = np.array([hash((span.trace_id, span.span_id)) & (2**63 - 1) for span in spans], np.uint64)
    parents = np.array([hash((span.trace_id, span.parent_span_id)) & (2**63 - 1) for span in spans], np.uint64)
    tree = Tree.of(ids, parents)
    operation = np.array([OPERATIONS.index(span.llm.operation if span.llm else "") for span in spans], np.int64)
    reports = np.array([span.llm is not None and (span.llm.input_tokens, span.llm.cost_usd) != (None, None) for span in spans], np.bool_)
    whole = {span.trace_id: [other for other in spans if other.trace_id == span.trace_id] for span in spans}
    counted = {(trace_id, span_id) for trace_id, trace in whole.items() for span_id in usage_of(trace)[1]}
    assert tree.counted(OPERATIONS, operation, reports).tolist() == [(span.trace_id, span.span_id) in counted for span in spans]


@given(traces(), st.lists(st.sampled_from(DIMENSIONS), unique=True, max_size=3))
def test_groups_add_up(spans: list[Span], by: list[str]) -> None:
    """For any grouping, and any division into parts."""
    calls = calls_of(spans, HOUR)
    groups = grouped(calls, by)
    assert sum(one.calls for one in groups) == len(calls)
    assert sum(one.tokens["input_tokens"] for one in groups) == sum(span.llm.input_tokens or 0 for span in spans if span.llm)
    assert len({one.key for one in groups}) == len(groups)
    traced = itertools.groupby(spans, key=lambda span: span.trace_id)
    parts = [calls_of(list(trace), HOUR) for _, trace in traced] or [calls]
    assert described(joined(parts)) == described(calls)


def described(calls: LlmCalls) -> list[tuple[object, ...]]:
    """Each row as a tuple, in a fixed order."""
    words = [[words.words[code] for code in words.codes.tolist()] for words in (calls.words[name] for name in DIMENSIONS)]
    numbers = [column.tolist() for column in (*calls.tokens.values(), calls.counted, calls.failed, calls.start_ns, calls.duration_ns)]
    costs = [None if math.isnan(cost) else round(cost, 12) for cost in calls.cost_usd.tolist()]
    return sorted(zip(*words, *numbers, costs, strict=True), key=repr)


@pytest.mark.parametrize("rows", [1_000, 3])
async def test_a_shard_reads_what_its_spans_say(shared_hot_node: HotNode, rows: int) -> None:
    """An agent around calls, a call reported twice, a tool, a call without usage, and other spans; each call with the cost of its model."""
    trace, other = new_trace_id(), new_trace_id()
    usage: dict[str, Any] = {"gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.output_tokens": 10}
    named: dict[str, Any] = {"gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}

    def under(parent: bytes, span_id: bytes, offset: int, of: bytes = trace, **attributes: Any) -> WireSpan:
        wire = wire_span(
            offset, trace_id=of, span_id=span_id, attributes={key.replace("__", "."): value for key, value in attributes.items()}
        )
        wire.parent_span_id = parent
        return wire

    spans = [
        under(b"", b"agent---", 0, gen_ai__operation__name="invoke_agent", session__id="s1", **usage),
        under(b"agent---", b"step----", 1, http__method="GET"),
        under(b"step----", b"outer---", 2, gen_ai__operation__name="chat", **usage, **named),
        under(b"outer---", b"inner---", 3, gen_ai__operation__name="chat", user__id="u1", **usage, **named),
        under(b"step----", b"tool----", 4, gen_ai__operation__name="execute_tool", gen_ai__tool__name="weather"),
        under(b"", b"alone---", 5, other, gen_ai__operation__name="chat"),
        under(b"", b"plain---", 6, new_trace_id()),
    ]
    async with open_tier([shared_hot_node]) as tier:
        [clickhouse] = tier.clickhouses
        stored = await tier.store(of_service("bot", *spans))
        await tier.store(of_service("bot", spans[3]))
        reader = ClickHouseLlm(clickhouse)
        if rows == 3:
            with pytest.raises(Exception, match="more than 3 spans"):
                await reader.calls("t1", HOUR, rows)
            return
        found = (await reader.calls("t1", HOUR, rows)).value
        assert described(found) == described(calls_of(stored, HOUR))
        counted = {one.key: one for one in grouped(found.take(found.counted), ("session_id",))}
        assert {key: (one.calls, one.traces, one.tokens["input_tokens"]) for key, one in counted.items()} == {
            ("s1",): (1, 1, 1_000),
            ("",): (1, 1, 0),
        }
        assert len((await reader.calls("t1", TimeRange(0, START_NS), rows)).value) == 0
        assert len((await reader.calls("other", HOUR, rows)).value) == 0
        assert len((await reader.calls("t1", TimeRange(-(1 << 63), (1 << 63) - 1), rows)).value) == len(found)

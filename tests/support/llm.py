"""LLM calls as columns, computed from spans one by one, to compare readers with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tael.model.llm_calls import DIMENSIONS, TOKENS, LlmCalls, words_of
from tael.model.span import STATUS_ERROR, Span
from tael.model.time import TimeRange
from tael.otlp.llm_usage import usage_of


def calls_of(spans: Sequence[Span], time_range: TimeRange) -> LlmCalls:
    """The calls among the spans that started in the range, as LlmReader returns them."""
    traces: dict[bytes, list[Span]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    counted = {(trace_id, span_id) for trace_id, whole in traces.items() for span_id in usage_of(whole)[1]}
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    rows = [span for span in spans if span.llm is not None and time_range.start_ns <= span.start_ns < time_range.end_ns]
    return LlmCalls(
        {name: words_of([_word(span, name, by_id) for span in rows]) for name in DIMENSIONS},
        {name: np.array([getattr(span.llm, name) or 0 for span in rows], np.int64) for name in TOKENS},
        np.array([_cost(span) for span in rows], np.float64),
        np.array([(span.trace_id, span.span_id) in counted for span in rows], np.bool_),
        np.array([span.status_code == STATUS_ERROR for span in rows], np.bool_),
        np.array([span.start_ns for span in rows], np.int64),
        np.array([span.duration_ns for span in rows], np.int64),
        np.array([int.from_bytes(span.trace_id[:7], "big") for span in rows], np.int64),
    )


def _word(span: Span | None, name: str, by_id: dict[tuple[bytes, bytes], Span], depth: int = 100) -> str:
    if span is None or depth < 0:
        return ""
    if name == "service":
        return span.service
    own: Any = getattr(span.llm, name) if span.llm is not None else ""
    inherited = name in ("session_id", "user_id", "agent_name")
    return str(own or (_word(by_id.get((span.trace_id, span.parent_span_id)), name, by_id, depth - 1) if inherited else ""))


def _cost(span: Span) -> float:
    assert span.llm is not None
    cost = span.llm.computed_cost_usd if span.llm.cost_usd is None else span.llm.cost_usd
    return math.nan if cost is None else cost

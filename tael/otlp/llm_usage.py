"""The usage of a trace's LLM calls, each call counted once. Pure.

Several spans may report one call: an SDK's own spans (``ai.generateText`` around ``ai.generateText.doGenerate``) around an
instrumentation's, and an agent or a chain repeats the sum of its calls. The innermost span with usage counts. A call of a model without
usage, because it failed or does not report any, counts too, unless a span that counts includes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tael.model.span import LlmCall, Span
from tael.otlp.prices import PRICED_OPERATIONS

MAX_DEPTH = 100
OTHER_CALL = frozenset(("tool", "agent"))
"""With one of these between a call and an outer one, the two are different calls, not two reports of the same one."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over the counted calls: tokens and USD; costs as reported, or computed where none is reported."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """The sum of both."""
        return Usage(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
        )


def usage_of(spans: Collection[Span]) -> tuple[Usage, frozenset[bytes]]:
    """The usage of a trace, given all its spans, and the ids of the spans that count."""
    counted = _counted(spans)
    calls = [span.llm for span in spans if span.llm is not None and span.span_id in counted]
    costs = [call.computed_cost_usd if call.cost_usd is None else call.cost_usd for call in calls]
    usage = Usage(
        len(calls),
        sum(call.input_tokens or 0 for call in calls),
        sum(call.output_tokens or 0 for call in calls),
        sum(cost for cost in costs if cost is not None),
    )
    return usage, counted


def _counted(spans: Collection[Span]) -> frozenset[bytes]:
    by_id = {span.span_id: span for span in spans}
    usage = {span.span_id for span in spans if span.llm is not None and _has_usage(span.llm)}
    counted = usage - {outer for span_id in usage for outer in _including(span_id, by_id)}
    quiet = {span.span_id for span in spans if span.llm is not None and span.llm.operation in PRICED_OPERATIONS} - usage
    repeats = {outer for span_id in usage | quiet for outer in _including(span_id, by_id)}
    return frozenset(counted | {span_id for span_id in quiet - repeats if counted.isdisjoint(_including(span_id, by_id))})


def _including(span_id: bytes, by_id: Mapping[bytes, Span]) -> Iterator[bytes]:
    """The ancestors of a call whose usage, if they have any, includes the call's."""
    operation, around = _operation(by_id[span_id]), by_id[span_id].parent_span_id
    same = operation in PRICED_OPERATIONS
    for _ in range(MAX_DEPTH):
        outer = by_id.get(around)
        if outer is None:
            return
        kind = _operation(outer)
        # An agent or a chain always sums up. A model call repeats an inner one only if both have the same operation and there is neither a
        # tool nor an agent between them: a call made by a tool is another call.
        if kind not in PRICED_OPERATIONS or (same and kind == operation):
            yield around
        same = same and kind not in OTHER_CALL
        around = outer.parent_span_id


def _operation(span: Span) -> str:
    return span.llm.operation if span.llm is not None else ""


def _has_usage(call: LlmCall) -> bool:
    # Zero is reported usage; None means that there is no report.
    return not (call.input_tokens is call.output_tokens is call.total_tokens is call.cost_usd is None)

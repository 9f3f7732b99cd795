"""What Datadog's agent keeps of a trace whose tracer decided not to keep it. Pure.

A decision is of a whole trace; tracers write it as the metric ``_sampling_priority_v1`` on one span of each flush. 1 and 2 keep, 0 is a rate's
refusal, -1 that of a rule or a person. Spans that a rule picked one by one say so themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from tael.datadog.span import DatadogSpan

PRIORITY = "_sampling_priority_v1"
_PICKED, _PICKED_BY_RULE = "_dd.span_sampling.mechanism", 8


def kept(trace: Sequence[DatadogSpan]) -> Sequence[DatadogSpan]:
    """The spans of one flush of one trace that are to be stored: all without a decision or with an error that a rate refused."""
    priority = next((span.metrics[PRIORITY] for span in trace if PRIORITY in span.metrics), 1)
    if priority > 0 or (priority == 0 and any(span.error for span in trace)):
        return trace
    return [span for span in trace if span.metrics.get(_PICKED) == _PICKED_BY_RULE]

"""Applies the tracer's sampling decision, as Datadog's agent does. Pure.

A decision applies to a whole trace; tracers write it as the metric ``_sampling_priority_v1`` on one span of each flush. 1 and 2 mean keep,
0 dropped by a rate, -1 dropped by a rule or manually. Spans that a rule keeps individually are marked.
"""

from __future__ import annotations

from collections.abc import Sequence

from tael.datadog.span import DatadogSpan

PRIORITY = "_sampling_priority_v1"
_PICKED, _PICKED_BY_RULE = "_dd.span_sampling.mechanism", 8


def kept(trace: Sequence[DatadogSpan]) -> Sequence[DatadogSpan]:
    """The spans of a flushed trace that are to be stored: all if there is no decision, or if a rate dropped them but one has an error."""
    priority = next((span.metrics[PRIORITY] for span in trace if PRIORITY in span.metrics), 1)
    if priority > 0 or (priority == 0 and any(span.error for span in trace)):
        return trace
    return [span for span in trace if span.metrics.get(_PICKED) == _PICKED_BY_RULE]

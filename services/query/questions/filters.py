"""Filters of spans and log records, shared by searches of stored and live items; pure."""

from __future__ import annotations

from typing import Final

from services.query.parameters import Parameters, parse_span_id, parse_trace_id
from tael.errors import Rejected
from tael.model.log import LEVELS
from tael.model.predicate import Predicate
from tael.model.search import find_logs, find_spans
from tael.model.span import STATUS_NAMES

SPAN_FILTERS: Final = ("service", "operation", "status", "min_duration_ms", "max_duration_ms", "model", "min_cost_usd")
LOG_FILTERS: Final = ("service", "severity", "min_severity", "body_contains", "words", "trace_id", "span_id")
"""The parameters that both kinds of searches have, besides ``attribute``, which can be repeated."""


def read_span_filters(parameters: Parameters) -> Predicate:
    """The predicate of SPAN_FILTERS, ``attribute``, ``trace_id`` and ``text``, as far as the endpoint knows them. Raises Rejected."""
    status = parameters.choice("status", STATUS_NAMES)
    low, high = parameters.milliseconds("min_duration_ms"), parameters.milliseconds("max_duration_ms")
    if low is not None and high is not None and low > high:
        raise Rejected("below min_duration_ms", where="max_duration_ms", accepted="milliseconds, at least min_duration_ms")
    return find_spans(
        service=parameters.text("service"),
        operation=parameters.text("operation"),
        status_code=STATUS_NAMES.index(status) if status else None,
        min_duration_ns=low,
        max_duration_ns=high,
        trace_id=parse_trace_id(parameters.text("trace_id")) if parameters.text("trace_id") else b"",
        model=parameters.text("model"),
        min_cost_usd=parameters.number("min_cost_usd"),
        attributes=parameters.key_values("attribute"),
        text=parameters.text("text"),
    )


def read_log_filters(parameters: Parameters) -> Predicate:
    """The predicate of LOG_FILTERS and ``attribute``. Raises Rejected."""
    severity, least = parameters.choice("severity", LEVELS), parameters.choice("min_severity", LEVELS)
    trace_id, span_id = parameters.text("trace_id"), parameters.text("span_id")
    return find_logs(
        service=parameters.text("service"),
        level=LEVELS.index(severity) if severity else None,
        min_level=LEVELS.index(least) if least else None,
        trace_id=parse_trace_id(trace_id) if trace_id else b"",
        span_id=parse_span_id(span_id) if span_id else b"",
        attributes=parameters.key_values("attribute"),
        body_contains=parameters.text("body_contains"),
        words=parameters.text("words"),
    )

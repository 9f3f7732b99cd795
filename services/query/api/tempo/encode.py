"""TraceQL's results in the JSON of Tempo's API, pure. Like protobuf's mapping: 64-bit integers are strings, zeros and empty strings left
out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tael.storage.work import Work
from tael.traceql.ast import KINDS, STATUSES, Attribute, Field, Intrinsic, Named, Static, Type
from tael.traceql.metrics import Exemplar, Grid, Labels, Series
from tael.traceql.results import FoundSpan, FoundSpanset, FoundTrace
from tael.traceql.spans import short_id
from tael.traceql.text import show_duration

NO_ROOT = "<root span not yet received>"
"""Tempo's text in place of a missing root's service."""
_STATUS_NAMES = {code: name for name, code in STATUSES.items()}
_KIND_NAMES = {code: name for name, code in KINDS.items()}
_TAG_TYPES = {
    Type.INT: "int",
    Type.FLOAT: "float",
    Type.BOOL: "bool",
    Type.STATUS: "keyword",
    Type.KIND: "keyword",
    Type.DURATION: "duration",
}


def any_value(value: Static | Sequence[Static] | None) -> dict[str, Any]:
    """A value as OTLP's AnyValue; nil is the string ``nil``."""
    if value is None:
        return {"stringValue": "nil"}
    if not isinstance(value, Static):
        return {"arrayValue": {"values": [any_value(one) for one in value]}}
    match value.type:
        case Type.BOOL:
            return {"boolValue": value.value}
        case Type.INT:
            return {"intValue": str(value.value)}
        case Type.FLOAT:
            return {"doubleValue": number(float(value.value or 0))}
        case _:
            return {"stringValue": text_of(value)}


def text_of(value: Static) -> str:
    """A value as text: durations as Go prints them, status and kind by their keyword."""
    match value.type:
        case Type.STATUS:
            return _STATUS_NAMES.get(int(value.value or 0), str(value.value))
        case Type.KIND:
            return _KIND_NAMES.get(int(value.value or 0), str(value.value))
        case Type.DURATION:
            return show_duration(int(value.value or 0))
        case Type.BOOL:
            return "true" if value.value else "false"
        case _:
            return str(value.value)


def number(value: float) -> float | int | str:
    """A double as in protobuf's JSON."""
    if math.isfinite(value):
        # From 2^53 on, doubles skip integers, and writing one in full would show digits that nobody sent.
        return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def traces(found: Sequence[FoundTrace], *, legacy: bool = False) -> list[dict[str, Any]]:
    """The ``traces`` of a search; those of a search by tags (``legacy``) have no spans."""
    return [_trace(trace, legacy=legacy) for trace in found]


def tag_value(value: Static) -> dict[str, str]:
    """An element of ``tagValues``."""
    text = text_of(value) if value.type is not Type.FLOAT else repr(value.value)
    return {"type": _TAG_TYPES.get(value.type, "string")} | ({"value": text} if text else {})


def series(found: Sequence[Series], grid: Grid, *, instant: bool) -> list[dict[str, Any]]:
    """The ``series`` of a metrics query."""
    times = grid.times_ms()
    return [_series(one, times, instant=instant) for one in found]


def metrics(work: Work) -> dict[str, Any]:
    """The ``metrics`` of an answer: jobs are shards, and bytes are those that their statements read. There are no blocks."""
    counts: dict[str, Any] = {
        "inspectedTraces": work.traces,
        "inspectedBytes": str(work.bytes) if work.bytes else "",
        "completedJobs": work.answered,
        "totalJobs": work.asked,
    }
    return {name: count for name, count in counts.items() if count}


def _trace(trace: FoundTrace, *, legacy: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"traceID": short_id(trace.trace_id), "rootServiceName": trace.root_service or NO_ROOT}
    if trace.root_name:
        body["rootTraceName"] = trace.root_name
    body["startTimeUnixNano"] = str(trace.start_ns)
    if trace.duration_ns >= 1_000_000:
        body["durationMs"] = trace.duration_ns // 1_000_000
    if legacy:
        return body
    sets = [_spanset(spanset) for spanset in trace.spansets]
    services = {name: {"spanCount": spans} | ({"errorCount": errors} if errors else {}) for name, (spans, errors) in trace.services.items()}
    return body | {"spanSet": sets[0], "spanSets": sets, "serviceStats": services}


def _spanset(spanset: FoundSpanset) -> dict[str, Any]:
    body: dict[str, Any] = {"spans": [_span(span) for span in spanset.spans], "matched": spanset.matched}
    if spanset.attributes:
        body["attributes"] = _labels(spanset.attributes)
    return body


def _span(span: FoundSpan) -> dict[str, Any]:
    body: dict[str, Any] = {"spanID": span.span_id.hex()}
    fields = dict(span.fields)
    name = fields.pop(Field(Intrinsic.NAME), None)
    if isinstance(name, Static) and name.value:
        body["name"] = name.value
    body["startTimeUnixNano"] = str(span.start_ns)
    if span.duration_ns:
        body["durationNanos"] = str(span.duration_ns)
    if fields:
        body["attributes"] = [{"key": _key(named), "value": any_value(value)} for named, value in fields.items()]
    return body


def _key(named: Named) -> str:
    return named.name if isinstance(named, Attribute) else named.intrinsic.value


def _labels(labels: Labels | Sequence[tuple[str, Static | Sequence[Static] | None]]) -> list[dict[str, Any]]:
    return [{"key": name, "value": any_value(value)} for name, value in labels]


def _series(one: Series, times: Sequence[int], *, instant: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"labels": _labels(one.labels)}
    if instant:
        body["value"] = number(float(one.values[0]))
    else:
        body["samples"] = [_sample(time, float(value)) for time, value in zip(times, one.values, strict=True) if not math.isnan(value)]
    if one.exemplars:
        body["exemplars"] = [_exemplar(exemplar) for exemplar in one.exemplars]
    return body


def _sample(time_ms: int, value: float) -> dict[str, Any]:
    return {"timestampMs": str(time_ms)} | ({"value": number(value)} if value else {})


def _exemplar(exemplar: Exemplar) -> dict[str, Any]:
    trace: Labels = (("trace:id", Static(Type.STRING, short_id(exemplar.trace_id))),)
    return {
        "labels": _labels(trace + exemplar.labels),
        "value": number(exemplar.value),
        "timestampMs": str(exemplar.time_ns // 1_000_000),
    }

"""Jaeger's search parameters to a query over spans, pure.

A trace matches when one of its spans has the service, the operation, a duration within the bounds, and each of the tags: as an attribute of
the span, its scope, its resource, an event or a link, or by a reserved name (``error``, ``span.kind``, ``span.status``, ``scope.name``,
``scope.version``, ``resource.KEY``). A tag's value is text, and is compared with values of any type that it can denote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.query.parameters import parse_duration_ns, parse_instant_ns, parse_trace_id
from tael.errors import Rejected
from tael.model import json_text
from tael.model.time import ALL_TIME, MAX_NS, NS_PER_SECOND, TimeRange
from tael.pb import jaeger_query_pb2, jaeger_query_v3_pb2
from tael.traceql.ast import KINDS, STATUSES, Attribute, Binary, Expression, Field, Filter, Intrinsic, Pipeline, Query, Scope, Static, Type
from tael.traceql.spans import SERVICE

DEFAULT_LIMIT, MAX_LIMIT = 100, 1500
_DEFAULT_LOOKBACK_NS: Final = 48 * 3600 * NS_PER_SECOND
_NO_SERVICE: Final = "missing-service-name"
_SCOPE: Final = {"scope.name": Intrinsic.INSTRUMENTATION_NAME, "scope.version": Intrinsic.INSTRUMENTATION_VERSION}
_OF_RESOURCE: Final = "resource."


TraceQuery: TypeAlias = "jaeger_query_pb2.TraceQueryParameters | jaeger_query_v3_pb2.TraceQueryParameters"


class Unprocessable(Rejected):
    """A request that Jaeger's storage would refuse, which Jaeger therefore answers with 500."""


@dataclass(frozen=True, slots=True)
class Search:
    """Traces to find: by query, or by id where ``trace_ids`` are given."""

    query: Query
    time_range: TimeRange
    limit: int
    trace_ids: tuple[bytes, ...] = ()


def parse_id(text: str) -> bytes:
    """A trace id of up to 32 hex digits. Raises Rejected with Jaeger's message."""
    if len(text) > 32:
        raise Rejected(f"TraceID cannot be longer than 32 hex characters: {text[:80]}")
    if re.fullmatch(r"[0-9a-fA-F]+", text) is None or (len(text) not in (16, 32) and len(text) % 2):
        raise Rejected("invalid length for TraceID" if len(text) % 2 else f"{text!r} is not hexadecimal")
    return parse_trace_id(text.rjust(32, "0"))


def parse_id_v3(text: str) -> bytes:
    """``parse_id`` with the error message of Jaeger's API v3."""
    try:
        return parse_id(text)
    except Rejected as error:
        raise Rejected(f"malformed parameter trace_id: {error.reason}") from error


def search(values: Mapping[str, list[str]], now_ns: int) -> Search:
    """The parameters of ``/api/traces``. Raises Rejected."""
    trace_ids = tuple(parse_id(text) for text in values.get("traceID", []))
    service = _first(values, "service")
    if not service and not trace_ids:
        raise Rejected("parameter 'service' is required")
    pairs = [*_json_tags("tags", values.get("tags", [])), *_colon_tags(values.get("tag", []))]
    bounds = [_duration(values, name) for name in ("minDuration", "maxDuration")]
    query = _query(service, _first(values, "operation"), pairs, *bounds)
    end_ns = _microseconds(values, "end", now_ns)
    lookback = _first(values, "lookback")
    back = parse_duration_ns(lookback, where="lookback") if re.fullmatch(r"\d+[smhdw]", lookback) else _DEFAULT_LOOKBACK_NS
    start_ns = _microseconds(values, "start", max(0, end_ns - back))
    return Search(query, _range(start_ns, end_ns), _limit(_first(values, "limit")), trace_ids)


def search_v3(values: Mapping[str, list[str]]) -> Search:
    """The parameters of ``/api/v3/traces``, in snake or camel case. Raises Rejected."""

    def value(name: str) -> str:
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), name)
        return _first(values, f"query.{name}") or _first(values, f"query.{camel}")

    first, last = value("start_time_min"), value("start_time_max")
    if not first or not last:
        raise Rejected("query.startTimeMin and query.startTimeMax are required")
    pairs = _json_tags("query.attributes", [value("attributes")] if value("attributes") else [])
    bounds = [parse_duration_ns(value(name), where=f"query.{name}") if value(name) else None for name in ("duration_min", "duration_max")]
    start_ns, end_ns = (
        parse_instant_ns(text, where=f"query.{name}") for text, name in ((first, "start_time_min"), (last, "start_time_max"))
    )
    limit = _limit(value("search_depth") or value("num_traces"))
    return _search(value("service_name"), value("operation_name"), pairs, bounds, (start_ns, end_ns), limit)


def search_message(message: TraceQuery, tags: Mapping[str, str], now_ns: int) -> Search:
    """The search of a gRPC request; without times, over everything up to now. Raises Rejected."""
    bounds = [_ns("duration_min", message.duration_min) or None, _ns("duration_max", message.duration_max) or None]
    times = _ns("start_time_min", message.start_time_min), _ns("start_time_max", message.start_time_max) or now_ns
    limit = _limit(str(message.search_depth or ""))
    return _search(message.service_name, message.operation_name, tags.items(), bounds, times, limit)


def _search(
    service: str,
    operation: str,
    pairs: Iterable[tuple[str, str]],
    bounds: Sequence[int | None],
    times: tuple[int, int],
    limit: int,
) -> Search:
    return Search(_query(service, operation, pairs, *bounds), _range(*times), limit)


def dependencies(values: Mapping[str, list[str]], now_ns: int) -> TimeRange:
    """The range of ``endTs`` and ``lookback``, which are milliseconds. Raises Rejected."""
    end_ms, lookback_ms = (_whole(values, name, default) for name, default in (("endTs", now_ns // 1_000_000), ("lookback", 86_400_000)))
    return _range(max(0, end_ms - lookback_ms) * 1_000_000, end_ms * 1_000_000)


def range_message(start: Timestamp, end: Timestamp, now_ns: int) -> TimeRange:
    """The range of a gRPC request; its end defaults to now, its start to the epoch. Raises Rejected."""
    return _range(_ns("start_time", start), _ns("end_time", end) or now_ns)


def hint(start: Timestamp, end: Timestamp) -> TimeRange | None:
    """The range of time in which to look for a trace, if a gRPC request gives one. Raises Rejected."""
    start_ns, end_ns = _ns("start_time", start), _ns("end_time", end) or ALL_TIME.end_ns - 1
    return _range(start_ns, end_ns) if start_ns or end_ns != ALL_TIME.end_ns - 1 else None


def _ns(name: str, message: Timestamp | Duration) -> int:
    """The nanoseconds of a time or a duration of protobuf, which can hold more than 64 bits of them. Raises Rejected."""
    try:
        ns = message.ToNanoseconds()
    except ValueError:
        ns = MAX_NS + 1
    if not -MAX_NS <= ns < MAX_NS:
        raise Rejected(f"{message.seconds} s and {message.nanos} ns", where=name, accepted="valid values of at most 292 years")
    return ns


def _range(start_ns: int, end_ns: int) -> TimeRange:
    if start_ns >= end_ns:
        raise Rejected("'end' should be after 'start'")
    # Jaeger's range includes its end, ours does not.
    return TimeRange(start_ns, end_ns + 1)


def _query(service: str, operation: str, pairs: Iterable[tuple[str, str]], least: int | None, most: int | None) -> Query:
    if least is not None and most is not None and most < least:
        raise Rejected("'maxDuration' should be greater than 'minDuration'")
    duration = Field(Intrinsic.DURATION)
    parts: list[Expression] = []
    if service:
        parts.append(Binary("=", SERVICE, Static(Type.STRING, "" if service == _NO_SERVICE else service)))
    if operation:
        parts.append(Binary("=", Field(Intrinsic.NAME), Static(Type.STRING, operation)))
    parts += [Binary(op, duration, Static(Type.DURATION, bound)) for op, bound in ((">=", least), ("<=", most)) if bound is not None]
    parts += [_tag(key, value) for key, value in pairs]
    return Query(Pipeline((Filter(_joined("&&", parts) if parts else Static(Type.BOOL, value=True)),)))


def _joined(op: str, parts: list[Expression]) -> Expression:
    found, *rest = parts
    for part in rest:
        found = Binary(op, found, part)
    return found


def _tag(key: str, value: str) -> Expression:
    if key == "error":
        return _error(value)
    if key == "span.status":
        return Binary("=", Field(Intrinsic.STATUS), Static(Type.STATUS, STATUSES.get(value.lower(), 0)))
    if key == "span.kind":
        return Binary("=", Field(Intrinsic.KIND), Static(Type.KIND, KINDS.get(value.lower(), 0)))
    if key in _SCOPE:
        return Binary("=", Field(_SCOPE[key]), Static(Type.STRING, value))
    if key.startswith(_OF_RESOURCE):
        places = [Attribute(Scope.RESOURCE, key.removeprefix(_OF_RESOURCE))]
    else:
        places = [Attribute(scope, key) for scope in (Scope.SPAN, Scope.INSTRUMENTATION, Scope.RESOURCE, Scope.EVENT, Scope.LINK)]
    return _joined("||", [one for place in places for one in _values(place, value)])


def _error(value: str) -> Expression:
    # The values that Go's ParseBool accepts. Any other value matches no span.
    truth = {
        **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), "="),
        **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), "!="),
    }
    if value not in truth:
        return Static(Type.BOOL, value=False)
    return Binary(truth[value], Field(Intrinsic.STATUS), Static(Type.STATUS, STATUSES["error"]))


def _values(place: Attribute, value: str) -> list[Expression]:
    # Eighteen digits fit into 64 bits with either sign; a longer number is compared only as text.
    literals = [Static(Type.STRING, value)]
    if re.fullmatch(r"-?\d{1,18}", value):
        literals.append(Static(Type.INT, int(value)))
    elif re.fullmatch(r"-?\d+\.\d+(?:[eE][+-]?\d+)?", value):
        literals.append(Static(Type.FLOAT, float(value)))
    elif value in ("true", "false"):
        literals.append(Static(Type.BOOL, value == "true"))
    found: list[Expression] = [Binary("=", place, literal) for literal in literals]
    elements = _elements(value)
    if elements:
        found.append(_joined("&&", [Binary("=", place, element) for element in elements]))
    return found


def _elements(value: str) -> list[Static]:
    """The elements of a list written as JSON; a list attribute matches when it has each of them."""
    if not value.startswith("["):
        return []
    try:
        found = json_text.from_text(value)
    except (ValueError, RecursionError):
        return []
    kinds: dict[type, Type] = {str: Type.STRING, bool: Type.BOOL, int: Type.INT, float: Type.FLOAT}
    return [Static(kinds[type(item)], item) for item in found if type(item) in kinds]


def _json_tags(name: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for text in texts:
        try:
            found = json_text.from_text(text)
        except (ValueError, RecursionError) as error:
            raise Rejected(f"malformed '{name}' parameter, cannot unmarshal JSON: {error}") from error
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise Rejected(f"malformed '{name}' parameter, expecting a JSON object of strings")
        pairs += found.items()
    return pairs


def _colon_tags(texts: Iterable[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        key, colon, value = text.partition(":")
        if not colon:
            raise Rejected(f"malformed 'tag' parameter, expecting key:value, received: {text}")
        pairs.append((key, value))
    return pairs


def _first(values: Mapping[str, list[str]], name: str) -> str:
    return next(iter(values.get(name, [])), "")


def _duration(values: Mapping[str, list[str]], name: str) -> int | None:
    text = _first(values, name)
    return parse_duration_ns(text, where=name) if text else None


def _whole(values: Mapping[str, list[str]], name: str, default: int) -> int:
    text = _first(values, name)
    if not text:
        return default
    if re.fullmatch(r"-?\d{1,18}", text) is None:
        raise Rejected(f"unable to parse param '{name}': {text!r} is not a whole number")
    return int(text)


def _microseconds(values: Mapping[str, list[str]], name: str, default_ns: int) -> int:
    text = _first(values, name)
    return _whole(values, name, 0) * 1000 if text else default_ns


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    if re.fullmatch(r"[+-]?\d{1,9}", text) is None:
        raise Rejected(f"limit: {text!r} is not a whole number")
    if not 0 < int(text) <= MAX_LIMIT:
        raise Unprocessable("search depth must be greater than 0 and less than max traces", where="limit", accepted=f"1 to {MAX_LIMIT}")
    return int(text)

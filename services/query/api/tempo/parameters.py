"""Converts the parameters of Tempo's search, tag and metrics endpoints to typed values, pure.

Source: Tempo's HTTP API documentation. Times are whole seconds since 1970, or RFC 3339; without a start, ``since`` gives the length of the range.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from services.query.parameters import parse_duration_ns, parse_instant_ns
from tael.errors import Rejected
from tael.model.time import NS_PER_MS, NS_PER_SECOND, TimeRange
from tael.traceql.ast import (
    KINDS,
    STATUSES,
    Attribute,
    Binary,
    Expression,
    Field,
    Filter,
    Intrinsic,
    Pipeline,
    Query,
    Scope,
    SpansetOperation,
    Spansets,
    Static,
    Type,
)
from tael.traceql.metrics import Grid

DEFAULT_LIMIT, DEFAULT_SPANS = 20, 3
MAX_SPANS = 100
"""The most spans of a spanset that may be requested by number, Tempo's limit."""
MAX_LIMIT = 10_000
MAX_TAGS = 10_000
"""The most names or values of tags in one answer."""
MAX_SAMPLES = 11_000
"""The most samples of a series, the limit of Prometheus' API."""
_DEFAULT_RANGE_NS = 3600 * NS_PER_SECOND
_ALL_NS = 365 * 86_400 * NS_PER_SECOND
_STEPS = (15, 30, 60, 300, 900, 1800, 3600, 21_600, 86_400)
_INTRINSIC_TAGS = {
    "name": Field(Intrinsic.NAME),
    "root.name": Field(Intrinsic.ROOT_NAME),
    "root.service.name": Field(Intrinsic.ROOT_SERVICE),
}


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The request of a search: ``limit`` traces, and ``max_spans`` of each spanset (0: all)."""

    time_range: TimeRange
    limit: int
    max_spans: int


def search_request(query: Mapping[str, str], now_ns: int) -> SearchRequest:
    """Read the parameters of a search. Raises Rejected."""
    if query.get("q") and query.get("tags"):
        raise Rejected("a search is by tags or by q", where="tags", accepted="one of the two")
    max_spans = _whole(query, "spss", DEFAULT_SPANS, least=0)
    if max_spans > MAX_SPANS:
        raise Rejected(
            f"spans per span set exceeds {MAX_SPANS}. received {max_spans}", where="spss", accepted=f"0 to {MAX_SPANS}; 0 for all"
        )
    return SearchRequest(range_of(query, now_ns), _whole(query, "limit", DEFAULT_LIMIT, least=1), max_spans)


def tag_limit(query: Mapping[str, str]) -> int:
    """The requested number of a scope's names or a tag's values; 0 requests the maximum. Raises Rejected."""
    return _whole(query, "limit", MAX_TAGS, least=0) or MAX_TAGS


def range_of(query: Mapping[str, str], now_ns: int, *, default_ns: int = _ALL_NS) -> TimeRange:
    """The range from ``start`` to ``end``, both included. Raises Rejected."""
    end = _instant(query, "end")
    since = query.get("since", "")
    length = parse_duration_ns(since, where="since") if since else default_ns
    end_ns = now_ns if end is None else end
    start = _instant(query, "start")
    start_ns = max(0, end_ns - length) if start is None else start
    if start_ns >= end_ns:
        raise Rejected(f"{query.get('start')} is not before end ({query.get('end')})", where="start", accepted="an instant before end")
    return TimeRange(start_ns, end_ns + 1)


def grid_of(query: Mapping[str, str], now_ns: int, *, instant: bool) -> Grid:
    """The times of a metrics query's samples. Raises Rejected."""
    time_range = range_of(query, now_ns, default_ns=_DEFAULT_RANGE_NS)
    start_ns, end_ns = time_range.start_ns, time_range.end_ns - 1
    if instant:
        return Grid.instant(start_ns, end_ns)
    text = query.get("step", "")
    step_ns = _step_ns(text) if text else _default_step_ns(end_ns - start_ns)
    grid = Grid.over(start_ns, end_ns, step_ns)
    if grid.count > MAX_SAMPLES:
        raise Rejected(
            f"{text or 'the default'} makes {grid.count} samples a series", where="step", accepted=f"at most {MAX_SAMPLES} samples"
        )
    return grid


def legacy_query(query: Mapping[str, str]) -> Query:
    """The TraceQL of a search by ``tags`` (logfmt), ``minDuration`` and ``maxDuration``: each holds for some span of the trace. Raises Rejected.

    Durations are the trace's, in whole milliseconds; one of less than a millisecond is ignored, as in Tempo.
    """
    parts = [_tag(name, value) for name, value in _logfmt(query.get("tags", ""))]
    duration = Field(Intrinsic.TRACE_DURATION)
    least, most = (
        parse_duration_ns(query[name], where=name) // NS_PER_MS if query.get(name) else 0 for name in ("minDuration", "maxDuration")
    )
    if query.get("maxDuration") and least > most:
        raise Rejected("must be greater than minDuration", where="maxDuration", accepted="a longer duration")
    parts += [
        Binary(op, duration, Static(Type.DURATION, milliseconds * NS_PER_MS))
        for op, milliseconds in ((">=", least), ("<=", most))
        if milliseconds
    ]
    first, *rest = [Filter(part) for part in parts] or [Filter(Static(Type.BOOL, value=True))]
    found: Spansets = first
    for part in rest:
        found = SpansetOperation("&&", found, part)
    return Query(Pipeline((found,)))


def _tag(name: str, value: str) -> Expression:
    if name == "status.code" and value in STATUSES:
        return Binary("=", Field(Intrinsic.STATUS), Static(Type.STATUS, STATUSES[value]))
    if name == "kind" and value in KINDS:
        return Binary("=", Field(Intrinsic.KIND), Static(Type.KIND, KINDS[value]))
    if name in _INTRINSIC_TAGS:
        return Binary("=", _INTRINSIC_TAGS[name], Static(Type.STRING, value))
    attribute = Attribute(Scope.ANY, name)
    found: Expression = Binary("=", attribute, Static(Type.STRING, value))
    if re.fullmatch(r"[+-]?\d{1,18}", value):
        found = Binary("||", found, Binary("=", attribute, Static(Type.INT, int(value))))
    elif value in ("true", "false"):
        found = Binary("||", found, Binary("=", attribute, Static(Type.BOOL, value == "true")))
    return found


def _logfmt(text: str) -> list[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Rejected(
            f"{text!r} is not logfmt: {error}", where="tags", accepted='key=value pairs such as service.name=shop name="GET /"'
        ) from error
    pairs = [word.partition("=") for word in words]
    for name, sign, _ in pairs:
        if not name or not sign:
            raise Rejected(f"{text!r} is not logfmt", where="tags", accepted='key=value pairs such as service.name=shop name="GET /"')
    if (twice := next((name for name, times in Counter(name for name, _, _ in pairs).items() if times > 1), None)) is not None:
        raise Rejected(f"tag {twice} has been set twice", where="tags", accepted="each name once")
    return [(name, value) for name, _, value in pairs]


def _instant(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    return parse_instant_ns(text, where=name) if text not in ("", "0") else None


def _whole(query: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    accepted = f"a whole number from {least} to {MAX_LIMIT}"
    if re.fullmatch(r"\d{1,9}", text) is None or int(text) < least:
        raise Rejected(f"{text!r} is not a number in range", where=name, accepted=accepted)
    return min(int(text), MAX_LIMIT)


def _step_ns(text: str) -> int:
    try:
        step = int(float(text) * NS_PER_SECOND)
    except ValueError:
        step = parse_duration_ns(text, where="step")
    if step < NS_PER_SECOND // 1000:
        raise Rejected(f"{text!r} is too short", where="step", accepted="a duration of at least 1ms")
    return step


def _default_step_ns(range_ns: int) -> int:
    """About 240 samples, in round steps: 15 s for an hour, as Tempo chooses."""
    wanted = range_ns / 240
    return next((step * NS_PER_SECOND for step in _STEPS if step * NS_PER_SECOND >= wanted), _STEPS[-1] * NS_PER_SECOND)

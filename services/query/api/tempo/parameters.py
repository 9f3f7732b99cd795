"""Converts the parameters of Tempo's search, tag and metrics endpoints to typed values, pure.

Source: Tempo's HTTP API documentation. Times are whole seconds since 1970, or RFC 3339; without a start, ``since`` gives the length of the
range.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from services.query.api.tempo.tags import COMMON
from services.query.parameters import parse_duration_ns, parse_instant_ns
from tael.errors import Rejected
from tael.model.time import NS_PER_MS, NS_PER_SECOND, TimeRange
from tael.traceql.ast import (
    STATUSES,
    Attribute,
    Binary,
    Expression,
    Field,
    Filter,
    Intrinsic,
    Named,
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
MAX_ASKED_LIMIT = 262_144
"""Traces that may be asked for, as Tempo bounds them."""
MAX_TAGS = 10_000
"""The most names or values of tags in one answer."""
MAX_SAMPLES = 11_000
"""The most samples of a series, the limit of Prometheus' API."""
_DEFAULT_RANGE_NS = 3600 * NS_PER_SECOND
_ALL_NS = 365 * 86_400 * NS_PER_SECOND
_STEPS = (3600, 300, 60, 15, 5, 1)
_SHORT_STEP_NS = 50 * NS_PER_MS
_NO_DURATION = re.compile(r"(0+(\.0*)?(ns|us|ms|s|m|h)?)?")
_PAIR = re.compile(r'\s*(?:([^\s="]+)(?:="((?:[^"\\]|\\.)*)"(?=\s|$)|=([^\s="]*)(?=\s|$)|(?=\s|$)))?\s*(?:(?<=\s)|$)')
"""One pair of logfmt, or spaces: a name, and a value in quotes or without."""
_ESCAPED = re.compile(r"\\(.)")
_META = frozenset(r"\.+*?()|[]{}^$")
_WHOLE_TAGS = frozenset({"http.response.status_code", "http.status_code"})
"""Tags whose values are whole numbers."""
_INTRINSIC_TAGS: dict[str, Named] = {
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
    for name in ("start", "end"):
        _whole_seconds(query, name)
    _trace_durations(query)
    max_spans = _whole(query, "spss", DEFAULT_SPANS, least=0)
    if max_spans > MAX_SPANS:
        raise Rejected(
            f"spans per span set exceeds {MAX_SPANS}. received {max_spans}", where="spss", accepted=f"0 to {MAX_SPANS}; 0 for all"
        )
    limit = query.get("limit", "")
    if limit.isdecimal() and int(limit[:10]) > MAX_ASKED_LIMIT:
        raise Rejected(
            f"{limit} exceeds {MAX_ASKED_LIMIT}",
            where="limit",
            accepted=f"a number up to {MAX_ASKED_LIMIT}; at most {MAX_LIMIT} are returned",
        )
    return SearchRequest(range_of(query, now_ns), _whole(query, "limit", DEFAULT_LIMIT, least=1), max_spans)


def _whole_seconds(query: Mapping[str, str], name: str) -> None:
    """Refuse what Tempo's search does not accept; its other endpoints take fractions and nanoseconds, too."""
    text = query.get(name, "")
    if text and not (text.isdecimal() and text.isascii() and int(text[:11]) < 1 << 32):
        raise Rejected(
            f"{text!r} is not a number of whole seconds", where=name, accepted="seconds since 1970 in a search, for example 1790000000"
        )


def tag_limit(query: Mapping[str, str]) -> int:
    """The requested number of a scope's names or a tag's values; 0, or a value that is not a number, requests the maximum."""
    limit = query.get("limit", "")
    return min(int(limit[:10]), MAX_TAGS) or MAX_TAGS if limit.isdecimal() else MAX_TAGS


def range_of(query: Mapping[str, str], now_ns: int) -> TimeRange:
    """The range from ``start`` to ``end``, both included; both are given, or neither. Raises Rejected."""
    if not query.get("since") and bool(query.get("start")) is not bool(query.get("end")):
        raise Rejected("only one of start and end was given", where="start", accepted="both or neither")
    found = _between(query, now_ns, _ALL_NS)
    if found.start_ns + 1 >= found.end_ns:
        raise Rejected(f"{query.get('start')} is not before end ({query.get('end')})", where="start", accepted="an instant before end")
    return found


def _between(query: Mapping[str, str], now_ns: int, default_ns: int) -> TimeRange:
    end = _instant(query, "end")
    since = query.get("since", "")
    length = parse_duration_ns(since, where="since") if since else default_ns
    end_ns = now_ns if end is None else end
    start = _instant(query, "start")
    start_ns = max(0, end_ns - length) if start is None else start
    if start_ns > end_ns:
        raise Rejected(f"{query.get('start')} is not before end ({query.get('end')})", where="start", accepted="an instant before end")
    return TimeRange(start_ns, end_ns + 1)


def grid_of(query: Mapping[str, str], now_ns: int, *, instant: bool) -> Grid:
    """The times of a metrics query's samples. Raises Rejected."""
    time_range = _between(query, now_ns, _DEFAULT_RANGE_NS)
    start_ns, end_ns = time_range.start_ns, time_range.end_ns - 1
    if instant and start_ns == end_ns:
        raise Rejected(f"{query.get('start')} is not before end ({query.get('end')})", where="start", accepted="an instant before end")
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
    """The TraceQL of a search by ``tags`` (logfmt), ``minDuration`` and ``maxDuration``: each holds for some span of the trace. Raises
    Rejected.

    Durations are the trace's, in whole milliseconds; one of less than a millisecond is ignored, as in Tempo.
    """
    parts = [_tag(name, value) for name, value in _logfmt(query.get("tags", ""))]
    duration = Field(Intrinsic.TRACE_DURATION)
    least, most = _trace_durations(query)
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


def _trace_durations(query: Mapping[str, str]) -> tuple[int, int]:
    """Whole milliseconds, 0 for none. A search by ``q`` has them looked at as well, and ignores them. Raises Rejected."""
    least, most = (
        0 if _NO_DURATION.fullmatch(query.get(name, "")) else parse_duration_ns(query[name], where=name) // NS_PER_MS
        for name in ("minDuration", "maxDuration")
    )
    if query.get("maxDuration") and least > most:
        raise Rejected("must be greater than minDuration", where="maxDuration", accepted="a longer duration")
    return least, most


def _tag(name: str, value: str) -> Expression:
    """Tempo's rules: what it has a column for holds the value somewhere in its text, other attributes, of the span or its resource, are
    that text.
    """
    if name == "status.code":
        return Binary("=", Field(Intrinsic.STATUS), Static(Type.STATUS, STATUSES.get(value, 0)))
    if name in _WHOLE_TAGS and re.fullmatch(r"[+-]?\d{1,18}", value):
        return Binary("=", Attribute(Scope.SPAN, name), Static(Type.INT, int(value)))
    if (field := _tag_column(name)) is not None:
        return Binary("=~", field, Static(Type.STRING, f"(?s).*{_quoted(value)}.*"))
    text = Static(Type.STRING, value)
    return Binary("||", *(Binary("=", Attribute(scope, name), text) for scope in (Scope.SPAN, Scope.RESOURCE)))


def _tag_column(name: str) -> Named | None:
    """The field that a tag is the column of."""
    scope = next((scope for scope, names in COMMON.items() if name in names and name not in _WHOLE_TAGS), None)
    return _INTRINSIC_TAGS.get(name) if scope is None else Attribute(scope, name)


def _quoted(value: str) -> str:
    """A pattern of the text itself."""
    return "".join(f"\\{char}" if char in _META else char for char in value)


def _logfmt(text: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None or match.end() == at:
            raise Rejected(
                f"{text!r} is not logfmt from character {at + 1} on",
                where="tags",
                accepted='key=value pairs such as service.name=shop name="GET /"',
            )
        name, quoted, bare = match.groups()
        if name:
            pairs.append((name, _ESCAPED.sub(r"\1", quoted) if quoted is not None else bare or ""))
        at = match.end()
    if (twice := next((name for name, times in Counter(name for name, _ in pairs).items() if times > 1), None)) is not None:
        raise Rejected(f"tag {twice} has been set twice", where="tags", accepted="each name once")
    return pairs


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
    """At least 240 samples where there is room for them, in multiples of round steps, as Tempo chooses: 15 s for an hour, 2 s for ten
    minutes.
    """
    wanted = range_ns // 240
    if range_ns < 60 * NS_PER_SECOND:
        return max(wanted // _SHORT_STEP_NS, 1) * _SHORT_STEP_NS
    round_ns = next((step * NS_PER_SECOND for step in _STEPS if step * NS_PER_SECOND < wanted), NS_PER_SECOND)
    return max(wanted // round_ns, 1) * round_ns

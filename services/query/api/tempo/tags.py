"""Which tags there are, and which spans a tag's values are looked up on; pure."""

from __future__ import annotations

from typing import Final

from tael.errors import Rejected
from tael.model import predicate as p
from tael.traceql.ast import Attribute, Field, Filter, Intrinsic, Named, Scope
from tael.traceql.needs import lower
from tael.traceql.parse import parse, parse_field
from tael.traceql.spans import SERVICE

INTRINSIC_TAGS: Final = (
    *(
        "duration",
        "event:name",
        "event:timeSinceStart",
        "instrumentation:name",
        "instrumentation:version",
        "kind",
        "link:spanID",
        "link:traceID",
    ),
    *("name", "rootName", "rootServiceName", "span:duration", "span:id", "span:kind", "span:name", "span:parentID", "span:status"),
    *(
        "span:statusMessage",
        "status",
        "statusMessage",
        "trace:duration",
        "trace:id",
        "trace:rootName",
        "trace:rootService",
        "traceDuration",
    ),
)
SCOPES: Final = (Scope.SPAN, Scope.RESOURCE, Scope.EVENT, Scope.LINK, Scope.INSTRUMENTATION)
_ROOT: Final = p.Compare(p.intrinsic("parent_span_id"), "=", b"")
_VALUELESS: Final = frozenset(
    {
        *(Intrinsic.DURATION, Intrinsic.TRACE_DURATION, Intrinsic.TRACE_ID, Intrinsic.SPAN_ID, Intrinsic.PARENT_ID),
        *(Intrinsic.EVENT_TIME_SINCE_START, Intrinsic.LINK_TRACE_ID, Intrinsic.LINK_SPAN_ID),
    }
)
"""Intrinsics of which every span has another value: nothing to complete."""


def scopes_of(text: str) -> tuple[Scope, ...]:
    """The scopes of attributes that ``scope`` asks for. Raises Rejected."""
    if text in ("", "none"):
        return SCOPES
    if text == "intrinsic":
        return ()
    found = tuple(scope for scope in SCOPES if scope.value == text)
    if not found:
        raise Rejected(
            f"invalid scope {text!r}", where="scope", accepted=", ".join((*(scope.value for scope in SCOPES), "intrinsic", "none"))
        )
    return found


def tag_of(text: str) -> tuple[tuple[Named, ...], p.Predicate]:
    """The fields whose values a tag stands for, and the spans that have them. Raises Rejected."""
    try:
        named = parse_field(text)
    except Rejected as error:
        raise Rejected(
            f"please provide a valid tag name: {error}", where="tag", accepted="such as resource.service.name, .http.route or name"
        ) from error
    if isinstance(named, Attribute):
        scopes = (Scope.SPAN, Scope.RESOURCE) if named.scope is Scope.ANY else (named.scope,)
        return tuple(Attribute(scope, named.name) for scope in scopes), p.EVERYTHING
    if named.intrinsic is Intrinsic.ROOT_NAME:
        return (Field(Intrinsic.NAME),), _ROOT
    if named.intrinsic is Intrinsic.ROOT_SERVICE:
        return (SERVICE,), _ROOT
    return () if named.intrinsic in _VALUELESS else (named,), p.EVERYTHING


def wanted(q: str, also: p.Predicate = p.EVERYTHING) -> p.Predicate:
    """The spans that ``q`` narrows values to: a single filter does, anything else is as good as none (Tempo's rule), so that typing is not disturbed."""
    try:
        pipeline = parse(q).pipeline if q.strip() else None
    except Rejected:
        pipeline = None
    only = pipeline.stages[0] if pipeline is not None and len(pipeline.stages) == 1 else None
    return p.all_of([lower(only.expression).predicate, also]) if isinstance(only, Filter) else also

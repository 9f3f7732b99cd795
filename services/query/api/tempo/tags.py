"""The known tags, and the spans on which a tag's values are looked up; pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from tael.errors import Rejected
from tael.model import predicate as p
from tael.traceql.ast import KINDS, STATUSES, Attribute, Field, Filter, Intrinsic, Named, Scope, Static, Type
from tael.traceql.needs import lower
from tael.traceql.parse import parse, parse_field

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
COMMON: Final = {
    Scope.RESOURCE: frozenset({"service.name", "k8s.cluster.name", "k8s.container.name", "k8s.namespace.name", "k8s.pod.name"}),
    Scope.SPAN: frozenset(
        {
            *("http.method", "http.request.method", "http.response.status_code", "http.route", "http.status_code", "http.url"),
            *("server.address", "server.port", "url.path", "url.route"),
        }
    ),
}
"""Names that are listed regardless of ``q`` if any span of the range has them, as in Tempo, which keeps them in dedicated columns."""
_VALUELESS: Final = frozenset(
    {
        *(Intrinsic.DURATION, Intrinsic.TRACE_DURATION, Intrinsic.TRACE_ID, Intrinsic.SPAN_ID, Intrinsic.PARENT_ID),
        *(Intrinsic.EVENT_TIME_SINCE_START, Intrinsic.LINK_TRACE_ID, Intrinsic.LINK_SPAN_ID),
    }
)
"""Intrinsics with a different value on every span, for which completion is useless."""
ENUMERATED: Final[dict[Named, tuple[Static, ...]]] = {
    Field(Intrinsic.STATUS): tuple(Static(Type.STATUS, code) for code in STATUSES.values()),
    Field(Intrinsic.KIND): tuple(Static(Type.KIND, code) for code in KINDS.values()),
}
"""The fields of which every value is listed, whether or not a span has it, as in Tempo."""


def scopes_of(text: str) -> tuple[Scope, ...]:
    """The scopes of attributes that the parameter ``scope`` selects. Raises Rejected."""
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


def _named(text: str) -> Named:
    try:
        return parse_field(text)
    except Rejected:
        # Grafana encodes names twice, for a proxy that decodes once. A name that is one as it came is taken as it is, as Tempo does.
        if (decoded := unquote(text)) == text:
            raise
        return parse_field(decoded)


def tag_of(text: str, *, narrowed: bool) -> tuple[Named, ...]:
    """The fields to which a tag refers; a name without a scope is an instrumentation scope's too, unless a query narrows the spans. Raises
    Rejected.
    """
    try:
        named = _named(text)
    except Rejected as error:
        raise Rejected(
            f"please provide a valid tag name: {error}", where="tag", accepted="such as resource.service.name, .http.route or name"
        ) from error
    if isinstance(named, Attribute):
        own = (Scope.SPAN, Scope.RESOURCE) if narrowed else (Scope.SPAN, Scope.RESOURCE, Scope.INSTRUMENTATION)
        scopes = own if named.scope is Scope.ANY else (named.scope,)
        return tuple(Attribute(scope, named.name) for scope in scopes)
    return () if named.intrinsic in _VALUELESS else (named,)


def wanted(q: str) -> p.Predicate:
    """The spans whose values are listed: those of the filter that ``q`` begins with. Without one, all, so that a half-typed query does no
    harm.
    """
    try:
        pipeline = parse(q).pipeline if q.strip() else None
    except Rejected:
        pipeline = None
    first = pipeline.stages[0] if pipeline is not None else None
    return lower(first.expression).predicate if isinstance(first, Filter) else p.EVERYTHING

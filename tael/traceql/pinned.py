"""Attributes whose value a search tells, so that it need not be read: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tael.traceql.ast import Attribute, Binary, Expression, Filter, Query, Scope, Static, Type
from tael.traceql.expressions import is_event, is_link
from tael.traceql.needs import fields, first_conditions, span_predicate
from tael.traceql.spans import SERVICE


def pinned(query: Query) -> Mapping[Attribute, Static]:
    """The attributes that have one value on every span that a search keeps, and are no list there: those that it requires to equal a text
    or a truth.

    None where a span's trace or its events decide, or more conditions than shards test, whose evaluation reads attributes of spans that are
    not kept. A service is never among them, since an answer shows it of every span.
    """
    alone = span_predicate(query.pipeline, lists=False)
    if alone is None or not alone.exact or any(is_event(named) or is_link(named) for named in fields(query)):
        return {}
    filters = [stage.expression for stage in query.pipeline.stages if isinstance(stage, Filter)]
    if any(first_conditions(one) != one for one in filters):
        return {}
    return {named: value for one in filters for named, value in _equal(one) if named != SERVICE}


def _equal(expression: Expression) -> Iterator[tuple[Attribute, Static]]:
    match expression:
        case Binary(op="&&", left=left, right=right):
            yield from _equal(left)
            yield from _equal(right)
        case (
            Binary(op="=", left=Attribute() as named, right=Static() as value)
            | Binary(op="=", left=Static() as value, right=Attribute() as named)
        ):
            # A number may be an integer or a float, and a name without a scope the span's or the resource's: both show in the answer.
            if value.type in (Type.STRING, Type.BOOL) and named.scope in (Scope.SPAN, Scope.RESOURCE):
                yield named, value

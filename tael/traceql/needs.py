"""What a query needs from the store, pure: the fields of each span, and a predicate that finds the traces worth reading.

A predicate here may match too much but never too little: every span for which the expression is true satisfies it, and ``exact`` says
whether no other does. Conditions that cannot be decided from one span (its place in the trace, sums, several conditions on the same event)
are left to the evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Final

from tael.model import predicate as p
from tael.model.patterns import anchored
from tael.traceql.ast import (
    EVENT_INTRINSICS,
    LINK_INTRINSICS,
    Aggregate,
    Attribute,
    Binary,
    Coalesce,
    Compare,
    Exists,
    Expression,
    Field,
    Filter,
    GroupBy,
    Intrinsic,
    MetricsAggregate,
    Named,
    Pipeline,
    Query,
    Scalar,
    Scope,
    Select,
    SpansetOperation,
    Stage,
    Static,
    Type,
    Unary,
    leaves_of,
)
from tael.traceql.columns import constant
from tael.traceql.expressions import COMPARISONS, compare, fields_of, is_event, is_link
from tael.traceql.spans import SERVICE, scoped

_SCOPES: dict[Scope, p.FieldScope] = {
    Scope.ANY: "any",
    Scope.SPAN: "attribute",
    Scope.RESOURCE: "resource",
    Scope.EVENT: "event",
    Scope.LINK: "link",
    Scope.INSTRUMENTATION: "instrumentation",
}
_INTRINSICS = {
    Intrinsic.NAME: "name",
    Intrinsic.DURATION: "duration",
    Intrinsic.STATUS: "status",
    Intrinsic.STATUS_MESSAGE: "status_message",
    Intrinsic.KIND: "kind",
    Intrinsic.INSTRUMENTATION_NAME: "scope_name",
    Intrinsic.INSTRUMENTATION_VERSION: "scope_version",
    Intrinsic.EVENT_NAME: "event_name",
    Intrinsic.EVENT_TIME_SINCE_START: "event_time_since_start",
}
_IDS = {
    Intrinsic.TRACE_ID: ("trace_id", 16),
    Intrinsic.SPAN_ID: ("span_id", 8),
    Intrinsic.PARENT_ID: ("parent_span_id", 8),
    Intrinsic.LINK_TRACE_ID: ("link_trace_id", 16),
    Intrinsic.LINK_SPAN_ID: ("link_span_id", 8),
}
_OF_ROOT: dict[Named, tuple[Named, ...]] = {
    Field(Intrinsic.ROOT_NAME): (Field(Intrinsic.NAME),),
    Field(Intrinsic.ROOT_SERVICE): (SERVICE,),
}
"""The fields to read from every span for a field of its trace's root."""
MOST_CONDITIONS: Final = 16
"""How many conditions on one span a store tests before a trace is read: planning a statement takes time for each, and so many leave few."""
MOST_TESTS: Final = 8
"""How many tests a trace has to pass in a store at most: each is a subquery of the one before, which ClickHouse plans more than once."""
_MIRRORED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Lowered:
    """A predicate that every span satisfies for which the expression is true; with ``exact``, no other span does."""

    predicate: p.Predicate
    exact: bool = False


@dataclass(frozen=True, slots=True)
class HasSpan:
    """The trace has a span that satisfies this."""

    predicate: p.Predicate


@dataclass(frozen=True, slots=True)
class AllOf:
    """The trace satisfies each of these."""

    parts: tuple[TraceTest, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The trace satisfies one of these."""

    parts: tuple[TraceTest, ...]


TraceTest = HasSpan | AllOf | AnyOf


ANYTHING = Lowered(p.EVERYTHING)


def lower(expression: Expression, *, lists: bool = True) -> Lowered:  # noqa: C901, PLR0911  # one line a kind of node
    """The predicate of a boolean expression over one span.

    With ``lists``, spans in which a compared attribute is a list satisfy it; without, it is meant for spans in which none is.
    """
    match expression:
        case Static(type=Type.BOOL, value=value):
            return Lowered(p.EVERYTHING if value else p.NOTHING, exact=True)
        case Attribute():
            return _alternatives(expression, [p.Compare(_field(expression), "=", value=True)], lists)
        case Exists(operand=Attribute(scope=Scope.RESOURCE | Scope.ANY, name=SERVICE.name), wanted=wanted):
            # Every resource has a service, even if it is the empty string.
            return Lowered(p.EVERYTHING if wanted else p.NOTHING, exact=True)
        case Exists(operand=Attribute() as named, wanted=True):
            return Lowered(p.Exists(_field(named)), exact=True)
        case Exists(operand=Attribute() as named) if _of_one_span(named):
            return Lowered(p.Not(p.Exists(_field(named))), exact=True)
        # Negating a predicate that matches too much gives one that matches too little: only exact ones may be negated, and never "some
        # event".
        case Unary(op="!", operand=operand) if not isinstance(operand, Attribute) and all(map(_of_one_span, fields_of(operand))):
            inner = lower(operand, lists=lists)
            return Lowered(p.Not(inner.predicate), exact=True) if inner.exact else ANYTHING
        case Binary(op="&&" | "||" as op, left=left, right=right):
            return _joined(op, lower(left, lists=lists), lower(right, lists=lists), same_element=_share_elements(left, right))
        case Binary(op=op, left=Attribute() | Field() as named, right=Static() as literal) if op in COMPARISONS:
            return _comparison(named, op, literal, lists)
        case Binary(op=op, left=Static() as literal, right=Attribute() | Field() as named) if op in _MIRRORED:
            return _comparison(named, _MIRRORED[op], literal, lists)
        case Binary(op=op) if op in COMPARISONS:
            # Both sides of a comparison have a value where it holds.
            attributes = [field for field in fields_of(expression) if isinstance(field, Attribute) and field != SERVICE]
            return Lowered(p.all_of(p.Exists(_field(attribute)) for attribute in attributes))
        case _:
            return ANYTHING


def listed(pipeline: Pipeline) -> list[p.Listed]:
    """For each attribute that the pipeline's filters compare, the predicate that it is a list."""
    return lists_in(stage.expression for stage in pipeline.stages if isinstance(stage, Filter))


def trace_test(pipeline: Pipeline, *, lists: bool = True) -> TraceTest:
    """What a trace must have for the pipeline to keep any of its spans; ``lists`` is as in ``lower``. Of very many
    spansets, or of a filter's very many conditions, only the first are in it.
    """
    tests = [_test(stage, lists) for stage in pipeline.stages]
    kept = tuple(test for test in tests if test != HasSpan(p.EVERYTHING))
    return kept[0] if len(kept) == 1 else _all_of(kept)


def first_conditions(expression: Expression) -> Expression:
    """The first MOST_CONDITIONS of an expression that are joined by ``&&``; every span that satisfies the expression satisfies these."""
    conditions = list(_conjuncts(expression))
    if len(conditions) <= MOST_CONDITIONS:
        return expression
    return reduce(lambda left, right: Binary("&&", left, right), conditions[:MOST_CONDITIONS])


def span_predicate(pipeline: Pipeline, *, lists: bool = True) -> Lowered | None:
    """A single predicate for the pipeline's spans, where each span can be decided on its own; None where its trace is needed."""
    found = Lowered(p.EVERYTHING, exact=True)
    for stage in pipeline.stages:
        if isinstance(stage, Select):
            continue
        if not isinstance(stage, Filter) or any(_of_trace(named) for named in _unlowered(stage.expression)):
            return None
        found = _joined("&&", found, lower(stage.expression, lists=lists), same_element=False)
    return found


def exact_filters(pipeline: Pipeline) -> list[Expression]:
    """The filters, wherever in the pipeline, that the store evaluates exactly for a single span in which no compared attribute
    is a list.
    """
    filters = (leaf.expression for stage in pipeline.stages for leaf in leaves_of(stage) if isinstance(leaf, Filter))
    return [one for one in dict.fromkeys(filters) if lower(one, lists=False).exact]


def lists_in(expressions: Iterable[Expression]) -> list[p.Listed]:
    """For each attribute that the expressions compare, the predicate that it is a list; a service is never one."""
    found = (named for expression in expressions for named in fields_of(expression))
    return [p.Listed(_field(named)) for named in dict.fromkeys(found) if isinstance(named, Attribute) and named != SERVICE]


def fields(query: Query, known: Collection[Expression] = ()) -> set[Named]:
    """Every field that the evaluation or the answer reads, besides ids and times; a name without a scope is read from span and resource.

    Filters that are ``known`` read no fields.
    """
    found = {named for stage in query.pipeline.stages for named in _stage_fields(stage, known)}
    if isinstance(query.metrics, MetricsAggregate):
        found |= {*query.metrics.by, *([query.metrics.of] if query.metrics.of else [])}
    if isinstance(query.metrics, Compare):
        found |= {*_stage_fields(query.metrics.selection), *_OF_ROOT}
    return {one for named in found for own in scoped(named) for one in (own, *_OF_ROOT.get(own, ()))}


def _test(stage: Stage, lists: bool) -> TraceTest:
    match stage:
        case Filter(expression=expression):
            return HasSpan(lower(first_conditions(expression), lists=lists).predicate)
        case Pipeline():
            return trace_test(stage, lists=lists)
        case SpansetOperation(op="||", left=left, right=right):
            return AnyOf((_test(left, lists), _test(right, lists)))
        # The left side must not match: a trace without it may be in the answer, and one with it too, through other spans.
        case SpansetOperation(op=op, right=right) if op.startswith("!"):
            return _test(right, lists)
        case SpansetOperation(left=left, right=right):
            return _all_of((_test(left, lists), _test(right, lists)))
        case _:
            return HasSpan(p.EVERYTHING)


def _all_of(parts: tuple[TraceTest, ...]) -> AllOf:
    """The tests or, of very many, the first of them."""
    single = tuple(_single(parts))
    return AllOf(parts) if len(single) <= MOST_TESTS else AllOf(single[:MOST_TESTS])


def _single(parts: Iterable[TraceTest]) -> Iterator[HasSpan | AnyOf]:
    for part in parts:
        if isinstance(part, AllOf):
            yield from _single(part.parts)
        else:
            yield part


def _joined(op: str, left: Lowered, right: Lowered, *, same_element: bool) -> Lowered:
    both, exact = (left.predicate, right.predicate), left.exact and right.exact
    if op == "||":
        parts = [inner for part in both for inner in (part.parts if isinstance(part, p.Or) else (part,))]
        return Lowered(p.EVERYTHING if p.EVERYTHING in both else p.Or(tuple(parts)), exact)
    # Two conditions on events must hold for the same event, which the predicate does not require.
    return Lowered(p.NOTHING if p.NOTHING in both else p.all_of(both), exact and not same_element)


def _conjuncts(expression: Expression) -> Iterator[Expression]:
    if isinstance(expression, Binary) and expression.op == "&&":
        yield from _conjuncts(expression.left)
        yield from _conjuncts(expression.right)
    else:
        yield expression


def _share_elements(left: Expression, right: Expression) -> bool:
    sides = [list(fields_of(side)) for side in (left, right)]
    return any(all(any(is_kind(named) for named in side) for side in sides) for is_kind in (is_event, is_link))


def _comparison(named: Named, op: str, literal: Static, lists: bool) -> Lowered:
    if isinstance(named, Field):
        return _intrinsic(named.intrinsic, op, literal)
    if literal.value is None:
        return Lowered(p.NOTHING, exact=True)
    field, leaves = _field(named), list(_leaves(_field(named), op, literal))
    if named == SERVICE:
        # Every resource has a service; one that was not sent is the empty string.
        empty = compare(op, constant(Static(Type.STRING, ""), 1), constant(literal, 1))[0]
        return Lowered(p.Or((*leaves, p.Not(p.Exists(field))) if empty else tuple(leaves)), exact=True)
    return _alternatives(named, leaves, lists)


def _alternatives(named: Attribute, leaves: Iterable[p.Predicate], lists: bool) -> Lowered:
    """The leaves or, with ``lists``, that the attribute is a list, whose elements the evaluation checks."""
    kept = (*leaves, *((p.Listed(_field(named)),) if lists else ()))
    return Lowered(kept[0] if len(kept) == 1 else p.Or(kept), exact=not lists)


def _leaves(field: p.Field, op: str, literal: Static) -> Iterator[p.Predicate]:
    """The comparison as leaves, one for each type of value for which it can hold."""
    value = literal.value
    assert value is not None
    if op in ("=~", "!~"):
        match = p.Regex(field, anchored(str(value)))
        # A span without the attribute satisfies neither operator: ``>= ""`` requires the attribute to exist and be a string.
        yield match if op == "=~" else p.all_of((p.Compare(field, ">=", ""), p.Not(match)))
    elif isinstance(value, bool | str):
        yield p.Compare(field, _OPS[op], value)
    else:
        yield from _number_leaves(field, op, value)


def _number_leaves(field: p.Field, op: str, value: float) -> Iterator[p.Predicate]:
    # Integers and floats are in different maps of the hot tier, so a number is looked up in both.
    yield p.Compare(field, _OPS[op], float(value))
    if float(value).is_integer():
        whole = int(value)
        if -(1 << 63) <= whole < 1 << 63:
            yield p.Compare(field, _OPS[op], whole)
            return
    # No integer equals the literal: an integer below it is at most its floor, one above it at least its ceiling.
    least, most = -(1 << 63), (1 << 63) - 1
    if op == "!=" or (op in ("<", "<=") and value > most) or (op in (">", ">=") and value < least):
        yield p.Compare(field, ">=", least)
    elif op in ("<", "<=") and value > least:
        yield p.Compare(field, "<=", math.floor(value))
    elif op in (">", ">=") and value < most:
        yield p.Compare(field, ">=", math.ceil(value))


def _intrinsic(intrinsic: Intrinsic, op: str, literal: Static) -> Lowered:
    if literal.value is None:
        return Lowered(p.NOTHING, exact=True)
    if intrinsic in _IDS:
        return _id(intrinsic, op, str(literal.value))
    if intrinsic is Intrinsic.NESTED_SET_PARENT and (op, literal.value) in (("<", 0), ("=", -1), ("<=", -1)):
        return Lowered(p.Compare(p.intrinsic("parent_span_id"), "=", b""), exact=True)
    if intrinsic not in _INTRINSICS:
        return ANYTHING
    leaves = _leaves(p.intrinsic(_INTRINSICS[intrinsic]), op, literal)
    # Numeric intrinsics are integers, so the comparison with floats is dropped.
    kept = tuple(leaf for leaf in leaves if not isinstance(leaf, p.Compare) or not isinstance(leaf.value, float))
    return Lowered(kept[0] if len(kept) == 1 else p.Or(kept), exact=True)


def _id(intrinsic: Intrinsic, op: str, text: str) -> Lowered:
    name, size = _IDS[intrinsic]
    # The hot tier has ids as bytes, which sort like their hex texts only for equal lengths, so ordering is left to the evaluation.
    if op not in ("=", "!=") or (intrinsic is Intrinsic.PARENT_ID and not text):
        return ANYTHING
    try:
        value = bytes.fromhex(text.rjust(2 * size, "0") if intrinsic in (Intrinsic.TRACE_ID, Intrinsic.LINK_TRACE_ID) else text)
    except ValueError:
        value = b""
    if len(value) != size:
        return Lowered(p.NOTHING, exact=True) if op == "=" else ANYTHING
    return Lowered(p.Compare(p.intrinsic(name), _OPS[op], value), exact=True)


def _field(named: Attribute) -> p.Field:
    return p.Field(_SCOPES[named.scope], named.name)


_OPS: dict[str, p.Operator] = {"=": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def _of_one_span(named: Named) -> bool:
    return not (is_event(named) or is_link(named))


_OF_SPAN = frozenset({*_INTRINSICS, Intrinsic.TRACE_ID, Intrinsic.SPAN_ID, Intrinsic.PARENT_ID, *EVENT_INTRINSICS, *LINK_INTRINSICS})


def _unlowered(expression: Expression) -> Iterator[Named]:
    """The fields of an expression, without the root test (``nestedSetParent < 0``), which can be decided from one span."""
    match expression:
        case Binary(op=op, left=Field(intrinsic=Intrinsic.NESTED_SET_PARENT) as named, right=Static() as literal):
            if not _intrinsic(named.intrinsic, op, literal).exact:
                yield named
        case Binary(left=left, right=right):
            yield from _unlowered(left)
            yield from _unlowered(right)
        case Unary(operand=operand) | Exists(operand=operand):
            yield from _unlowered(operand)
        case _:
            yield from fields_of(expression)


def _of_trace(named: Named) -> bool:
    """Whether a field needs the whole trace."""
    return isinstance(named, Field) and named.intrinsic not in _OF_SPAN


def _stage_fields(stage: Stage | Scalar, known: Collection[Expression] = ()) -> Iterator[Named]:
    for leaf in leaves_of(stage):
        match leaf:
            case Filter(expression=expression) if expression in known:
                pass
            case Filter(expression=expression) | GroupBy(expression=expression) | Aggregate(expression=expression):
                yield from fields_of(expression)
            case Select(fields=named):
                yield from named
            case Coalesce() | Static():
                pass

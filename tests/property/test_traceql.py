"""TraceQL's vectorised evaluation and its pushed-down predicates against plain loops over single spans."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tael.model.span import Resource, Scope, Span
from tael.otlp.matches import span_test
from tael.traceql.ast import (
    Attribute,
    Binary,
    Exists,
    Expression,
    Field,
    Filter,
    Intrinsic,
    Pipeline,
    Query,
    SpansetOperation,
    Static,
    Type,
    Unary,
)
from tael.traceql.ast import Scope as FieldScope
from tael.traceql.expressions import matching
from tael.traceql.needs import fields, lower
from tael.traceql.parse import parse
from tael.traceql.spansets import matched
from tael.traceql.structure import structure_of
from tael.traceql.text import show
from tests.support.traceql import block_of

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
VALUES: tuple[Any, ...] = ("", "a", "b", 0, 1, 2, -1, 1.0, 1.5, 2.0, True, False, ["a", "b"], [1, 2], b"x", None)
KEYS = ("k", "l")
FEW = settings(deadline=None, max_examples=60)
SHAPES = st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 7)), min_size=1, max_size=12)
"""Spans as (trace, parent): the row of another span of the same trace, or -1, or a row that is not there."""


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Spans of up to three traces, with parents that may be missing or of another trace."""
    found = []
    for row, (trace, parent) in enumerate(draw(SHAPES)):
        own = draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)))
        resource = draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)))
        start = 1_000_000_000 + row
        found.append(
            Span(
                bytes([trace]) * 16,
                row.to_bytes(8, "big", signed=False)[:7] + bytes([row + 1]),
                b"" if parent < 0 else bytes(7) + bytes([parent + 1]),
                draw(st.sampled_from(("a", "b"))),
                draw(st.integers(0, 5)),
                start,
                start + draw(st.integers(0, 3)),
                Resource(resource),
                Scope(),
                attributes=own,
                status_code=draw(st.integers(0, 2)),
            )
        )
    return found


ATTRIBUTES = st.builds(Attribute, st.sampled_from((FieldScope.ANY, FieldScope.SPAN, FieldScope.RESOURCE)), st.sampled_from(KEYS))
LITERALS = st.sampled_from(
    [
        *(Static(Type.STRING, text) for text in ("", "a", "b")),
        *(Static(Type.INT, number) for number in (-1, 0, 1, 2)),
        *(Static(Type.FLOAT, number) for number in (1.0, 1.5, -0.5)),
        *(Static(Type.BOOL, value) for value in (True, False)),
    ]
)


def compared(op: str, named: Attribute, literal: Static) -> Expression:
    return Binary(op if literal.type is not Type.BOOL or op in ("=", "!=") else "=", named, literal)


COMPARED = st.builds(compared, st.sampled_from(sorted(COMPARISONS)), ATTRIBUTES, LITERALS)
DURATIONS = st.builds(
    Binary,
    st.sampled_from(sorted(COMPARISONS)),
    st.just(Field(Intrinsic.DURATION)),
    st.builds(Static, st.just(Type.DURATION), st.integers(0, 3)),
)
NAMES = st.builds(
    Binary, st.sampled_from(("=", "!=")), st.just(Field(Intrinsic.NAME)), st.sampled_from([Static(Type.STRING, t) for t in "ab"])
)
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    COMPARED | DURATIONS | NAMES | st.builds(Exists, ATTRIBUTES, st.booleans()),
    lambda inner: st.builds(Binary, st.sampled_from(("&&", "||")), inner, inner) | st.builds(Unary, st.just("!"), inner),
    max_leaves=6,
)


def value(span: Span, named: Attribute | Field) -> Any:
    if isinstance(named, Field):
        return span.name if named.intrinsic is Intrinsic.NAME else span.duration_ns
    tables = {FieldScope.SPAN: [span.attributes], FieldScope.RESOURCE: [span.resource.attributes]}
    for table in tables.get(named.scope, [span.attributes, span.resource.attributes]):
        if named.name in table:
            return [] if table[named.name] is None else table[named.name]
    return None


def holds(op: str, held: Any, literal: Any) -> bool:
    if isinstance(held, list):
        return any(holds(op, element, literal) for element in held)
    numbers = all(isinstance(side, int | float) and not isinstance(side, bool) for side in (held, literal))
    return (numbers or type(held) is type(literal)) and COMPARISONS[op](held, literal)


def unlike(conjunction: Expression) -> list[tuple[Attribute, Any]]:
    match conjunction:
        case Binary(op="&&", left=left, right=right):
            return unlike(left) + unlike(right)
        case Binary(op="!=", left=Attribute() as named, right=Static(value=literal)):
            return [(named, literal)]
    return []


def one_element(span: Span, conjunction: Expression) -> bool:
    """Whether each list has an element that none of the attribute's ``!=`` excludes, where there are several."""
    conditions = unlike(conjunction)
    for named in {named for named, _ in conditions}:
        literals = [literal for other, literal in conditions if other == named]
        held = value(span, named) if len(literals) > 1 else None
        if isinstance(held, list) and not any(all(holds("!=", element, literal) for literal in literals) for element in held):
            return False
    return True


def true_of(span: Span, expression: Expression) -> bool:
    """The value of an expression for one span, as tael/traceql/expressions.py defines it."""
    match expression:
        case Exists(operand=operand, wanted=wanted):
            assert isinstance(operand, Attribute)
            return (value(span, operand) is not None) == wanted
        case Unary(operand=operand):
            return not true_of(span, operand)
        case Binary(op="&&", left=left, right=right):
            return true_of(span, left) and true_of(span, right) and one_element(span, expression)
        case Binary(op="||", left=left, right=right):
            return true_of(span, left) or true_of(span, right)
        case Binary(op=op, left=Attribute() | Field() as named, right=Static(value=literal)):
            return holds(op, value(span, named), literal)
    raise AssertionError(expression)


def ordered(found: Sequence[Span]) -> list[Span]:
    return sorted(found, key=lambda span: (span.trace_id, span.start_ns, span.span_id))


def query_of(expression: Expression) -> Query:
    return Query(Pipeline((Filter(expression),)))


@FEW
@given(spans(), EXPRESSIONS)
def test_expressions_agree_with_a_plain_loop(found: list[Span], expression: Expression) -> None:
    """A filter over columns finds the same spans as testing each by itself."""
    mask = matching(expression, block_of(found, list(fields(query_of(expression)))))
    assert mask.tolist() == [true_of(span, expression) for span in ordered(found)]


@FEW
@given(spans(), EXPRESSIONS)
def test_pushed_down_predicates_lose_no_match(found: list[Span], expression: Expression) -> None:
    """The predicate holds for every matching span; if it is exact, for no other; without lists, it is exact if there are none."""
    for lists in (True, False):
        lowered = lower(expression, lists=lists)
        test = span_test(lowered.predicate)
        for span in found:
            held, true = test(span), true_of(span, expression)
            has_list = any(isinstance(item, list) for table in (span.attributes, span.resource.attributes) for item in table.values())
            if lists:
                assert held or not true
            elif lowered.exact and not has_list:
                assert held == true


@given(EXPRESSIONS)
def test_text_parses_to_the_same_tree(expression: Expression) -> None:
    """The printed text of a query means the same query."""
    shown = show(Filter(expression))
    assert parse(shown).pipeline.stages[0] == Filter(expression), shown


def above(parents: Sequence[int], row: int) -> list[int]:
    chain: list[int] = []
    while (row := parents[row]) >= 0 and row not in chain:
        chain.append(row)
    return chain


@FEW
@given(spans(), st.sampled_from((">", "<", ">>", "<<", "~", "!>", "!<", "!>>", "!<<", "!~", "&>", "&<", "&>>", "&<<", "&~", "&&", "||")))
def test_structure_agrees_with_a_plain_loop(found: list[Span], op: str) -> None:
    """``{ name = "a" } op { name = "b" }`` against pairs of spans."""
    rows = ordered(found)
    structure = structure_of(
        np.array([span.trace_id[0] for span in rows]), [span.span_id for span in rows], [span.parent_span_id for span in rows]
    )
    parents = structure.parent.tolist()
    rooted = [parents[(above(parents, row) or [row])[-1]] == -1 for row in range(len(rows))]

    def related(kind: str, left: int, right: int) -> bool:
        if rows[left].trace_id != rows[right].trace_id or not (rooted[left] and rooted[right]):
            return False
        relations: dict[str, bool] = {
            ">": parents[right] == left,
            "<": parents[left] == right,
            ">>": left in above(parents, right),
            "<<": right in above(parents, left),
            "~": left != right and parents[left] == parents[right],
        }
        return relations[kind]

    lefts = [row for row, span in enumerate(rows) if span.name == "a"]
    rights = [row for row, span in enumerate(rows) if span.name == "b"]
    kind = op.lstrip("!&")
    if op in ("&&", "||"):
        by_trace = {span.trace_id: {other.name for other in rows if other.trace_id == span.trace_id} for span in rows}
        expected = {row for row in range(len(rows)) if op == "||" or by_trace[rows[row].trace_id] == {"a", "b"}}
    elif op.startswith("!"):
        expected = {right for right in rights if not any(related(kind, left, right) for left in lefts)}
    else:
        expected = {right for right in rights if any(related(kind, left, right) for left in lefts)}
        if op.startswith("&"):
            expected |= {left for left in lefts if any(related(kind, left, right) for right in rights)}
    sides = [Filter(Binary("=", Field(Intrinsic.NAME), Static(Type.STRING, name))) for name in "ab"]
    mask = matched(Pipeline((SpansetOperation(op, *sides),)), block_of(found, []))
    assert set(np.flatnonzero(mask).tolist()) == expected

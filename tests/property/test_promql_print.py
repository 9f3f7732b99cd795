"""The text of any tree parses to the same tree, on one line and on several."""

from __future__ import annotations

import contextlib
import json
import math
import re
from dataclasses import replace
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from tael.errors import Rejected
from tael.model.series import METRIC_NAME, Matcher, MatchOp
from tael.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Card,
    Duration,
    Expr,
    Matching,
    MatrixSelector,
    Number,
    Paren,
    String,
    Subquery,
    VectorSelector,
    children,
)
from tael.promql.errors import ParseError
from tael.promql.parse import parse
from tael.promql.prepare import prepare, rebuilt
from tael.promql.print import pretty, printed
from tael.promql.tree import document
from tael.syntax.literals import decimal, duration, duration_ms, number, quoted, unquoted
from tael.vectors.values import Steps

WORDS = st.sampled_from(["up", "http_requests_total", "job:rate5m", "by", "offset", "sum", "start", "fill", "and", "_x", "anchored"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
LABELS = st.sampled_from(["job", "le", "by", "bool", "on", "service.name", "a b", "größe", 'quo"te'])
FLOATS = st.floats(allow_nan=False)
MILLISECONDS = st.integers(1, 10**11)


@st.composite
def selectors(draw: st.DrawFn) -> VectorSelector:
    name = draw(WORDS | st.just(""))
    ops: st.SearchStrategy[MatchOp] = st.sampled_from(["=", "!="])
    matchers = [Matcher(draw(LABELS), draw(ops), draw(TEXTS)) for _ in range(draw(st.integers(0, 3)))]
    if name:
        matchers.append(Matcher(METRIC_NAME, "=", name))
    else:
        matchers.insert(0, Matcher("job", "=", "some"))
    kind = draw(st.sampled_from(["", "", "anchored", "smoothed"]))
    bounds: st.SearchStrategy[Literal["start", "end"]] = st.sampled_from(["start", "end"])
    at = draw(st.none() | bounds | st.integers(-(10**12), 10**12))
    offset = draw(st.just(0) | MILLISECONDS | MILLISECONDS.map(lambda ms: -ms) | offsets())
    return VectorSelector(name, tuple(matchers), offset, at, anchored=kind == "anchored", smoothed=kind == "smoothed")


def terms() -> st.SearchStrategy[Duration | Number]:
    literals = st.integers(1, 10**6).map(lambda count: Number(float(count))) | MILLISECONDS.map(lambda ms: Number(ms / 1000, duration=True))
    functions = st.sampled_from(["step", "range"]).map(Duration)
    extremes = st.builds(Duration, st.sampled_from(["max_of", "min_of"]), literals, literals | functions)
    return literals | functions | extremes


@st.composite
def calculations(draw: st.DrawFn) -> Duration:
    left, right = draw(terms()), draw(terms())
    inner = Duration(draw(st.sampled_from("+-*/%^")), left, right)
    return draw(st.just(inner) | st.just(Duration("+", replace(inner, wrapped=True), draw(terms()))))


def offsets() -> st.SearchStrategy[Duration]:
    wrapped = calculations().map(lambda inner: replace(inner, wrapped=True))
    return wrapped | wrapped.map(lambda inner: Duration("-", None, inner)) | st.just(Duration("step"))


@st.composite
def ranges(draw: st.DrawFn, inner: st.SearchStrategy[Expr]) -> Expr:
    window = draw(MILLISECONDS | calculations())
    if draw(st.booleans()):
        selector = draw(selectors())
        return MatrixSelector(selector, window)
    return Subquery(
        Paren(draw(inner)), window, draw(st.none() | MILLISECONDS), draw(st.just(0) | MILLISECONDS), draw(st.none() | st.just(5000))
    )


@st.composite
def matchings(draw: st.DrawFn) -> Matching:
    cards: st.SearchStrategy[Card] = st.sampled_from(["one-to-one", "many-to-one", "one-to-many"])
    card = draw(cards)
    on = draw(st.booleans())
    labels = tuple(draw(st.lists(LABELS, max_size=2, unique=True)))
    include = tuple(draw(st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True))) if card != "one-to-one" else ()
    fill = st.none() | FLOATS
    return Matching(card, on, labels, include, draw(fill), draw(fill))


@st.composite
def binaries(draw: st.DrawFn, inner: st.SearchStrategy[Expr]) -> Expr:
    left, right = Paren(draw(inner)), Paren(draw(inner))
    if draw(st.booleans()):
        op = draw(st.sampled_from(["==", "<", ">=", "+", "^", "atan2", "</"]))
        return Binary(op, left, right, draw(matchings()), op in ("==", "<", ">=") and draw(st.booleans()))
    return Binary(draw(st.sampled_from(["and", "or", "unless"])), left, right, Matching("many-to-many"))


@st.composite
def aggregates(draw: st.DrawFn, inner: st.SearchStrategy[Expr]) -> Expr:
    grouping, without = tuple(draw(st.lists(LABELS, max_size=2))), draw(st.booleans())
    op, param = draw(
        st.sampled_from([("sum", None), ("limitk", Number(3.0)), ("quantile", Number(-0.5)), ("count_values", String('é"\n'))])
    )
    return Aggregate(op, draw(inner), param, grouping, without)


def calls(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return (
        inner.map(lambda arg: Call("abs", (arg,)))
        | ranges(inner).map(lambda arg: Call("rate", (arg,)))
        | st.builds(lambda arg, text: Call("label_replace", (arg, *(String(text),) * 4)), inner, TEXTS)
        | st.builds(lambda number: Call("vector", (Number(number),)), FLOATS)
    )


VECTORS: st.SearchStrategy[Expr] = st.recursive(
    selectors(), lambda inner: binaries(inner) | aggregates(inner) | calls(inner) | inner.map(Paren), max_leaves=8
)


@given(VECTORS)
@settings(max_examples=150)
def test_text_parses_to_the_tree_that_it_was_made_of(expr: Expr) -> None:
    assert printed(parse(printed(expr))) == printed(expr)
    assert _sorted(parse(printed(expr))) == _sorted(expr)
    assert printed(parse(pretty(expr))) == printed(expr)


def _sorted(expr: Expr) -> Expr:
    """Matchers are printed in the order of their text; their order has no meaning."""
    if isinstance(expr, VectorSelector):
        return replace(expr, matchers=tuple(sorted(expr.matchers, key=repr)))
    return rebuilt(expr, [_sorted(child) for child in children(expr)])


@given(TEXTS)
def test_quoted_text_reads_back(text: str) -> None:
    assert unquoted(quoted(text)) == text


@given(st.floats())
def test_decimals_read_back_as_the_same_number(value: float) -> None:
    text = decimal(value)
    assert "e" not in text
    assert math.isnan(value) if text == "NaN" else number(text.lstrip("-")) == abs(value)


@given(st.integers(0, 9 * 10**12))
def test_durations_read_back(milliseconds: int) -> None:
    assert duration_ms(duration(milliseconds)) == milliseconds


CHARACTERS = "(){}[],:=+-*/%^<>@!~#\"'`\\.\n_é\x00 "
WORDS_AND_SIGNS = """
== =~ sum by on bool offset start end() step() rate a 5m 1e 0x inf group_left fill( anchored max_of( "b" __name__ '\\x count_values info [1m:
"""
TOKENS = st.sampled_from([*CHARACTERS, *WORDS_AND_SIGNS.split()])


@given(st.lists(TOKENS, max_size=25).map("".join) | st.text(max_size=40))
@settings(max_examples=400)
def test_no_text_is_too_odd_to_be_refused(query: str) -> None:
    """Any text either parses or is refused with a position; what parses can be prepared, printed and converted to JSON."""
    try:
        expr = parse(query)
    except ParseError as problem:
        told = str(problem)
        if not re.match(r"(\d+:\d+|unknown position): parse error: .", told, re.DOTALL):
            raise AssertionError(told) from problem
        return
    assert parse(printed(expr)) is not None
    json.dumps(document(expr))
    with contextlib.suppress(Rejected):
        prepare(query, expr, Steps(0, 60_000, 15_000))

"""The parser of label matchers and label filters."""

from __future__ import annotations

from typing import Final, Literal, cast

from tael.errors import Rejected
from tael.logql.ast import (
    BothFilters,
    CompareOp,
    DurationFilter,
    EitherFilter,
    IpFilter,
    LabelFilter,
    NumberFilter,
    SizeFilter,
    TextFilter,
)
from tael.logql.errors import ParseError
from tael.logql.quantities import go_float
from tael.logql.tokens import Tokens
from tael.model.patterns import compiled
from tael.model.series import Matcher, MatchOp

MATCH_OPS: Final = ("=", "!=", "=~", "!~")
_COMPARISONS: Final = ("=", "==", "!=", ">", ">=", "<", "<=")
_OR, _AND = 1, 2


def matcher(tokens: Tokens) -> Matcher:
    """Parse ``name="value"``. Raises ParseError, also for an invalid regular expression."""
    name = tokens.expect("IDENTIFIER").text
    op = cast("MatchOp", tokens.expect(*MATCH_OPS).kind)
    return checked_matcher(name, op, tokens.text())


def checked_matcher(name: str, op: MatchOp, value: str) -> Matcher:
    """A matcher whose regular expression compiles. Raises ParseError."""
    if op in ("=~", "!~"):
        try:
            compiled(value)
        except Rejected as problem:
            raise ParseError(str(problem)) from None
    return Matcher(name, op, value)


def label_filter(tokens: Tokens, least: int = 0) -> LabelFilter:
    """A label filter. ``and`` binds more tightly than ``or``; everything after a comma, or after another filter, is one operand."""
    tokens.deeper()
    left = _condition(tokens)
    while True:
        kind = tokens.peek()
        if kind == "," or kind in ("IDENTIFIER", "("):
            tokens.take(",")
            left = BothFilters(left, label_filter(tokens))
        elif kind == "or" and least < _OR:
            tokens.next()
            left = EitherFilter(left, label_filter(tokens, _OR))
        elif kind == "and" and least < _AND:
            tokens.next()
            left = BothFilters(left, label_filter(tokens, _AND))
        else:
            tokens.depth -= 1
            return left


def _condition(tokens: Tokens) -> LabelFilter:
    if tokens.take("("):
        inner = label_filter(tokens)
        tokens.expect(")")
        return inner
    name = tokens.expect("IDENTIFIER", "(").text
    op = tokens.expect("=~", "!~", *_COMPARISONS).kind
    if op in ("=~", "!~"):
        return TextFilter(checked_matcher(name, cast("MatchOp", op), tokens.text()))
    compare = cast("CompareOp", "==" if op == "=" else op)
    if op in ("=", "!=") and tokens.peek() == "STRING":
        return TextFilter(Matcher(name, cast("MatchOp", op), tokens.text()))
    if op in ("=", "!=") and tokens.take("ip"):
        return _ip_filter(tokens, name, cast('Literal["==", "!="]', compare))
    return _quantity(tokens, name, compare)


def _ip_filter(tokens: Tokens, name: str, op: Literal["==", "!="]) -> LabelFilter:
    tokens.expect("(")
    pattern = tokens.text()
    tokens.expect(")")
    return IpFilter(name, op, pattern)


def _quantity(tokens: Tokens, name: str, op: CompareOp) -> LabelFilter:
    if tokens.peek() == "DURATION":
        return DurationFilter(name, op, int(tokens.next().value))
    if tokens.peek() == "BYTES":
        return SizeFilter(name, op, int(tokens.next().value))
    sign = tokens.next().kind if tokens.peek() in ("+", "-") else ""
    if tokens.peek() != "NUMBER":
        raise tokens.unexpected("NUMBER", *(() if sign else ("DURATION", "BYTES", *(("STRING",) if op in ("==", "!=") else ()))))
    text = tokens.next().text
    try:
        value = go_float(text.replace("_", ""))
    except ValueError as problem:
        raise ParseError(f"unable to parse literal as a float: {problem}") from None
    return NumberFilter(name, op, -value if sign == "-" else value)

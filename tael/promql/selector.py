"""Parses ``{a="b", "c.d"=~"e", "metric.name"}`` to matchers."""

from __future__ import annotations

from typing import cast

from tael.errors import Rejected
from tael.model.patterns import compiled
from tael.model.series import METRIC_NAME, Matcher, MatchOp
from tael.promql.errors import ParseError
from tael.promql.tokens import Tokens
from tael.syntax.position import Pos

_OPERATORS = ("=", "!=", "=~", "!~")
_CONTEXT = "label matching"


def label_matchers(tokens: Tokens) -> tuple[tuple[Matcher, ...], Pos]:
    """The matchers between braces, and their position; the opening brace is the next token. Raises ParseError."""
    start = tokens.next().pos.start
    matchers: list[Matcher] = []
    while tokens.peek().kind != "}":
        matchers.append(_matcher(tokens))
        if tokens.peek().kind not in (",", "}"):
            raise tokens.unexpected(_CONTEXT, '"," or "}"')
        if tokens.peek().kind == ",":
            tokens.next()
    return tuple(matchers), Pos(start, tokens.next().pos.end)


def _matcher(tokens: Tokens) -> Matcher:
    label = tokens.peek()
    if label.kind not in ("identifier", "string"):
        raise tokens.unexpected(_CONTEXT, 'identifier or "}"')
    tokens.next()
    name = tokens.text_of(label) if label.kind == "string" else label.text
    op = tokens.peek().kind
    if op not in _OPERATORS:
        if label.kind == "string":
            return Matcher(METRIC_NAME, "=", name)
        raise tokens.unexpected(_CONTEXT, "label matching operator")
    tokens.next()
    if tokens.peek().kind != "string":
        raise tokens.unexpected(_CONTEXT, "string")
    value = tokens.next()
    matcher = Matcher(name, cast("MatchOp", op), tokens.text_of(value))
    if op in ("=~", "!~"):
        try:
            compiled(matcher.value)
        except Rejected as problem:
            raise ParseError(tokens.query, Pos(label.pos.start, value.pos.end), problem.reason) from None
    return matcher

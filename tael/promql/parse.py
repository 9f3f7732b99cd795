"""The parser of PromQL: precedence climbing over the lexer's tokens, in the order in which Prometheus' grammar decides.

Types are checked by ``check``, which ``parse`` calls. Errors carry the position in the query and Prometheus' messages.
"""

from __future__ import annotations

from dataclasses import replace

from tael.errors import Rejected
from tael.model.series import METRIC_NAME, Matcher
from tael.promql.aggregators import AGGREGATORS
from tael.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Card,
    Expr,
    Matching,
    Number,
    Paren,
    String,
    Unary,
    VectorSelector,
)
from tael.promql.check import check, type_of
from tael.promql.errors import ParseError
from tael.promql.features import ALL, Features
from tael.promql.functions import FUNCTIONS
from tael.promql.lexer import BOUNDS, FILLS
from tael.promql.postfix import Postfix
from tael.promql.selector import label_matchers
from tael.promql.tokens import Tokens
from tael.syntax import literals
from tael.syntax.position import Pos
from tael.vectors.binary import SETS

PRECEDENCE = {
    symbol: level
    for level, symbols in enumerate(
        (("or",), ("and", "unless"), ("==", "!=", ">", "<", ">=", "<=", "</", ">/"), ("+", "-"), ("*", "/", "%", "atan2"), ("^",)), 1
    )
    for symbol in symbols
}
OF_POWER = 6
NAMES = {"identifier", "metric", "by", "offset", "without", "and", "or", "unless", "anchored", "smoothed", *AGGREGATORS, *BOUNDS}
"""Tokens that may be a metric's name: keywords too, where they have no other meaning."""
LABELS = NAMES | {"bool", "group_left", "group_right", "ignoring", "on", "atan2", *FILLS}
MAX_DEPTH = 160
"""How deep expressions may be nested, and how long chains of operators may be; our own limit, because walks of the tree are recursive."""


def parse(query: str, features: Features = ALL) -> Expr:
    """The checked tree of ``query``. Raises ParseError."""
    tokens = Tokens(query)
    if tokens.peek().kind == "eof":
        raise ParseError(query, Pos(0, 0), "no expression found in input")
    expr = _Parser(tokens, features).expression(1)
    if tokens.peek().kind != "eof":
        raise tokens.unexpected()
    check(query, expr)
    return expr


def parse_selector(query: str) -> tuple[Matcher, ...]:
    """The matchers of a lone selector, as in ``match[]``. Raises ParseError, or Rejected for one that matches everything."""
    tokens = Tokens(query)
    selector = _Parser(tokens, ALL).selector()
    if tokens.peek().kind != "eof":
        raise tokens.unexpected()
    if all(matcher.matches("") for matcher in selector.matchers):
        raise Rejected("match[] must contain at least one non-empty matcher")
    return selector.matchers


class _Parser:
    def __init__(self, tokens: Tokens, features: Features) -> None:
        self._tokens = tokens
        self._features = features
        self._postfix = Postfix(tokens, features)
        self._depth = 0

    def expression(self, least: int) -> Expr:
        """An expression of operators that bind at least as tightly as ``least``."""
        outer = self._depth
        self._deeper()
        left = self._postfix.with_modifiers(self._operand())
        while (level := PRECEDENCE.get(self._tokens.peek().kind, 0)) >= least:
            op = self._tokens.next().kind
            matching, return_bool = self._modifiers()
            # "^" binds to the right, everything else to the left.
            right = self.expression(level if op == "^" else level + 1)
            # A chain of operators nests to the left, so each one makes the tree deeper; the depth is reset when the chain ends.
            self._deeper()
            left = self._binary(op, left, right, matching, return_bool=return_bool)
        self._depth = outer
        return left

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(self._tokens.peek().pos, f"expression is nested deeper than {MAX_DEPTH} levels")

    def _binary(self, op: str, left: Expr, right: Expr, matching: Matching, *, return_bool: bool) -> Binary:
        """Set operators match many to many, and only vectors are matched; invalid combinations are left for ``check`` to refuse."""
        pos = Pos(left.pos.start, right.pos.end)
        filled = matching.fill_left is not None or matching.fill_right is not None
        if filled and not self._features.fill:
            raise self._error(pos, "binop fill modifiers are experimental and not enabled")
        used: Matching | None = matching
        if op in SETS and matching.card == "one-to-one":
            used = replace(matching, card="many-to-many")
        if not matching.labels and not filled and not type_of(left) == type_of(right) == "vector":
            used = None
        return Binary(op, left, right, used, return_bool, pos)

    def _operand(self) -> Expr:
        token = self._tokens.peek()
        if token.kind in ("+", "-"):
            return self._unary()
        if token.kind == "(":
            return self._paren()
        if token.kind in ("number", "duration"):
            return self._tokens.number()
        if token.kind == "string":
            self._tokens.next()
            return String(self._tokens.text_of(token), token.pos)
        if token.kind in NAMES:
            return self._named()
        if token.kind == "{":
            return self.selector()
        raise self._tokens.unexpected()

    def _unary(self) -> Expr:
        sign = self._tokens.next()
        # A sign binds less than a power: -2^2 is -4.
        inner = self.expression(OF_POWER)
        pos = Pos(sign.pos.start, inner.pos.end)
        if isinstance(inner, Number):
            return Number(-inner.value if sign.kind == "-" else inner.value, inner.duration, pos)
        return Unary("-" if sign.kind == "-" else "+", inner, pos)

    def _paren(self) -> Expr:
        opened = self._tokens.next()
        inner = self.expression(1)
        closed = self._tokens.expect(")")
        return Paren(inner, Pos(opened.pos.start, closed.pos.end))

    def _named(self) -> Expr:
        name = self._tokens.next()
        following = self._tokens.peek().kind
        if name.kind in AGGREGATORS and following in ("(", "by", "without"):
            return self._aggregate(name.kind, name.pos)
        if following == "(" and (name.kind == "identifier" or name.kind in BOUNDS):
            return self._call(name.text if name.kind == "identifier" else name.kind, name.pos)
        return self._selector_named(name.text, name.pos)

    def selector(self) -> VectorSelector:
        """``name``, ``name{matchers}`` or ``{matchers}``."""
        token = self._tokens.peek()
        if token.kind == "{":
            matchers, pos = label_matchers(self._tokens)
            return VectorSelector("", matchers, pos=pos)
        if token.kind not in NAMES:
            raise self._tokens.unexpected()
        self._tokens.next()
        return self._selector_named(token.text, token.pos)

    def _selector_named(self, name: str, pos: Pos) -> VectorSelector:
        matchers: tuple[Matcher, ...] = ()
        if self._tokens.peek().kind == "{":
            matchers, braces = label_matchers(self._tokens)
            pos = Pos(pos.start, braces.end)
        # The name's matcher comes last; check() relies on that to find a second one.
        return VectorSelector(name, (*matchers, Matcher(METRIC_NAME, "=", name)), pos=pos)

    def _call(self, name: str, pos: Pos) -> Expr:
        args, end = self._arguments()
        whole = Pos(pos.start, end)
        function = FUNCTIONS.get(name)
        if function is None:
            raise self._error(pos, f"unknown function with name {literals.quoted(name)}")
        if function.experimental and not self._features.functions:
            raise self._error(pos, f"function {literals.quoted(name)} is not enabled")
        return Call(name, args, whole)

    def _arguments(self) -> tuple[tuple[Expr, ...], int]:
        self._tokens.expect("(")
        args: list[Expr] = []
        while self._tokens.peek().kind != ")":
            args.append(self.expression(1))
            if self._tokens.peek().kind != ",":
                break
            comma = self._tokens.next()
            if self._tokens.peek().kind == ")":
                raise self._error(comma.pos, "trailing commas not allowed in function call args")
        return tuple(args), self._tokens.expect(")").pos.end

    def _aggregate(self, op: str, pos: Pos) -> Expr:
        with self._tokens.within("aggregation"):
            grouping, without = self._grouping()
            args, end = self._arguments()
        if grouping is None:
            grouping, without = self._grouping()
            end = self._tokens.last_end if grouping is not None else end
        whole = Pos(pos.start, end)
        if not args:
            raise self._error(whole, "no arguments for aggregate expression provided")
        if AGGREGATORS[op].experimental and not self._features.functions:
            wanted = f"{op}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
            raise self._error(whole, wanted)
        expected = 2 if AGGREGATORS[op].parameter else 1
        if len(args) != expected:
            problem = f"wrong number of arguments for aggregate expression provided, expected {expected}, got {len(args)}"
            raise self._error(whole, problem)
        return Aggregate(op, args[-1], args[0] if expected == 2 else None, grouping or (), without, whole)

    def _grouping(self) -> tuple[tuple[str, ...] | None, bool]:
        kind = self._tokens.peek().kind
        if kind not in ("by", "without"):
            return None, False
        self._tokens.next()
        return self._labels(), kind == "without"

    def _labels(self) -> tuple[str, ...]:
        """``(a, b, "c.d",)``."""
        if self._tokens.peek().kind != "(":
            raise self._tokens.unexpected("grouping opts", '"("')
        self._tokens.next()
        names: list[str] = []
        while self._tokens.peek().kind != ")":
            token = self._tokens.peek()
            if token.kind != "string" and token.kind not in LABELS:
                raise self._tokens.unexpected("grouping opts", "label")
            self._tokens.next()
            name = self._tokens.text_of(token) if token.kind == "string" else token.text
            if not name:
                raise self._error(token.pos, f"invalid label name for grouping: {literals.quoted(name)}")
            names.append(name)
            if self._tokens.peek().kind not in (",", ")"):
                raise self._tokens.unexpected("grouping opts", '"," or ")"')
            if self._tokens.peek().kind == ",":
                self._tokens.next()
        self._tokens.next()
        return tuple(names)

    def _modifiers(self) -> tuple[Matching, bool]:
        matching, return_bool = Matching(), False
        if self._tokens.peek().kind == "bool":
            self._tokens.next()
            return_bool = True
        if (kind := self._tokens.peek().kind) in ("on", "ignoring"):
            self._tokens.next()
            matching = Matching(on=kind == "on", labels=self._labels())
            if (side := self._tokens.peek().kind) in ("group_left", "group_right"):
                self._tokens.next()
                include = self._labels() if self._tokens.peek().kind == "(" else ()
                card: Card = "many-to-one" if side == "group_left" else "one-to-many"
                matching = replace(matching, card=card, include=include)
        return self._fill(matching), return_bool

    def _fill(self, matching: Matching) -> Matching:
        while (kind := self._tokens.peek().kind) in FILLS:
            self._tokens.next()
            self._tokens.expect("(")
            value = self._tokens.signed_number()
            self._tokens.expect(")")
            if kind in ("fill", "fill_left"):
                matching = replace(matching, fill_left=value)
            if kind in ("fill", "fill_right"):
                matching = replace(matching, fill_right=value)
        return matching

    def _error(self, pos: Pos, problem: str) -> ParseError:
        return ParseError(self._tokens.query, pos, problem)

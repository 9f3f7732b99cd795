"""Parses expressions over one span, fields and literals, by precedence climbing.

Precedences follow Tempo's grammar, weakest first: ``&&`` and ``||`` (one level, from the left), comparisons, ``+ -``, ``!``, ``* / %``,
``^`` (from the right).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from tael.traceql.ast import (
    KINDS,
    NUMERIC,
    STATUSES,
    TRACE_ID_INTRINSICS,
    Attribute,
    Binary,
    Exists,
    Expression,
    Field,
    Intrinsic,
    Named,
    Scope,
    Static,
    Type,
    Unary,
)
from tael.traceql.errors import ParseError, Unsupported, WrongPart
from tael.traceql.lexer import Token, tokens

T = TypeVar("T")
MAX_DEPTH: Final = 100
COMPARISONS: Final = frozenset({"=", "!=", "<", "<=", ">", ">="})
FIELD_LEVELS: Final = {
    **dict.fromkeys(("&&", "||"), 1),
    **dict.fromkeys((*COMPARISONS, "=~", "!~"), 2),
    **dict.fromkeys(("+", "-"), 3),
    **dict.fromkeys(("*", "/", "%"), 5),
    "^": 6,
}
_NOT_LEVEL, _MINUS_LEVEL = 4, 4
_INTRINSICS: Final = {
    intrinsic.value: intrinsic
    for intrinsic in Intrinsic
    if ":" not in intrinsic.value  # the others need their scope
}
_SCOPED: Final = {
    "trace:": {
        "duration": Intrinsic.TRACE_DURATION,
        "rootName": Intrinsic.ROOT_NAME,
        "rootService": Intrinsic.ROOT_SERVICE,
        "id": Intrinsic.TRACE_ID,
    },
    "span:": {
        "duration": Intrinsic.DURATION,
        "name": Intrinsic.NAME,
        "kind": Intrinsic.KIND,
        "status": Intrinsic.STATUS,
        "statusMessage": Intrinsic.STATUS_MESSAGE,
        "id": Intrinsic.SPAN_ID,
        "parentID": Intrinsic.PARENT_ID,
        "childCount": Intrinsic.CHILD_COUNT,
    },
    "event:": {"name": Intrinsic.EVENT_NAME, "timeSinceStart": Intrinsic.EVENT_TIME_SINCE_START},
    "link:": {"traceID": Intrinsic.LINK_TRACE_ID, "spanID": Intrinsic.LINK_SPAN_ID},
    "instrumentation:": {"name": Intrinsic.INSTRUMENTATION_NAME, "version": Intrinsic.INSTRUMENTATION_VERSION},
}
_CONSTANTS: Final = {"minInt": -(1 << 63), "maxInt": (1 << 63) - 1}


class ExpressionParser:
    """A cursor over the tokens of a query, and the rules of expressions over one span, which those of whole queries build on."""

    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens = tokens(query)
        self._next = 0
        self._depth = 0
        self._begun: list[tuple[object, int]] = []

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _takes(self, kind: str) -> bool:
        if self._token.kind != kind:
            return False
        self._take()
        return True

    def _is_word(self, *words: str) -> bool:
        return self._token.kind == "word" and self._token.text in words

    def expect(self, kind: str, wanted: str = "") -> Token:
        """Take a token of this kind. Raises ParseError."""
        if self._token.kind != kind:
            self._fail(wanted or ("end of query" if kind == "end" else kind))
        return self._take()

    def _fail(self, wanted: str) -> NoReturn:
        raise ParseError(self._query, self._token.at, f"unexpected {self._token.described()}, expected {wanted}")

    def _began(self, found: T, at: int) -> T:
        # The tree has no positions, as equal trees are the same query; only for an error they are looked up, by identity.
        self._begun.append((found, at))
        return found

    def placed(self, error: WrongPart) -> WrongPart:
        """The error with the position at which its part of the tree begins, if that is known."""
        return next((error.placed(self._query, at) for found, at in self._begun if found is error.of), error)

    def _nested(self, parse_inner: Callable[[], T]) -> T:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ParseError(self._query, self._token.at, f"nested more than {MAX_DEPTH} levels deep")
        try:
            return parse_inner()
        finally:
            self._depth -= 1

    # Expressions over one span

    def _field(self, level: int) -> Expression:
        at = self._token.at
        left = self._nested(self._field_unary)
        while (own := FIELD_LEVELS.get(self._token.kind, 0)) > level:
            op = self._take().kind
            # One level lower admits another ^ on the right: 2^3^2 is 2^9.
            right = self._field(own - 1 if op == "^" else own)
            left = self._began(_binary(op, left, right), at)
        return left

    def _field_unary(self) -> Expression:
        at = self._token.at
        if self._takes("!"):
            return self._began(Unary("!", self._field(_NOT_LEVEL)), at)
        if self._takes("-"):
            operand = self._field(_MINUS_LEVEL)
            if isinstance(operand, Static) and operand.type in NUMERIC and isinstance(operand.value, int | float):
                return Static(operand.type, -operand.value)
            return self._began(Unary("-", operand), at)
        if self._takes("("):
            found = self._field(0)
            self.expect(")")
            return found
        if self._token.kind == "scope" or self._is_word(*_INTRINSICS, "parent"):
            return self.named()
        return self._static()

    def _static(self) -> Static:
        token = self._token
        if token.kind in ("int", "float", "duration"):
            return self._number()
        if token.kind == "string":
            return Static(Type.STRING, str(self._take().value))
        if token.kind != "word":
            self._fail("a value")
        known = _static_word(token.text)
        if known is None:
            raise ParseError(self._query, token.at, f"unknown identifier: {token.text}")
        self._take()
        return known

    def _number(self) -> Static:
        token = self._take()
        return Static({"int": Type.INT, "float": Type.FLOAT, "duration": Type.DURATION}[token.kind], token.value)

    def _fields(self) -> tuple[Named, ...]:
        self.expect("(")
        found = [self.named()]
        while self._takes(","):
            found.append(self.named())
        self.expect(")")
        return tuple(found)

    def named(self) -> Named:
        """An attribute or an intrinsic."""
        token = self._token
        if token.kind == "word" and token.text in _INTRINSICS:
            self._take()
            return Field(_INTRINSICS[token.text])
        if token.kind == "word" and token.text == "parent":
            raise Unsupported("parent is not supported").placed(self._query, token.at)
        if token.kind != "scope":
            self._fail("an attribute, such as span.http.route, or an intrinsic, such as duration")
        self._take()
        if token.text.endswith(":"):
            return self._scoped_intrinsic(token.text)
        if token.text == "parent.":
            raise Unsupported("parent. is not supported; use the structural operator > or >>").placed(self._query, token.at)
        name = self.expect("name", "the name of an attribute")
        return Attribute(Scope(token.text[:-1]), str(name.value))

    def _scoped_intrinsic(self, scope: str) -> Field:
        known = _SCOPED.get(scope, {})
        if self._token.kind != "word" or self._token.text not in known:
            self._fail(" or ".join(sorted(known)) or "no intrinsic (this scope has none)")
        return Field(known[self._take().text])


def _static_word(text: str) -> Static | None:
    if text in ("true", "false"):
        return Static(Type.BOOL, text == "true")
    if text == "nil":
        return Static(Type.NIL, None)
    if text in STATUSES:
        return Static(Type.STATUS, STATUSES[text])
    if text in KINDS:
        return Static(Type.KIND, KINDS[text])
    return Static(Type.INT, _CONSTANTS[text]) if text in _CONSTANTS else None


def _binary(op: str, left: Expression, right: Expression) -> Expression:
    """A binary expression. A comparison with nil is a test of existence; of nil with nil it is always false."""
    left, right = _canonical_id(left, right), _canonical_id(right, left)
    nil = [isinstance(side, Static) and side.type is Type.NIL for side in (left, right)]
    if op not in ("=", "!=") or not any(nil):
        return Binary(op, left, right)
    return Static(Type.BOOL, value=False) if all(nil) else Exists(right if nil[0] else left, wanted=op == "!=")


def _canonical_id(side: Expression, other: Expression) -> Expression:
    """A trace id is compared without its leading zeros, as Tempo's answers write it."""
    if isinstance(side, Static) and isinstance(side.value, str) and isinstance(other, Field) and other.intrinsic in TRACE_ID_INTRINSICS:
        return Static(side.type, side.value.lower().lstrip("0"))
    return side

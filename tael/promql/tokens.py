"""The parser's view of the tokens, with one token of lookahead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tael.promql.ast import Number
from tael.promql.errors import ParseError
from tael.promql.lexer import Lexer, Token
from tael.syntax import literals
from tael.syntax.position import Pos


class Tokens:
    """The tokens of ``query``; ``last_end`` is the end offset of the last token taken."""

    def __init__(self, query: str) -> None:
        self.query = query
        self.last_end = 0
        self._lexer = Lexer(query)
        self._ahead: Token | None = None
        self._within: list[str] = []

    def peek(self) -> Token:
        """The next token, without consuming it."""
        if self._ahead is None:
            self._ahead = self._lexer.next()
        return self._ahead

    def next(self) -> Token:
        """Take the next token."""
        token, self._ahead = self.peek(), None
        self.last_end = token.pos.end
        return token

    def expect(self, kind: str) -> Token:
        """Take the next token. Raises ParseError unless it is of this ``kind``."""
        if self.peek().kind != kind:
            raise self.unexpected()
        return self.next()

    def unexpected(self, context: str = "", expected: str = "") -> ParseError:
        """The error for an unexpected next token."""
        token = self.peek()
        context = context or (self._within[-1] if self._within else "")
        where = f" in {context}" if context else ""
        wanted = f", expected {expected}" if expected else ""
        return ParseError(self.query, token.pos, f"unexpected {token.described()}{where}{wanted}")

    @contextlib.contextmanager
    def within(self, context: str) -> Iterator[None]:
        """In the block, errors about unexpected tokens name ``context``."""
        self._within.append(context)
        yield
        self._within.pop()

    def number(self) -> Number:
        """Take a number or a duration, which becomes its seconds. Raises ParseError."""
        token = self.next()
        try:
            if token.kind == "duration":
                return Number(literals.duration_ms(token.text) / 1000, duration=True, pos=token.pos)
            return Number(literals.number(token.text), pos=token.pos)
        except (ValueError, OverflowError) as problem:
            text = (
                str(problem)
                if token.kind == "duration"
                else f"error parsing number: strconv.ParseFloat: parsing {literals.quoted(token.text)}: invalid syntax"
            )
            raise ParseError(self.query, token.pos, text) from None

    def signed_number(self, context: str = "", expected: str = "") -> float:
        """Take ``5``, ``-5`` or ``+5``. Raises ParseError for anything else."""
        negative = self.peek().kind == "-"
        if self.peek().kind in ("+", "-"):
            self.next()
        if self.peek().kind not in ("number", "duration"):
            raise self.unexpected(context, expected)
        value = self.number().value
        return -value if negative else value

    def text_of(self, token: Token) -> str:
        """The text that a string token stands for."""
        try:
            return literals.unquoted(token.text)
        except ValueError as problem:
            raise ParseError(self.query, Pos(token.pos.start, len(self.query)), str(problem)) from None

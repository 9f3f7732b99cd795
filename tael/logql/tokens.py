"""The parser's cursor over the tokens of a query, with errors that name the token found and those expected."""

from __future__ import annotations

from tael.logql.errors import ParseError
from tael.logql.lexer import Lexer, Token

MAX_QUERY_CHARACTERS = 131_072
MAX_DEPTH = 200
_MANY = 4


class Tokens:
    """A cursor over the tokens of ``query``. Raises ParseError."""

    def __init__(self, query: str) -> None:
        if len(query) >= MAX_QUERY_CHARACTERS:
            raise ParseError(f"input size too long ({len(query)} > {MAX_QUERY_CHARACTERS})")
        lexer = Lexer(query)
        self._tokens = [lexer.next()]
        while self._tokens[-1].kind != "$end":
            self._tokens.append(lexer.next())
        self._empty = len(self._tokens) == 1
        self._at = 0
        self.depth = 0

    def peek(self, ahead: int = 0) -> str:
        """The kind of the next token, or of the one ``ahead`` positions after it."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)].kind

    def next(self) -> Token:
        """Return the next token, and advance."""
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def take(self, kind: str) -> bool:
        """Advance past the next token if it is of this kind; returns whether it was."""
        if self.peek() != kind:
            return False
        self.next()
        return True

    def expect(self, *kinds: str) -> Token:
        """Return the next token and advance. Raises ParseError unless it is one of ``kinds``."""
        if self.peek() not in kinds:
            raise self.unexpected(*kinds)
        return self.next()

    def text(self) -> str:
        """The text of the string token that must follow."""
        return str(self.expect("STRING").value)

    def names(self) -> tuple[str, ...]:
        """The names in ``(a, b)``, which must follow; none for ``()``."""
        self.expect("(")
        if self.take(")"):
            return ()
        found = [self.expect("IDENTIFIER").text]
        while self.take(","):
            found.append(self.expect("IDENTIFIER").text)
        self.expect(",", ")")
        return tuple(found)

    def unexpected(self, *expected: str) -> ParseError:
        """The error for an unexpected next token; it lists the kinds expected if they are few."""
        token = self._tokens[self._at]
        wanted = f", expecting {' or '.join(expected)}" if 0 < len(expected) <= _MANY else ""
        place = (0, 0) if self._empty else (token.line, token.column)
        return ParseError(f"syntax error: unexpected {token.kind}{wanted}", *place)

    def deeper(self) -> None:
        """Count one more open parenthesis or operator. Raises ParseError beyond the limit."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ParseError(f"the expression is nested more than {MAX_DEPTH} deep", *self._place())

    def _place(self) -> tuple[int, int]:
        token = self._tokens[self._at]
        return token.line, token.column

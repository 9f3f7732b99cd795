"""The tokens of a query as the parser reads them: one ahead, and an error that says what stands there and what was expected."""

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
        """The kind of the token that ``next`` would give, or of one behind it."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)].kind

    def next(self) -> Token:
        """The token, and on to the next."""
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def take(self, kind: str) -> bool:
        """Whether the next token is one of ``kind``; then on to the one behind it."""
        if self.peek() != kind:
            return False
        self.next()
        return True

    def expect(self, *kinds: str) -> Token:
        """The next token, which must be of one of ``kinds``."""
        if self.peek() not in kinds:
            raise self.unexpected(*kinds)
        return self.next()

    def text(self) -> str:
        """The text of the string that must follow."""
        return str(self.expect("STRING").value)

    def names(self) -> tuple[str, ...]:
        """``(a, b)``, which must follow; ``()`` is no names."""
        self.expect("(")
        if self.take(")"):
            return ()
        found = [self.expect("IDENTIFIER").text]
        while self.take(","):
            found.append(self.expect("IDENTIFIER").text)
        self.expect(",", ")")
        return tuple(found)

    def unexpected(self, *expected: str) -> ParseError:
        """That the next token cannot stand here, and what could."""
        token = self._tokens[self._at]
        wanted = f", expecting {' or '.join(expected)}" if 0 < len(expected) <= _MANY else ""
        place = (0, 0) if self._empty else (token.line, token.column)
        return ParseError(f"syntax error: unexpected {token.kind}{wanted}", *place)

    def deeper(self) -> None:
        """One parenthesis or operator more is open. Raises ParseError when there are too many."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ParseError(f"the expression is nested more than {MAX_DEPTH} deep", *self._place())

    def _place(self) -> tuple[int, int]:
        token = self._tokens[self._at]
        return token.line, token.column

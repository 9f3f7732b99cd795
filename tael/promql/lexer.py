"""The lexer of PromQL: yields one token at a time, because a character's meaning depends on the open braces and brackets.

Inside braces keywords are plain names; inside brackets only durations and duration expressions are allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tael.promql.aggregators import AGGREGATORS
from tael.promql.errors import ParseError
from tael.syntax.literals import quoted
from tael.syntax.position import Pos

OPERATOR_WORDS = ("and", "or", "unless", "atan2")
KEYWORDS = "offset smoothed anchored by without on ignoring group_left group_right fill fill_left fill_right bool".split()  # noqa: SIM905
BOUNDS = ("start", "end", "step", "range")
FILLS = ("fill", "fill_left", "fill_right")
RESERVED = {*OPERATOR_WORDS, *AGGREGATORS, *KEYWORDS, *BOUNDS}
# Longer symbols first: the first match is taken.
SYMBOLS = ("==", "!=", "<=", ">=", "</", ">/", "=~", "!~", *"+-*/%^<>@(){}[],=:")
OPERATORS = {"==", "!=", "<=", ">=", "</", ">/", "=~", "!~", *"+-*/%^<>@"}
DURATION_WORDS = ("step", "range", "min_of", "max_of", "min", "max")
SPACES = " \t\n\r"
DIGITS: Final = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_ALPHANUMERIC = DIGITS | _LETTERS


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is a symbol or a keyword itself, or ``identifier``, ``metric``, ``number``, ``duration``, ``string`` or ``eof``."""

    kind: str
    text: str
    pos: Pos

    def described(self) -> str:
        """The token as error messages show it."""
        if self.kind == "eof":
            return "end of input"
        if self.kind in ("identifier", "metric"):
            word = "identifier" if self.kind == "identifier" else "metric identifier"
            return f"{word} {quoted(self.text)}"
        if self.kind in OPERATORS or self.kind in OPERATOR_WORDS:
            return f"<op:{self.text}>"
        if self.kind in AGGREGATORS:
            return f"<aggr:{self.text}>"
        if self.kind in KEYWORDS:
            return f"<{self.text}>"
        shown = quoted(self.text) if len(self.text) <= 10 else f"{quoted(self.text[:10])}..."
        return f"{self.kind} {shown}" if self.kind in ("number", "duration", "string") else shown


class Lexer:
    """The tokens of ``text`` in order, then ``eof``. Raises ParseError at text that is not a token."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._at = 0
        self._start = 0
        self._parens = 0
        self._brace = self._bracket = False
        # Inside brackets: whether a colon, and whether a duration, has been seen.
        self._colon = self._duration = False

    def next(self) -> Token:
        """The next token."""
        self._skip()
        self._start = self._at
        if self._brace:
            return self._in_braces()
        if self._bracket:
            return self._in_brackets()
        return self._outside()

    def _skip(self) -> None:
        text, end = self.text, len(self.text)
        while self._at < end and (text[self._at] in SPACES or text[self._at] == "#"):
            if text[self._at] == "#":
                while self._at < end and text[self._at] not in "\r\n":
                    self._at += 1
            else:
                self._at += 1

    def _peek(self, ahead: int = 0) -> str:
        return self.text[self._at + ahead : self._at + ahead + 1]

    def _token(self, kind: str, length: int = 0) -> Token:
        self._at += length
        return Token(kind, self.text[self._start : self._at], Pos(self._start, self._at))

    def _fail(self, problem: str) -> ParseError:
        return ParseError(self.text, Pos(self._start, len(self.text)), problem)

    def _outside(self) -> Token:
        character = self._peek()
        if not character:
            if self._parens:
                raise self._fail("unclosed left parenthesis")
            return self._token("eof")
        if character in DIGITS or (character == "." and self._peek(1) in DIGITS):
            return self._number_or_duration()
        if character in "\"'`":
            return self._string()
        if character in _LETTERS or character == ":":
            return self._word()
        if character in "=!" and self._peek(1) != "=":
            return self._lonely(character)
        symbol = next((symbol for symbol in SYMBOLS if self.text.startswith(symbol, self._at)), "")
        if not symbol or symbol == "}":
            raise self._fail(f"unexpected character: {_character(character)}")
        return self._symbol(symbol)

    def _lonely(self, character: str) -> Token:
        if character == "=" and self._peek(1) != "~":
            return self._token("=", 1)
        raise self._fail(f"unexpected character after '{character}': {_character(self._peek(1))}")

    def _symbol(self, symbol: str) -> Token:
        if symbol == "(":
            self._parens += 1
        elif symbol == ")":
            self._close_paren()
        elif symbol == "{":
            self._brace = True
        elif symbol == "[":
            self._bracket, self._colon, self._duration = True, False, False
        elif symbol == "]":
            raise self._fail("unexpected right bracket ']'")
        return self._token(symbol, len(symbol))

    def _close_paren(self) -> None:
        self._parens -= 1
        if self._parens < 0:
            self._start += 1
            raise self._fail("unexpected right parenthesis ')'")

    def _in_braces(self) -> Token:
        character = self._peek()
        if not character:
            raise self._fail("unexpected end of input inside braces")
        if character in _LETTERS:
            return self._identifier()
        if character in "\"'`":
            return self._string()
        if character == ",":
            return self._token(",", 1)
        if character == "}":
            self._brace = False
            return self._token("}", 1)
        if character == "{":
            raise self._fail("unexpected left brace '{'")
        if character == "=":
            return self._token("=~", 2) if self._peek(1) == "~" else self._token("=", 1)
        if character == "!":
            if self._peek(1) in ("~", "="):
                return self._token("!" + self._peek(1), 2)
            raise self._fail(f"unexpected character after '!' inside braces: {_character(self._peek(1))}")
        raise self._fail(f"unexpected character inside braces: {_character(character)}")

    def _in_brackets(self) -> Token:
        character = self._peek()
        if not character:
            raise self._fail("unclosed left bracket" if self._duration else "unexpected end of input in duration expression")
        if character == "]":
            self._bracket = False
            return self._token("]", 1)
        if character == ":":
            return self._colon_token()
        if character == "[":
            raise self._fail("unexpected left bracket '['")
        if character in "()":
            return self._symbol(character)
        if character in "+-*/%^,":
            return self._token(character, 1)
        if character in DIGITS or (character == "." and self._peek(1) in DIGITS):
            self._duration = True
            return self._number_or_duration()
        if token := self._duration_keyword():
            self._duration = True
            return token
        if self._duration and character in _LETTERS:
            raise self._fail(f"unexpected character: {_character(character)}, expected ':'")
        raise self._fail(f"unexpected character in duration expression: {_character(character)}")

    def _colon_token(self) -> Token:
        if not self._duration:
            raise self._fail("unexpected colon before duration in duration expression")
        if self._colon:
            raise self._fail("unexpected colon ':'")
        self._colon = True
        return self._token(":", 1)

    def _duration_keyword(self) -> Token | None:
        end = self._at
        while self.text[end : end + 1] in _ALPHANUMERIC:
            end += 1
        word = self.text[self._at : end].lower()
        return self._token(word, len(word)) if word in DURATION_WORDS else None

    def _identifier(self) -> Token:
        while self._peek() in _ALPHANUMERIC:
            self._at += 1
        return self._token("identifier")

    def _word(self) -> Token:
        while self._peek() in _ALPHANUMERIC or self._peek() == ":":
            self._at += 1
        word = self.text[self._start : self._at]
        lower = word.lower()
        if lower in ("inf", "nan"):
            return self._token("number")
        if lower in RESERVED and not (lower in FILLS and not self._before_paren()):
            return self._token(lower)
        return self._token("metric" if ":" in word else "identifier")

    def _before_paren(self) -> bool:
        at = self._at
        while self.text[at : at + 1] and self.text[at] in SPACES:
            at += 1
        return self.text.startswith("(", at)

    def _string(self) -> Token:
        quote, self._at = self._peek(), self._at + 1
        while (character := self._peek()) != quote:
            if not character or (character == "\n" and quote != "`"):
                raise self._fail("unterminated raw string" if quote == "`" else "unterminated quoted string")
            # Escapes are skipped here; the parser resolves them, and reports invalid ones.
            self._at += 2 if character == "\\" and quote != "`" else 1
        return self._token("string", 1)

    def _number_or_duration(self) -> Token:
        if self._scan_number():
            return self._token("number")
        if self._scan_duration():
            return self._token("duration")
        raise self._fail(f"bad number or duration syntax: {quoted(self.text[self._start : self._at])}")

    def _scan_number(self) -> bool:
        digits = DIGITS
        if self._peek() == "0" and self._peek(1) in ("x", "X"):
            self._at += 2
            digits = _HEX
        dot = exponent = False
        while True:
            character = self._peek()
            if (character in digits and character) or (
                character == "_" and self._at > self._start and self._peek(1) in digits and self._peek(1)
            ):
                self._at += 1
            elif character == "." and not dot and not exponent and digits is DIGITS:
                dot = True
                self._at += 1
            elif character in ("e", "E") and not exponent and digits is DIGITS and self._exponent_follows():
                exponent = True
                self._at += 2 if self._peek(1) in ("+", "-") else 1
            else:
                break
        if self._peek() == ".":
            self._at += 1
            return False
        return self._peek() not in _ALPHANUMERIC

    def _exponent_follows(self) -> bool:
        return self._peek(2 if self._peek(1) in ("+", "-") else 1) in DIGITS

    def _scan_duration(self) -> bool:
        while True:
            if self._peek() not in ("y", "w", "d", "h", "m", "s"):
                return False
            self._at += 1
            if self._peek() == "s":
                self._at += 1
            if self._peek() not in DIGITS:
                break
            while self._peek() in DIGITS:
                self._at += 1
        if self._peek() in _ALPHANUMERIC:
            self._at += 1
            return False
        return True


def _character(character: str) -> str:
    """A character as Go's ``%q`` formats a rune; the end of the text is shown as the replacement character."""
    if not character:
        return "'�'"
    escaped = {"'": "\\'", '"': '"'}
    return f"'{escaped.get(character) or quoted(character)[1:-1]}'"

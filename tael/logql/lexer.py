"""The lexer of LogQL. Keywords are recognised everywhere, functions' names only before ``(`` or ``by (``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tael.logql.errors import ParseError
from tael.logql.quantities import query_duration_ns, size_bytes
from tael.syntax.literals import duration_ms, unquoted

RANGE_OPS: Final = [
    "rate",
    "rate_counter",
    "count_over_time",
    "bytes_rate",
    "bytes_over_time",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "stdvar_over_time",
    "stddev_over_time",
    "quantile_over_time",
    "first_over_time",
    "last_over_time",
    "absent_over_time",
]
VECTOR_OPS: Final = "sum avg max min count stddev stdvar bottomk topk approx_topk sort sort_desc".split()  # noqa: SIM905
CONVERSIONS: Final = ("bytes", "duration", "duration_seconds")
FUNCTIONS: Final = frozenset((*RANGE_OPS, *VECTOR_OPS, *CONVERSIONS, "vector", "label_replace", "ip"))
KEYWORDS: Final = frozenset(
    [
        "unwrap",
        "by",
        "without",
        "bool",
        "label_replace",
        "offset",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "or",
        "and",
        "unless",
        "json",
        "regexp",
        "logfmt",
        "unpack",
        "pattern",
        "label_format",
        "line_format",
        "ip",
        "decolorize",
        "drop",
        "keep",
    ]
)
FLAGS: Final = ("--strict", "--keep-empty")
_SYMBOLS: Final = ("=~", "==", "!=", "!~", "!>", "|=", "|~", "|>", ">=", "<=", *",.{}=|()[]+-*/%^><")
_SPACE: Final = re.compile(r"(?:\s+|(?:#|//)[^\n]*|/\*.*?\*/)+", re.DOTALL)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F_]*\.?[0-9a-fA-F_]*(?:[pP][+-]?\d+)?|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_DURATION: Final = re.compile(r"[0-9nuµmshdwy.]+")
_SIZE: Final = re.compile(r"[0-9BikKMGTP.]+")
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`')
_CALLED: Final = re.compile(r"\s*(?:\(|(?:by|without)\s*\()", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is a symbol or keyword itself, a function's name in capitals, or IDENTIFIER, STRING, NUMBER, DURATION, BYTES, RANGE,
    FUNCTION_FLAG or $end. ``value`` is the string's text, the duration's ns or the size's bytes.
    """

    kind: str
    text: str
    line: int
    column: int
    value: str | int = 0


class Lexer:
    """Yields the tokens of ``text`` in order, then ``$end``. Raises ParseError at text that is not a token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        # The line of ``_counted``, an offset up to which line ends were counted, and where that line begins.
        self._line, self._line_start, self._counted = 1, 0, 0

    def next(self) -> Token:
        """The next token."""
        if space := _SPACE.match(self._text, self._at):
            self._at = space.end()
        character = self._text[self._at : self._at + 1]
        if not character:
            return self._token("$end", 0)
        if character in '"`':
            return self._string()
        if character == "[":
            return self._range()
        if number := _NUMBER.match(self._text, self._at):
            return self._number(number)
        if word := _WORD.match(self._text, self._at):
            return self._word(word[0])
        return self._dash() if character == "-" else self._symbol(character)

    def _token(self, kind: str, length: int, value: str | int = 0) -> Token:
        line, column = self._place()
        text = self._text[self._at : self._at + length]
        self._at += length
        return Token(kind, text, line, column, value)

    def _place(self) -> tuple[int, int]:
        # Counted on from the last token: counting from the start for each token takes seconds for the longest queries.
        if passed := self._text.count("\n", self._counted, self._at):
            self._line += passed
            self._line_start = self._text.rfind("\n", self._counted, self._at) + 1
        self._counted = self._at
        return self._line, self._at - self._line_start + 1

    def _fail(self, problem: str) -> ParseError:
        return ParseError(problem, *self._place())

    def _string(self) -> Token:
        literal = _STRING.match(self._text, self._at)
        if literal is None:
            raise self._fail("literal not terminated")
        try:
            value = unquoted(literal[0])
        except ValueError:
            raise self._fail("invalid char escape") from None
        return self._token("STRING", len(literal[0]), value)

    def _range(self) -> Token:
        end = self._text.find("]", self._at)
        if end < 0:
            raise self._fail("missing closing ']' in duration")
        inside = self._text[self._at + 1 : end]
        try:
            value = 0 if inside == "0" else duration_ms(inside) * 1_000_000
        except ValueError as problem:
            raise self._fail("empty duration string" if not inside else str(problem)) from None
        return self._token("RANGE", end + 1 - self._at, value)

    def _number(self, number: re.Match[str]) -> Token:
        # The number is also the beginning of a duration (5m) or a size (5MB): the longest valid literal wins.
        for kind, pattern, read in (("DURATION", _DURATION, query_duration_ns), ("BYTES", _SIZE, size_bytes)):
            unit = pattern.match(self._text, number.end())
            if unit is not None:
                literal = number[0] + unit[0]
                try:
                    return self._token(kind, len(literal), read(literal))
                except ValueError:
                    continue
        return self._token("NUMBER", len(number[0]))

    def _dash(self) -> Token:
        for flag in FLAGS:
            if self._text.startswith(flag, self._at) and not self._text[self._at + len(flag) : self._at + len(flag) + 1].isalpha():
                return self._token("FUNCTION_FLAG", len(flag))
        # "-5m" is a negative duration; before a plain number "-" is an operator.
        duration = _DURATION.match(self._text, self._at + 1)
        if duration is not None and not duration[0].isdigit():
            try:
                return self._token("DURATION", len(duration[0]) + 1, -query_duration_ns(duration[0]))
            except ValueError:
                pass
        return self._token("-", 1)

    def _word(self, word: str) -> Token:
        lower = word.lower()
        if lower in FUNCTIONS:
            called = _CALLED.match(self._text, self._at + len(word))
            kind = lower if lower in KEYWORDS else lower.upper()
            return self._token(kind if called else "IDENTIFIER", len(word))
        return self._token(lower if lower in KEYWORDS else "IDENTIFIER", len(word))

    def _symbol(self, character: str) -> Token:
        symbol = next((symbol for symbol in _SYMBOLS if self._text.startswith(symbol, self._at)), "")
        if not symbol:
            raise self._fail(f"syntax error: unexpected character {character!r}")
        return self._token(symbol, len(symbol))

"""The tokens of TraceQL.

An attribute's name runs from its scope's dot to the next space, bracket, comma or operator character, so ``span.a+b`` is one name and
``span.a + b`` a sum. Parts of it may be quoted: ``span."my key"``. Comments, ``// to the end of the line`` and ``/* between */``, may stand
where spaces may.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tael.traceql.errors import ParseError

SCOPES = ("span", "resource", "event", "link", "instrumentation", "parent", "trace")
SYMBOLS = sorted(
    (
        *("{", "}", "(", ")", ",", "|", "=", "!=", "<", "<=", ">", ">=", "=~", "!~", "&&", "||", "!", "+", "-", "*", "/", "%", "^", "~"),
        *(">>", "<<", "!>", "!<", "!>>", "!<<", "&>", "&<", "&>>", "&<<", "&~"),
    ),
    key=len,
    reverse=True,
)
_NOT_IN_NAMES = frozenset("{}()=~!<>&|^,")
_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_UNITS_NS |= {"d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9, "y": 365 * 86_400 * 10**9}
_NUMBER = re.compile(r"(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?")
_DURATION = re.compile(r"(?:(?:\d+\.\d*|\.\d+|\d+)(?:ns|us|µs|μs|ms|s|m|h|d|w|y))+")  # both micro signs are in use
_DURATION_PART = re.compile(r"(\d+\.\d*|\.\d+|\d+)(ns|us|µs|μs|ms|s|m|h|d|w|y)")
_WORD = re.compile(r"[^\W\d]\w*")
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"'])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))")
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is the symbol itself, or ``word``, ``name`` (of an attribute), ``scope`` (with its dot or colon), ``string``, ``int``,
    ``float``, ``duration`` (``value`` in nanoseconds) or ``end``.
    """

    kind: str
    text: str
    at: int
    value: str | int | float = ""

    def described(self) -> str:
        """The token as error messages show it."""
        return "end of query" if self.kind == "end" else self.text


def tokens(query: str) -> list[Token]:
    """All tokens, the last of kind ``end``. Raises ParseError at the first character that starts no token."""
    found: list[Token] = []
    at = 0
    while True:
        at = _skipped(query, at)
        if at == len(query):
            return [*found, Token("end", "", at)]
        token = _string(query, at) or _duration_or_number(query, at) or _word(query, at) or _symbol(query, at)
        found.append(token)
        at += len(token.text)
        while found[-1].kind == "scope" and found[-1].text.endswith("."):
            inner = (
                next((f"{s}." for s in ("span", "resource") if query.startswith(f"{s}.", at)), None) if token.text == "parent." else None
            )
            token = Token("scope", inner, at) if inner else _name(query, at)
            found.append(token)
            at += len(token.text)


def duration_ns(text: str) -> int:
    """The nanoseconds of a duration such as ``1h30m`` or ``1.5s``, which must be valid."""
    return sum(round(float(number) * _UNITS_NS[unit]) for number, unit in _DURATION_PART.findall(text))


def is_name(text: str) -> bool:
    """Whether a name can be written after its scope without quotes."""
    return bool(text) and not any(c.isspace() or c in _NOT_IN_NAMES or c == '"' for c in text)


def _skipped(query: str, at: int) -> int:
    """Where the next token starts, after spaces and comments."""
    while at < len(query):
        if query[at].isspace():
            at += 1
        elif query.startswith("//", at):
            end = query.find("\n", at)
            at = end if end >= 0 else len(query)
        elif query.startswith("/*", at):
            end = query.find("*/", at + 2)
            if end < 0:
                raise ParseError(query, at, "the comment that starts here is not closed")
            at = end + 2
        else:
            return at
    return at


def _string(query: str, at: int) -> Token | None:
    if query[at] == "`":
        end = query.find("`", at + 1)
        if end < 0:
            raise ParseError(query, at, "the string that starts here is not closed")
        return Token("string", query[at : end + 1], at, query[at + 1 : end])
    if query[at] != '"':
        return None
    value, end = _quoted(query, at)
    return Token("string", query[at:end], at, value)


def _quoted(query: str, at: int, ends: str = '"\n') -> tuple[str, int]:
    """The value of a string in double quotes, and the offset after it; only names may contain line breaks."""
    out: list[str] = []
    here = at + 1
    while here < len(query) and query[here] not in ends:
        if query[here] != "\\":
            out.append(query[here])
            here += 1
            continue
        match = _ESCAPE.match(query, here)
        if match is None:
            raise ParseError(query, here, "unknown escape sequence in a string")
        simple, *codes, octal = match.groups()
        number = int(octal, 8) if octal else int(next((code for code in codes if code), "0"), 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise ParseError(query, here, "unknown escape sequence in a string")
        out.append(_SIMPLE[simple] if simple else chr(number))
        here = match.end()
    if query[here : here + 1] != '"':
        raise ParseError(query, at, "the string that starts here is not closed")
    return "".join(out), here + 1


def _duration_or_number(query: str, at: int) -> Token | None:
    duration = _DURATION.match(query, at)
    if duration and not query[duration.end() : duration.end() + 1].isalnum():
        return Token("duration", duration[0], at, duration_ns(duration[0]))
    number = _NUMBER.match(query, at)
    if number is None:
        return None
    text = number[0]
    if text.isdigit():
        # By length first: Python refuses to parse thousands of digits.
        if len(text.lstrip("0")) > 19 or int(text) >= 1 << 63:
            raise ParseError(query, at, f"{text[:40]} does not fit a 64-bit integer")
        return Token("int", text, at, int(text))
    if math.isinf(value := float(text)):
        raise ParseError(query, at, f"{text[:40]} does not fit a 64-bit float")
    return Token("float", text, at, value)


def _word(query: str, at: int) -> Token | None:
    if query[at] == ".":
        return Token("scope", ".", at)
    match = _WORD.match(query, at)
    if match is None:
        return None
    text = match[0]
    mark = query[match.end() : match.end() + 1]
    if text in SCOPES and mark in (".", ":") and (mark == ":" or text != "trace"):
        return Token("scope", text + mark, at)
    return Token("word", text, at)


def _symbol(query: str, at: int) -> Token:
    for symbol in SYMBOLS:
        if query.startswith(symbol, at):
            return Token(symbol, symbol, at)
    raise ParseError(query, at, f"unexpected character {query[at]!r}")


def _name(query: str, at: int) -> Token:
    """An attribute's name, which follows its scope without a space."""
    parts: list[str] = []
    here = at
    while here < len(query) and not (query[here].isspace() or query[here] in _NOT_IN_NAMES):
        if query[here] == '"':
            value, here = _quoted(query, here, '"')
            parts.append(value)
        else:
            parts.append(query[here])
            here += 1
    if here == at:
        raise ParseError(query, at, "expected the name of an attribute")
    return Token("name", query[at:here], at, "".join(parts))

"""A JSON scanner that yields the members of an object one by one, up to the first syntax error.

Loki's ``json`` and ``unpack`` keep the members before the error and put the error's text in ``__error_details__``; a decoder of whole
documents can give neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["string", "number", "object", "array", "boolean", "null"]

NO_JSON: Final = "Malformed JSON error"
NO_VALUE: Final = "Unknown value type"
TOO_DEEP: Final = "Value is nested too deeply"
OPEN_STRING: Final = "Value is string, but can't find closing '\"' symbol"
OPEN_ARRAY: Final = "Value is array, but can't find closing ']' symbol"
OPEN_OBJECT: Final = "Value looks like object, but can't find closing '}' symbol"
BAD_ESCAPE: Final = "Encountered an invalid escape sequence in a string"

_SPACES: Final = re.compile(r"[ \t\r\n]*")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_TOKEN: Final = re.compile(r"[^ \n\r\t,}\]]*")
_BLOCK: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}"]', re.DOTALL)
_WORDS: Final[dict[str, Kind]] = {"true": "boolean", "false": "boolean", "null": "null"}
_SURROGATES: Final = re.compile("[\ud800-\udfff\ufffd]")


@dataclass(frozen=True, slots=True)
class Value:
    """A value's kind and its text; a string's is without the quotes, its escapes as written."""

    kind: Kind
    raw: str

    def text(self) -> str:
        """The value as a label's text."""
        return unescaped(self.raw) or "" if self.kind == "string" else "" if self.kind == "null" else self.raw


def unescaped(raw: str) -> str | None:
    """A string's text with escapes resolved; None for an invalid escape. Invalid characters become spaces."""
    if "\\" in raw:
        try:
            raw = json.loads(f'"{raw}"', strict=False)
        except ValueError:
            return None
    return characters_of(raw)


def characters_of(text: str) -> str:
    """A text with lone surrogates, which JSON can express and UTF-8 cannot, and U+FFFD replaced by spaces."""
    return _SURROGATES.sub(" ", text) if _SURROGATES.search(text) else text


def members(text: str) -> Iterator[tuple[str, Value]]:
    """The members of the object that ``text`` begins with. Raises ValueError at the first malformed one."""
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError(OPEN_OBJECT)
    at = _skip(text, at + 1)
    if at == len(text):
        raise ValueError(NO_JSON)
    while text[at : at + 1] != "}":
        key, at = _key(text, at)
        value, at = value_at(text, at)
        yield key, value
        at = _skip(text, at)
        if at == len(text):
            raise ValueError(OPEN_ARRAY)
        if text[at] == ",":
            at = _skip(text, at + 1)
            if at == len(text):
                raise ValueError(OPEN_ARRAY)
        elif text[at] != "}":
            raise ValueError(OPEN_OBJECT)


def elements(text: str) -> Iterator[Value]:
    """The elements of the array that ``text`` is, as far as they can be read."""
    at = _skip(text, 1)
    while at < len(text) and text[at] != "]":
        try:
            value, at = value_at(text, at)
        except ValueError:
            return
        yield value
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at += 1


def value_at(text: str, at: int) -> tuple[Value, int]:
    """The value at an offset, and the offset after it. Raises ValueError."""
    at = _skip(text, at)
    first = text[at : at + 1]
    if not first:
        raise ValueError(NO_JSON)
    if first == '"':
        found = _STRING.match(text, at)
        if found is None:
            raise ValueError(OPEN_STRING)
        return Value("string", found[0][1:-1]), found.end()
    if first in "[{":
        end = _block_end(text, at)
        if end < 0:
            raise ValueError(OPEN_ARRAY if first == "[" else OPEN_OBJECT)
        return Value("array" if first == "[" else "object", text[at:end]), end
    return _plain(text, at)


def _plain(text: str, at: int) -> tuple[Value, int]:
    found = _TOKEN.match(text, at)
    word = found[0] if found else ""
    kind: Kind | None = "number" if word[:1] in tuple("-0123456789") else _WORDS.get(word)
    if kind is None:
        raise ValueError(NO_VALUE)
    return Value(kind, word), at + len(word)


def _key(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] != '"':
        raise ValueError(OPEN_OBJECT)
    found = _STRING.match(text, at)
    if found is None:
        raise ValueError(NO_JSON)
    key = unescaped(found[0][1:-1])
    if key is None:
        raise ValueError(BAD_ESCAPE)
    at = _skip(text, found.end())
    if text[at : at + 1] != ":":
        raise ValueError(NO_JSON)
    return key, at + 1


def _block_end(text: str, at: int) -> int:
    """The offset after the bracket that closes the one at ``at``; -1 where there is none. Only brackets of the same kind count."""
    opened, closed = ("[", "]") if text[at] == "[" else ("{", "}")
    depth = 0
    for found in _BLOCK.finditer(text, at):
        # An unterminated string: everything after the quote may be inside it.
        if found[0] == '"':
            return -1
        if found[0] == opened:
            depth += 1
        elif found[0] == closed:
            depth -= 1
            if not depth:
                return found.end()
    return -1


def _skip(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    return found.end() if found else at

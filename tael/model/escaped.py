"""How words look inside JSON, where prompts and completions of most dialects are: a text search must find what people see. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from tael.model.predicate import words_of

_BREAKS: Final = ("n", "r", "t")
"""The letters of JSON's escapes of line breaks and tabs. ``\\nhello`` has the word ``nhello``, because a backslash separates words."""


def behind_breaks(word: str) -> tuple[str, ...]:
    """The words that a word becomes at the beginning of a line and behind a tab."""
    return tuple(letter + word for letter in _BREAKS)


def with_breaks(word: str) -> tuple[str, ...]:
    """The texts of these words together with the backslash before them."""
    return tuple(f"\\{each}" for each in behind_breaks(word))


def has_words(text: str, words: Collection[str]) -> bool:
    """Whether a text, which may be JSON, has every word, as ``words_of`` gives it."""
    held, lower = set(words_of(text)), text.lower()

    def behind(word: str) -> bool:
        return not held.isdisjoint(behind_breaks(word)) and any(each in lower for each in with_breaks(word))

    return all(word in held or behind(word) for word in words)


def escapes(text: str) -> tuple[str, ...]:
    """A text with characters other than ASCII as JSON may have it escaped, in every case in which a word is written; none for ASCII."""
    if text.isascii():
        return ()
    return tuple(sorted({json.dumps(each)[1:-1] for each in (text, text.lower(), text.upper(), text.capitalize())}))


def contains(text: str, part: str) -> bool:
    """Whether a text, which may be JSON, has a part, ignoring case."""
    lower = text.lower()
    return part.lower() in lower or any(each.lower() in lower for each in escapes(part))

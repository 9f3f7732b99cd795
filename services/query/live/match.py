"""Attributes compared as text, as the hot tier compares them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tael.model.attributes import Attributes, AttributeValue


def has_attribute(tables: Iterable[Attributes], key: str, text: str) -> bool:
    """Whether one of ``tables`` holds ``key`` with a value that ``text`` stands for."""
    return any(key in table and _stands_for(text, table[key]) for table in tables)


def _stands_for(text: str, value: AttributeValue) -> bool:
    """A string is itself, a truth value ``true`` or ``false``, a number any spelling of it; nothing else is a text."""
    if isinstance(value, str):
        return value == text
    if isinstance(value, bool):
        return text == str(value).lower()
    return isinstance(value, int | float) and _number(text) == value


def _number(text: str) -> int | float | None:
    if text.strip() != text or "_" in text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

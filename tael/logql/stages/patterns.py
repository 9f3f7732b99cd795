"""``text <name> text <_>``: the patterns of ``| pattern`` and of the line filters ``|>`` and ``!>``."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

_CAPTURE: Final = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")
_NOT_CAPTURED: Final = "_"


def parts_of(pattern: str) -> list[tuple[str, bool]]:
    """The literal texts and the names of captures (marked True), in order. Raises ValueError for an invalid pattern."""
    split = _CAPTURE.split(pattern)
    parts = [(part, bool(place % 2)) for place, part in enumerate(split) if part or place % 2]
    for (left, one), (right, other) in pairwise(parts):
        if one and other:
            raise ValueError(f"found consecutive capture '<{left}><{right}>': invalid expression")
    return parts


def texts_of(pattern: str) -> list[str]:
    """The literal texts between the captures. Raises ValueError for an invalid pattern."""
    return [part for part, capture in parts_of(pattern) if not capture]


class CapturePattern:
    """Extracts the captures of a pattern from lines. Raises ValueError for a pattern without named captures, or with a repeated name."""

    def __init__(self, pattern: str) -> None:
        self._parts = parts_of(pattern)
        names = [part for part, capture in self._parts if capture and part != _NOT_CAPTURED]
        if not names:
            raise ValueError("at least one capture is required")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"duplicate capture name ({name}): invalid expression")

    def captures(self, line: str) -> list[tuple[str, str]]:
        """The captured names and values. Where a literal is missing, the capture before it takes the rest of the line, later
        ones nothing.
        """
        parts, found, at = self._parts, [], 0
        if not line or (not parts[0][1] and not line.startswith(parts[0][0])):
            return []
        if not parts[0][1]:
            at, parts = len(parts[0][0]), parts[1:]
        for (name, _), (text, _) in zip(parts[::2], [*parts[1::2], ("", False)], strict=False):
            end = line.find(text, at) if text else len(line)
            rest = line[at:] if end < 0 else line[at:end]
            if name != _NOT_CAPTURED:
                found.append((name, rest))
            if end < 0:
                break
            at = end + len(text)
        return found


class LinePattern:
    """Tests lines against a pattern in which ``<_>`` matches one or more characters. Raises ValueError for a named capture."""

    def __init__(self, pattern: str) -> None:
        self._parts = parts_of(pattern)
        for part, capture in self._parts:
            if capture and part != _NOT_CAPTURED:
                raise ValueError(f"named captures are not allowed: found '<{part}>'")

    def matches(self, line: str) -> bool:
        """Whether the line matches; an empty pattern matches only an empty line."""
        if not line or not self._parts:
            return not line and not self._parts
        at = 0
        for place, (text, capture) in enumerate(self._parts):
            if capture:
                continue
            found = line.find(text, at)
            # Every text but the first follows a capture, which must have matched at least one character.
            if found < 0 or (place and found == at):
                return False
            at = found + len(text)
        # A final capture needs at least one remaining character; a final text must end the line.
        return self._parts[-1][1] == (at != len(line))

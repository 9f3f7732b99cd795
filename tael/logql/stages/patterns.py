"""``text <name> text <_>``: the patterns of ``| pattern`` and of the line filters ``|>`` and ``!>``."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

_CAPTURE: Final = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")
_NOT_CAPTURED: Final = "_"


def _parts(pattern: str) -> list[tuple[str, bool]]:
    """The texts and, marked True, the names of captures, in order."""
    split = _CAPTURE.split(pattern)
    parts = [(part, bool(place % 2)) for place, part in enumerate(split) if part or place % 2]
    for (left, one), (right, other) in pairwise(parts):
        if one and other:
            raise ValueError(f"found consecutive capture '<{left}><{right}>': invalid expression")
    return parts


def texts_of(pattern: str) -> list[str]:
    """The texts between the captures. Raises ValueError for a pattern that is none."""
    return [part for part, capture in _parts(pattern) if not capture]


class CapturePattern:
    """Takes a line apart. Raises ValueError for a pattern without names, or with one twice."""

    def __init__(self, pattern: str) -> None:
        self._parts = _parts(pattern)
        names = [part for part, capture in self._parts if capture and part != _NOT_CAPTURED]
        if not names:
            raise ValueError("at least one capture is required")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"duplicate capture name ({name}): invalid expression")

    def captures(self, line: str) -> list[tuple[str, str]]:
        """What each name stands for; where a text is missing, the name before it takes the rest of the line, and later ones nothing."""
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
    """Whether a line is as the pattern says; ``<_>`` stands for one character or more. Raises ValueError for a named capture."""

    def __init__(self, pattern: str) -> None:
        self._parts = _parts(pattern)
        for part, capture in self._parts:
            if capture and part != _NOT_CAPTURED:
                raise ValueError(f"named captures are not allowed: found '<{part}>'")

    def matches(self, line: str) -> bool:
        """An empty pattern matches an empty line alone."""
        if not line or not self._parts:
            return not line and not self._parts
        at = 0
        for place, (text, capture) in enumerate(self._parts):
            if capture:
                continue
            found = line.find(text, at)
            # Before any text but the first there is a capture, which must have taken a character at least.
            if found < 0 or (place and found == at):
                return False
            at = found + len(text)
        # A capture at the end needs something that is left, a text that there is nothing.
        return self._parts[-1][1] == (at != len(line))

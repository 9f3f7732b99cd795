"""RE2 regular expressions in two modes: matching labels (anchored at both ends, the dot matches line ends), and searching lines.

Matching takes time linear in the text for any pattern, so a user's pattern cannot block a process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import re2

from tael.errors import Rejected


class Match(Protocol):
    """A match of a pattern."""

    def group(self, which: int | str, /) -> str | None:
        """The text of a group, None where the group did not participate. Raises IndexError for a group that the pattern does not have."""
        ...


class Pattern(Protocol):
    """A compiled expression."""

    def fullmatch(self, text: str, /) -> Match | None:
        """The match of the whole text, or None."""
        ...


_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)


def expanded(replacement: str, match: Match) -> str:
    """``replacement`` with ``$1`` and ``${name}`` replaced by the groups' texts; an unknown group is empty, ``$$`` is a dollar sign."""

    def one(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(one, replacement)


class Found(Match, Protocol):
    """A match with its position."""

    def start(self) -> int:
        """The offset of its first character."""
        ...

    def end(self) -> int:
        """The offset after its last character."""
        ...


class Search(Protocol):
    """A compiled expression that is searched for anywhere in a text."""

    @property
    def groupindex(self) -> Mapping[str, int]:
        """The numbers of the named groups."""
        ...

    def search(self, text: str, /) -> Found | None:
        """The first match, or None."""
        ...

    def finditer(self, text: str, /) -> Iterator[Found]:
        """All non-overlapping matches, in order."""
        ...


def anchored(pattern: str) -> str:
    """A pattern that, searched for in a text, finds what ``compiled(pattern)`` matches as a whole."""
    return f"^(?s:{pattern})$"


_NAMED = re.compile(r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\(\?P?<\w+>", re.DOTALL)
"""The beginning of a named group, behind what only looks like one: quoted text, an escaped character and a class."""


def unnamed(pattern: str) -> str:
    """A pattern that finds the same and whose groups have no names."""
    return _NAMED.sub(lambda part: "(" if part[0].startswith("(") else part[0], pattern)


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Pattern:
    """``pattern`` for ``fullmatch``. Raises Rejected for an invalid RE2 expression."""
    found: Pattern = _compiled(pattern, dot_nl=True)
    return found


@lru_cache(maxsize=1024)
def searched(pattern: str) -> Search:
    """``pattern`` for ``search``; the dot matches no line end unless the pattern says so. Raises Rejected for an invalid RE2 expression."""
    found: Search = _compiled(pattern, dot_nl=False)
    return found


def _compiled(pattern: str, *, dot_nl: bool) -> Any:
    options = re2.Options()
    # Without logging: RE2 would write every invalid pattern of a user to standard error.
    options.dot_nl, options.log_errors = dot_nl, False
    try:
        return re2.compile(pattern, options)
    except re2.error as problem:
        reason = problem.args[0]
        raise Rejected(_explained(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason))) from None


_GO_WORDS = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "trailing \\": "trailing backslash at end of expression",
}


def _explained(reason: str) -> str:
    """RE2's reason in the words of Go's regexp package, which users of Prometheus know."""
    problem, _, place = reason.partition(": ")
    text = f"error parsing regexp: {_GO_WORDS.get(problem, problem)}"
    return f"{text}: `{place}`" if place else text

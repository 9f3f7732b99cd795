"""RE2's regular expressions: as labels are matched with them, anchored at both ends and the dot also for line ends, and as lines are searched.

Matching takes time linear in the text, whatever the pattern: one that a user sends cannot hold a process up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import re2

from tael.errors import Rejected


class Match(Protocol):
    """What a pattern matched."""

    def group(self, which: int | str, /) -> str | None:
        """The text of a group, None where it took no part. Raises IndexError for a group that the pattern does not have."""
        ...


class Pattern(Protocol):
    """A compiled expression."""

    def fullmatch(self, text: str, /) -> Match | None:
        """The match of the whole text, or None."""
        ...


_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)


def expanded(replacement: str, match: Match) -> str:
    """``replacement`` with the groups' texts for ``$1`` and ``${name}``; a group that there is not is empty, ``$$`` is a dollar sign."""

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
    """Where a pattern was found."""

    def start(self) -> int:
        """The offset of its first character."""
        ...

    def end(self) -> int:
        """The offset behind its last character."""
        ...


class Search(Protocol):
    """A compiled expression that is looked for anywhere in a text."""

    @property
    def groupindex(self) -> Mapping[str, int]:
        """The numbers of the named groups."""
        ...

    def search(self, text: str, /) -> Found | None:
        """The first match, or None."""
        ...

    def finditer(self, text: str, /) -> Iterator[Found]:
        """Every match, none overlapping another."""
        ...


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Pattern:
    """``pattern`` for ``fullmatch``. Raises Rejected when it is no regular expression of RE2."""
    found: Pattern = _compiled(pattern, dot_nl=True)
    return found


@lru_cache(maxsize=1024)
def searched(pattern: str) -> Search:
    """``pattern`` for ``search``; the dot matches no line end unless the pattern says so. Raises Rejected when it is none of RE2's."""
    found: Search = _compiled(pattern, dot_nl=False)
    return found


def _compiled(pattern: str, *, dot_nl: bool) -> Any:
    options = re2.Options()
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
    """RE2's reason in the words of its sibling in Go, which users of Prometheus know."""
    problem, _, place = reason.partition(": ")
    text = f"error parsing regexp: {_GO_WORDS.get(problem, problem)}"
    return f"{text}: `{place}`" if place else text

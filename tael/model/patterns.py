"""RE2's regular expressions, as labels are matched with them: anchored at both ends, the dot also for line ends.

Matching takes time linear in the text, whatever the pattern: one that a user sends cannot hold a process up.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

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


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Pattern:
    """``pattern`` for ``fullmatch``. Raises Rejected when it is no regular expression of RE2."""
    options = re2.Options()
    options.dot_nl, options.log_errors = True, False
    try:
        found: Pattern = re2.compile(pattern, options)
    except re2.error as problem:
        reason = problem.args[0]
        raise Rejected(_explained(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason))) from None
    return found


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

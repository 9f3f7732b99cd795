"""Finds rare needles by the words that begin with a needle's last word, which may be cut: SQL over the words of the text index, pure.

The text index finds lines by whole words. Those that begin with a cut one are looked up among its words: once by themselves, to know
whether they are in few lines, and again inside of the statement that reads the lines. That one looks at the parts of the table before its
subqueries are computed, so that what comes meanwhile has its words among those found or is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tael.cold.files import hour_of
from tael.model.predicate import And, Contains, Or, Predicate, intrinsic
from tael.model.time import NS_PER_SECOND, TimeRange

MOST_LINES: Final = 1_000
"""Of words in more lines, reading all bodies costs no more: lines lie apart, and each takes the decompression of a granule."""
_MOST_WORDS: Final = 4
_SHORTEST: Final = 4
"""More of the words begin with shorter ones than it pays to look up."""
_LAST_WORD: Final = re.compile(rf"(?<=[^A-Za-z0-9\x80-\U0010ffff])[A-Za-z0-9]{{{_SHORTEST},}}$")


@dataclass(frozen=True, slots=True)
class Begun:
    """``words``, in lower case, with which few lines' words begin, and the ``source`` of these: what follows FROM in a SELECT
    of ``token``, up to a condition.
    """

    words: frozenset[str]
    source: str

    def tokens(self, beginning: str) -> str:
        """SQL for the words that begin so, given the parameter of one of ``words``."""
        return f"(SELECT groupArray(token) FROM {self.source} AND startsWith(token, {beginning}))"  # noqa: S608  # names of ours


def last_word(leaf: Contains) -> str:
    """The word, in lower case, that a word of every matching text begins with; empty if none is known."""
    found = _LAST_WORD.search(leaf.text)
    word = found[0].lower() if found else ""
    # In any case, the Kelvin sign is a k and a dotted capital an i; the index keeps them as they are.
    return "" if leaf.ignore_case and not {"i", "k"}.isdisjoint(word) else word


def cut_words(predicate: Predicate) -> tuple[str, ...]:
    """The last words of the needles that lines' bodies have."""
    return tuple(sorted({word for leaf in _needles(predicate) if (word := last_word(leaf))}))[:_MOST_WORDS]


def _needles(predicate: Predicate) -> Iterator[Contains]:
    if isinstance(predicate, And | Or):
        for part in predicate.parts:
            yield from _needles(part)
    elif isinstance(predicate, Contains) and predicate.field == intrinsic("body"):
        yield predicate


def source_of_words(database: str, time_range: TimeRange) -> str:
    """``Begun.source`` for the lines of a bounded range."""
    first, last = (hour_of(at) // NS_PER_SECOND for at in (time_range.start_ns, time_range.end_ns))
    # The name of a part begins with that of its partition, which is an hour.
    return (
        f"mergeTreeTextIndex('{database}', 'logs', 'by_body_word') "
        f"WHERE toUInt64OrZero(splitByChar('_', part_name)[1]) BETWEEN {first} AND {last}"
    )

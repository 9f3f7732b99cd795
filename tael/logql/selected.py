"""What a stream selector needs from the storage. Pure.

Storage knows streams by the labels that every stream may have. A stream that was pushed to Loki's API has others too, which only its
records tell.
"""

from __future__ import annotations

from typing import Final

from tael.model.patterns import anchored
from tael.model.predicate import And, Compare, Exists, Field, Not, Or, Predicate, Regex, all_of, intrinsic
from tael.model.series import Matcher
from tael.model.streams import INDEX_LABELS, PUSHED_SCOPE

_PUSHED: Final = Compare(intrinsic("scope_name"), "=", PUSHED_SCOPE)


def selected(matchers: tuple[Matcher, ...]) -> tuple[tuple[Matcher, ...], Predicate]:
    """The matchers of labels that every stream may have, and what a record satisfies whose stream satisfies the others."""
    of_streams = tuple(matcher for matcher in matchers if matcher.name in INDEX_LABELS)
    return of_streams, all_of(_pushed(matcher) for matcher in matchers if matcher.name not in INDEX_LABELS)


def _pushed(matcher: Matcher) -> Predicate:
    field, negative, passes_without = Field("resource", matcher.name), matcher.op.startswith("!"), matcher.matches("")
    test: Predicate = Regex(field, anchored(matcher.value)) if "~" in matcher.op else Compare(field, "=", matcher.value)
    if not matcher.value and "~" not in matcher.op:
        # Comparing with the empty text asks whether there is such a label.
        test, negative = Exists(field), not negative
    if passes_without:
        return Not(And((_PUSHED, test))) if negative else Or((Not(And((_PUSHED, Exists(field)))), And((_PUSHED, test))))
    return And((_PUSHED, Exists(field), Not(test))) if negative else And((_PUSHED, test))

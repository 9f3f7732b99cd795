"""What a query needs from the storage: a predicate that every wanted line satisfies. Pure.

Lines that satisfy it are filtered again row by row, so it may match too many lines but never too few.
"""

from __future__ import annotations

import re
from typing import Final

from tael.logql.ast import (
    NEGATIVE,
    BothFilters,
    Decolorize,
    Drop,
    EitherFilter,
    Filtered,
    JsonParser,
    Keep,
    LabelFilter,
    LabelFormat,
    LineFilter,
    LineFormat,
    LineText,
    LogfmtParser,
    LogQuery,
    PatternParser,
    RegexpParser,
    Stage,
    TextFilter,
    UnpackParser,
)
from tael.logql.errors import ERROR, ERROR_DETAILS
from tael.logql.from_line import may_pass
from tael.logql.levels import LEVEL
from tael.logql.stages.patterns import texts_of
from tael.model.patterns import anchored
from tael.model.predicate import EVERYTHING, NOTHING, And, Compare, Contains, Exists, Field, Not, Or, Predicate, Regex, all_of, intrinsic
from tael.model.series import Matcher

BODY: Final = intrinsic("body")
BODY_TYPE: Final = intrinsic("body_type")
DETECTED: Final = intrinsic("detected_level")
_SETTERS: Final = (JsonParser, LogfmtParser, RegexpParser, PatternParser, UnpackParser, LabelFormat)
"""Stages that set labels."""

_WRITTEN_AS_READ: Final = Or(tuple(Compare(BODY_TYPE, "=", kind) for kind in ("string", "int", "bool")))
"""Bodies that are stored with the same text as the line."""
_SAFE: Final = re.compile(r"[A-Za-z0-9_ .\-\u0080-\U0010ffff]*")
_LETTERS: Final = re.compile(r"[A-Za-z\u0080-\U0010ffff]{3}")
_WORDS: Final = ("true", "false", "null", "nan", "infinity", "u003c", "u003e", "u0026")


def wanted(query: LogQuery) -> Predicate:
    """A predicate that every line of the query's result satisfies."""
    return all_of(_lines_wanted(query.stages))


def decided(query: LogQuery) -> bool:
    """Whether the predicate alone decides nearly every line."""
    return countable(query.stages)


def _lines_wanted(stages: tuple[Stage, ...]) -> list[Predicate]:
    """The conditions of line filters on a body, and of label filters, up to the first stage that changes the line."""
    found: list[Predicate] = []
    parser: Stage | None
    own, parser = frozenset(("trace_id", "span_id", LEVEL)), None
    for place, stage in enumerate(stages):
        if isinstance(stage, LineFilter):
            found += _line(stage)
        elif isinstance(stage, Filtered):
            found.append(_kept(stage.filter, own, parser))
        elif isinstance(stage, LineFormat | UnpackParser | Decolorize):
            break
        elif isinstance(stage, LabelFormat | Keep) or (isinstance(stage, Drop) and not _drops_errors(stage)):
            own, parser = frozenset(), None
        elif not isinstance(stage, Drop):
            # Where another stage may have set the label, the line does not tell.
            parser = None if any(isinstance(one, _SETTERS) for one in stages[:place]) else stage
            # After a parser, trace_id may be a label that it found in the line. It cannot find the level, which every line has before.
            own = own & {LEVEL}
    return found


def _kept(stage: LabelFilter, own: frozenset[str], parser: Stage | None) -> Predicate:
    """What every line satisfies that the filter keeps; ``own`` are the labels that are still the record's own, ``parser`` the stage that
    found others in the line.
    """
    match stage:
        case BothFilters(left=left, right=right):
            return all_of((_kept(left, own, parser), _kept(right, own, parser)))
        case EitherFilter(left=left, right=right):
            either = (_kept(left, own, parser), _kept(right, own, parser))
            return EVERYTHING if EVERYTHING in either else Or(either)
        case TextFilter(matcher=matcher) if matcher.name in own:
            return _level(matcher) if matcher.name == LEVEL else _id(matcher)
        case _:
            return may_pass(stage, parser) if parser else EVERYTHING


def _line(stage: LineFilter) -> list[Predicate]:
    if any(text.ip for text in stage.texts):
        return []
    parts = [part for part in (_text(stage.op, text) for text in stage.texts) if part is not None]
    # With one alternative that the storage cannot search for, any line may match.
    if len(parts) < len(stage.texts):
        return []
    part = parts[0] if len(parts) == 1 else Or(tuple(parts))
    safe = stage.op not in NEGATIVE and "~" not in stage.op and all(_is_safe(text.text) for text in stage.texts)
    # Maps and arrays are stored in protobuf's encoding, while the line is their JSON: where the two may differ, such bodies
    # always pass, and are filtered row by row.
    return [part if safe else Or((part, Not(_WRITTEN_AS_READ)))]


def _text(op: str, text: LineText) -> Predicate | None:
    if op == "|=":
        return Contains(BODY, text.text) if text.text else And(())
    if op == "!=":
        return Not(Contains(BODY, text.text)) if text.text else NOTHING
    if op == "|~":
        return Regex(BODY, text.text)
    if op == "!~":
        return Not(Regex(BODY, text.text))
    # A line that matches a pattern has all of its literals. A line that does not ("!>") may have any of them, so all lines pass.
    literals = texts_of(text.text) if op == "|>" else []
    return all_of(Contains(BODY, literal) for literal in literals) if literals else None


def _is_safe(text: str) -> bool:
    """Whether a map or an array whose JSON contains the text also contains it in its stored encoding."""
    return (
        _SAFE.fullmatch(text) is not None
        and _LETTERS.search(text) is not None
        and not any(text.lower() in word or word in text.lower() for word in _WORDS)
    )


def _level(matcher: Matcher) -> Predicate:
    """The records whose level matches or is not known without reading the line."""
    is_regex, negative = "~" in matcher.op, matcher.op.startswith("!")
    leaf = Regex(DETECTED, anchored(matcher.value)) if is_regex else Compare(DETECTED, "=", matcher.value)
    # A level that is not known is missing, and satisfies no leaf.
    return Not(leaf) if negative else Or((Not(Exists(DETECTED)), leaf))


def _id(matcher: Matcher) -> Predicate:
    """The records of a trace or a span, and those with an attribute of that name, which may hold the value instead."""
    if matcher.op != "=" or not re.fullmatch(r"(?:[0-9a-f]{2})+", matcher.value):
        return EVERYTHING
    named = tuple(
        Exists(Field(scope, key)) for scope in ("any", "instrumentation") for key in (matcher.name, matcher.name.replace("_", "."))
    )
    return Or((Compare(intrinsic(matcher.name), "=", bytes.fromhex(matcher.value)), *named))


def countable(stages: tuple[Stage, ...]) -> bool:
    """Whether all stages are line filters that can be decided from stored bodies, or filters by levels."""
    return all(
        (isinstance(stage, LineFilter) and not any(text.ip for text in stage.texts) and stage.op not in ("|>", "!>"))
        or (isinstance(stage, Filtered) and _of_levels(stage.filter))
        or (isinstance(stage, Drop) and _drops_errors(stage))
        for stage in stages
    )


def _of_levels(stage: LabelFilter) -> bool:
    if isinstance(stage, BothFilters | EitherFilter):
        return _of_levels(stage.left) and _of_levels(stage.right)
    return isinstance(stage, TextFilter) and stage.matcher.name == LEVEL


def _drops_errors(stage: Drop) -> bool:
    """Whether it only makes failed lines as good as others."""
    return all(label.name in (ERROR, ERROR_DETAILS) for label in stage.labels)

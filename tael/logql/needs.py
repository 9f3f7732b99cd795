"""What a query needs from the storage: a predicate that every wanted line satisfies, and counts instead of lines where these suffice. Pure.

Lines that satisfy the predicate are filtered again row by row, so it may match too many lines but never too few. Shards count exactly those
lines about which they know everything needed without reading them; the others are read row by row.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
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
from tael.logql.flat_json import is_member, is_whole, known_if
from tael.logql.from_line import may_pass
from tael.logql.levels import LEVEL
from tael.logql.samples import BYTES, Leaf
from tael.logql.stages.label_filter import names_read
from tael.logql.stages.patterns import texts_of
from tael.model.log import LineFact
from tael.model.patterns import anchored
from tael.model.predicate import EVERYTHING, NOTHING, And, Compare, Contains, Exists, Field, Not, Or, Predicate, Regex, all_of, intrinsic
from tael.model.series import Matcher
from tael.model.streams import INDEX_LABELS
from tael.vectors.values import Steps

BODY: Final = intrinsic("body")
BODY_TYPE: Final = intrinsic("body_type")
DETECTED: Final = intrinsic("detected_level")
SERVICE: Final = "service_name"
"""The only label that every stream has."""
COUNTED: Final = ("count_over_time", "rate", "bytes_over_time", "bytes_rate")
SUMMED: Final = ("sum_over_time", "avg_over_time", "rate")
"""What is made of the sum and the number of unwrapped labels."""
MAX_SLOTS: Final = 20_000
_NO_ERROR: Final = Filtered(TextFilter(Matcher(ERROR, "=", "")))
_SETTERS: Final = (JsonParser, LogfmtParser, RegexpParser, PatternParser, UnpackParser, LabelFormat)
"""Stages that set labels."""

_WRITTEN_AS_READ: Final = Or(tuple(Compare(BODY_TYPE, "=", kind) for kind in ("string", "int", "bool")))
"""Bodies that are stored with the same text as the line."""
_SAFE: Final = re.compile(r"[A-Za-z0-9_ .\-\u0080-\U0010ffff]*")
_LETTERS: Final = re.compile(r"[A-Za-z\u0080-\U0010ffff]{3}")
_WORDS: Final = ("true", "false", "null", "nan", "infinity", "u003c", "u003e", "u0026")


@dataclass(frozen=True, slots=True)
class Counts:
    """How a leaf is counted. Shards count the lines that satisfy ``predicate`` and of which they know all ``known`` facts; the others must
    be read.

    Slots are ``slot_ns`` long; ``by_level`` groups counts by level, ``by_stream`` by labels of streams. ``labels`` are those that
    distinguish the leaf's series. ``members`` are the labels that ``| json`` finds in lines, of those lines that satisfy ``known_if``: some
    of ``labels``, and what ``stages`` read, which are filters that take or leave all lines of a group. ``summed`` is the one whose
    numbers are added up, if any.
    """

    predicate: Predicate
    known: tuple[LineFact, ...]
    slot_ns: int
    by_level: bool
    by_stream: bool
    labels: tuple[str, ...]
    members: tuple[str, ...] = ()
    known_if: Predicate = EVERYTHING
    stages: tuple[Stage, ...] = ()
    summed: str = ""


def wanted(query: LogQuery) -> Predicate:
    """A predicate that every line of the query's result satisfies."""
    return all_of(_lines_wanted(query.stages))


def decided(query: LogQuery) -> bool:
    """Whether the predicate alone decides nearly every line."""
    return _counted_stages(query.stages)


def counts(leaf: Leaf, steps: Steps) -> Counts | None:
    """How the leaf is counted, None where it must be read line by line."""
    stages, is_json = _without_json(leaf)
    labels, tested = _grouped(leaf, is_json=is_json), _tested(leaf)
    summed = _summed(leaf, is_json=is_json)
    if labels is None or summed is None:
        return None
    # Every window then consists of whole slots: windows move by the step, and are one range long.
    slot_ns = math.gcd(steps.step_ms, leaf.aggregation.range.range_ns) if steps.step_ms else leaf.aggregation.range.range_ns
    span_ns = steps.end_ms - steps.start_ms + leaf.aggregation.range.range_ns
    if not _counted_stages(stages) or not slot_ns or span_ns // slot_ns > MAX_SLOTS:
        return None
    read = {name for stage in tested if isinstance(stage, Filtered) and stage != _NO_ERROR for name in names_read(stage.filter)}
    needed: dict[LineFact, bool] = {
        "line": any(isinstance(stage, LineFilter) for stage in stages) or leaf.aggregation.op in BYTES,
        "labels": bool(labels & INDEX_LABELS.keys() - {SERVICE}),
        "level": LEVEL in labels | read or any(isinstance(stage, Filtered) for stage in stages),
        "no level": "level" in labels and not is_json,
    }
    known = tuple(name for name, is_needed in needed.items() if is_needed)
    members = tuple(sorted((labels | read) - {SERVICE, LEVEL})) if is_json else ()
    flat = known_if(members) if is_json else EVERYTHING
    if summed:
        flat = all_of((known_if(tuple(sorted({*members, summed}))), is_whole(summed)))
    by_stream = bool(labels & INDEX_LABELS.keys())
    by_level = LEVEL in labels | read
    return Counts(wanted(leaf.query), known, slot_ns, by_level, by_stream, tuple(sorted(labels)), members, flat, tested, summed)


def _summed(leaf: Leaf, *, is_json: bool) -> str | None:
    """The member whose numbers are added up, empty where lines are counted, and None where neither gives the leaf's result."""
    op, unwrap = leaf.aggregation.op, leaf.aggregation.range.unwrap
    if unwrap is None:
        return "" if op in COUNTED else None
    # Numbers that are known have no errors, which a filter behind might ask for.
    plain = not unwrap.conversion and all(condition == _NO_ERROR.filter for condition in unwrap.filters)
    return unwrap.label if is_json and op in SUMMED and plain and is_member(unwrap.label) else None


def _without_json(leaf: Leaf) -> tuple[tuple[Stage, ...], bool]:
    """The leaf's stages without those that are nothing to lines that ``known_if`` knows, and whether lines have to be known so: ``| json``,
    which fails none of them, a filter of the lines that failed, and behind it the filters of members, which are run on groups of lines.
    """
    stages = leaf.query.stages
    if JsonParser() not in stages:
        return stages, False
    parsed = stages.index(JsonParser())
    kept = tuple(
        stage
        for place, stage in enumerate(stages)
        if stage != JsonParser() and stage != _NO_ERROR and not (place > parsed and _is_of_members(stage))
    )
    # Where no label is read, no line is parsed, and none can fail.
    return kept, not leaf.hints().nothing


def _tested(leaf: Leaf) -> tuple[Stage, ...]:
    """The stages behind ``| json`` to be run on the labels of a group of lines: filters of members, if there are any, and what becomes of
    the lines that these fail.
    """
    stages = leaf.query.stages
    behind = stages[stages.index(JsonParser()) :] if JsonParser() in stages else ()
    if not any(map(_is_of_members, behind)):
        return ()
    return tuple(stage for stage in behind if _is_of_members(stage) or stage == _NO_ERROR or isinstance(stage, Drop))


def _is_of_members(stage: Stage) -> bool:
    """Whether it is a filter that reads members of lines, and nothing else but the level."""
    if not isinstance(stage, Filtered):
        return False
    names = names_read(stage.filter)
    return any(name != LEVEL for name in names) and all(name == LEVEL or is_member(name) for name in names)


def _grouped(leaf: Leaf, *, is_json: bool) -> set[str] | None:
    """The labels that distinguish the leaf's series, None where shards cannot count by one of them."""
    grouping = leaf.grouping()
    if grouping is None or grouping.without:
        return None
    if is_json:
        # Another label of streams may be missing there, and be a member.
        return set(grouping.labels) if all(name in (SERVICE, LEVEL) or is_member(name) for name in grouping.labels) else None
    known = {*INDEX_LABELS, LEVEL, "level"}
    return set(grouping.labels) if known.issuperset(grouping.labels) else None


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


def _counted_stages(stages: tuple[Stage, ...]) -> bool:
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

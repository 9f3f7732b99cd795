"""What a query needs of the storage: a predicate that no wanted line fails, and counts in place of lines where these are enough. Pure.

Lines that a predicate lets through are looked at again row by row, so it may let through too many, never too few. Counts are exact where a
line's text is the body as it is stored and, with a level asked for, the level is that of the severity; what is not so is left to rows.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from tael.logql.ast import NEGATIVE, Decolorize, Drop, Filtered, LineFilter, LineFormat, LineText, LogQuery, Stage, TextFilter, UnpackParser
from tael.logql.errors import ERROR, ERROR_DETAILS
from tael.logql.levels import LEVEL
from tael.logql.records import SERVICE, STREAM_LABELS
from tael.logql.samples import Leaf
from tael.logql.stages.label_filter import condition
from tael.logql.stages.patterns import texts_of
from tael.model.predicate import NOTHING, And, Compare, Contains, Exists, Field, Not, Or, Predicate, Regex, all_of, intrinsic
from tael.model.series import Matcher
from tael.vectors.values import Steps

BODY: Final = intrinsic("body")
BODY_TYPE: Final = intrinsic("body_type")
SEVERITY_TEXT: Final = "severity_text"
COUNTED: Final = ("count_over_time", "rate", "bytes_over_time", "bytes_rate")
MAX_SLOTS: Final = 20_000

_WRITTEN: Final = ("string", "int", "bool")
"""Types of bodies whose text is stored as the line has it."""
_LEVEL_KEYS: Final = ("level", "LEVEL", "Level", "severity", "SEVERITY", "Severity", "SeverityText", "lvl", "LVL", "Lvl")
"""Attributes that say a line's level before its severity's text does."""
_SAFE: Final = re.compile(r"[A-Za-z0-9_ .\-\u0080-\U0010ffff]*")
_LETTERS: Final = re.compile(r"[A-Za-z\u0080-\U0010ffff]{3}")
_WORDS: Final = ("true", "false", "null", "nan", "infinity", "u003c", "u003e", "u0026")
_PLAIN_VALUE: Final = re.compile(r"-?\d+|true|false")


@dataclass(frozen=True, slots=True)
class Counts:
    """What of a leaf may be counted: lines that satisfy ``counted``, by ``keys``; those that satisfy ``rest`` must be looked at.

    Of each group's labels ``matchers`` decide. Slots are ``slot_ns`` long.
    """

    counted: Predicate
    rest: Predicate
    keys: tuple[str, ...]
    slot_ns: int


def wanted(query: LogQuery) -> Predicate:
    """What every line of the query satisfies."""
    return all_of([streams_wanted(query.matchers), *_lines_wanted(query.stages)])


def streams_wanted(matchers: tuple[Matcher, ...]) -> Predicate:
    """What every record of the streams satisfies."""
    return all_of(_stream(matcher) for matcher in matchers)


def counts(leaf: Leaf, steps: Steps) -> Counts | None:
    """How the leaf is counted, None where it must be read line by line."""
    labels = _grouped(leaf)
    if labels is None or leaf.aggregation.op not in COUNTED or leaf.aggregation.range.unwrap is not None:
        return None
    lines = _exact_lines(leaf.query.stages)
    slot_ns = math.gcd(steps.step_ms, leaf.aggregation.range.range_ns) if steps.step_ms else leaf.aggregation.range.range_ns
    span_ns = steps.end_ms - steps.start_ms + leaf.aggregation.range.range_ns
    if lines is None or not slot_ns or span_ns // slot_ns > MAX_SLOTS:
        return None
    streams = streams_wanted(leaf.query.matchers)
    simple: list[Predicate] = [Or(tuple(Compare(BODY_TYPE, "=", kind) for kind in _WRITTEN))]
    keys = {STREAM_LABELS[name] for name in (*labels, *(matcher.name for matcher in leaf.query.matchers)) if name in STREAM_LABELS}
    if labels & {LEVEL, "level"}:
        keys.add(SEVERITY_TEXT)
        simple += _level_by_severity()
    rest = all_of([streams, *_lines_wanted(leaf.query.stages), Not(all_of(simple))])
    return Counts(all_of([streams, *lines, *simple]), rest, tuple(sorted(keys)), slot_ns)


def _grouped(leaf: Leaf) -> set[str] | None:
    """The labels by which the leaf's series are told apart, None where other labels are needed than can be counted by."""
    grouping = leaf.grouping()
    if grouping is None or grouping.without:
        return None
    known = {*STREAM_LABELS, LEVEL, "level"}
    return set(grouping.labels) if known.issuperset(grouping.labels) else None


def _stream(matcher: Matcher) -> Predicate:
    """A matcher on a label that streams cannot have is decided at once."""
    if matcher.name not in STREAM_LABELS:
        return And(()) if condition(matcher)("") else NOTHING
    service = matcher.name == SERVICE
    field = intrinsic("service") if service else Field("resource", STREAM_LABELS[matcher.name])
    if matcher.op in ("!=", "!~"):
        return Not(_equal(field, matcher))
    absent: list[Predicate] = [] if service or not condition(matcher)("") else [Not(Exists(field))]
    if not service and (matcher.op == "=~" or _PLAIN_VALUE.fullmatch(matcher.value)):
        absent.append(And((Exists(field), Not(Regex(field, "")))))
    positive = _equal(field, matcher)
    return Or((positive, *absent)) if absent else positive


def _equal(field: Field, matcher: Matcher) -> Predicate:
    return Compare(field, "=", matcher.value) if matcher.op in ("=", "!=") else Regex(field, f"^(?s:{matcher.value})$")


def _lines_wanted(stages: tuple[Stage, ...]) -> list[Predicate]:
    """What line filters ask of a body, as long as the line is the body."""
    found: list[Predicate] = []
    parsed = False
    for stage in stages:
        if isinstance(stage, LineFilter):
            found += _line(stage)
        elif isinstance(stage, Filtered) and not parsed and isinstance(stage.filter, TextFilter):
            found += _id(stage.filter.matcher)
        elif isinstance(stage, LineFormat | UnpackParser | Decolorize):
            break
        elif not isinstance(stage, Filtered):
            parsed = True
    return found


def _line(stage: LineFilter) -> list[Predicate]:
    if any(text.ip for text in stage.texts):
        return []
    parts = [part for part in (_text(stage.op, text) for text in stage.texts) if part is not None]
    if len(parts) < len(stage.texts):
        return []
    part = parts[0] if len(parts) == 1 else Or(tuple(parts))
    safe = stage.op not in NEGATIVE and "~" not in stage.op and all(_is_safe(text.text) for text in stage.texts)
    return [part if safe else Or((part, Not(Or(tuple(Compare(BODY_TYPE, "=", kind) for kind in _WRITTEN)))))]


def _text(op: str, text: LineText) -> Predicate | None:
    if op == "|=":
        return Contains(BODY, text.text) if text.text else And(())
    if op == "!=":
        return Not(Contains(BODY, text.text)) if text.text else NOTHING
    if op == "|~":
        return Regex(BODY, text.text)
    if op == "!~":
        return Not(Regex(BODY, text.text))
    literals = texts_of(text.text) if op == "|>" else []
    return all_of(Contains(BODY, literal) for literal in literals) if literals else None


def _is_safe(text: str) -> bool:
    """Whether a body that is a map or an array holds the text in its encoding when it holds it in its JSON."""
    return (
        _SAFE.fullmatch(text) is not None
        and _LETTERS.search(text) is not None
        and not any(text.lower() in word or word in text.lower() for word in _WORDS)
    )


def _id(matcher: Matcher) -> list[Predicate]:
    """The records of a trace or a span, and those that have an attribute of that name."""
    if matcher.op != "=" or matcher.name not in ("trace_id", "span_id") or not re.fullmatch(r"(?:[0-9a-f]{2})+", matcher.value):
        return []
    named = tuple(
        Exists(Field(scope, key)) for scope in ("any", "instrumentation") for key in (matcher.name, matcher.name.replace("_", "."))
    )
    return [Or((Compare(intrinsic(matcher.name), "=", bytes.fromhex(matcher.value)), *named))]


def _exact_lines(stages: tuple[Stage, ...]) -> list[Predicate] | None:
    """Line filters as conditions on bodies that are stored as they are read; None where some stage is more than that."""
    found: list[Predicate] = []
    for stage in stages:
        if isinstance(stage, LineFilter) and not any(text.ip for text in stage.texts) and stage.op not in ("|>", "!>"):
            parts = [_text(stage.op, text) for text in stage.texts]
            found.append(Or(tuple(part for part in parts if part is not None)) if len(parts) > 1 else parts[0] or And(()))
        elif not (isinstance(stage, Drop) and all(label.name in (ERROR, ERROR_DETAILS) for label in stage.labels)):
            return None
    return found


def _level_by_severity() -> list[Predicate]:
    """Records whose level is the text of their severity."""
    keys = [Not(Exists(Field(scope, key))) for scope in ("any", "instrumentation") for key in _LEVEL_KEYS]
    return [Compare(intrinsic(SEVERITY_TEXT), "!=", ""), *keys]

r"""Conditions on the text of lines that every line satisfies whose parsed label passes a filter, so that storage leaves out most others. Pure.

A label that ``| json`` finds is written in the line as ``"key": value``, one of ``| logfmt`` as ``key=value``, where the key ends with the last word of the label's name. What may be written
otherwise always passes: lines with a backslash, whose texts may be escaped; bodies that are not stored as their line; and records that have an attribute of the name,
which hides the parsed label. Lines that pass are filtered again, row by row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

from tael.logql.ast import DurationFilter, JsonParser, LabelFilter, LogfmtParser, NumberFilter, SizeFilter, Stage, TextFilter
from tael.logql.errors import ERROR, ERROR_DETAILS, PRESERVE_ERROR
from tael.logql.levels import LEVEL
from tael.logql.row import EXTRACTED
from tael.model.patterns import compiled
from tael.model.predicate import EVERYTHING, Compare, Contains, Not, Or, Predicate, Regex, intrinsic
from tael.model.series import Matcher
from tael.model.streams import INDEX_LABELS

_BODY: Final = intrinsic("body")
_STRING: Final = Compare(intrinsic("body_type"), "=", "string")
_OWN: Final = frozenset(
    (
        *INDEX_LABELS, LEVEL, "observed_timestamp", "severity_number", "severity_text", "dropped_attributes_count", "flags", "trace_id", "span_id", "event_name",
        "scope_name", "scope_version", "scope_dropped_attributes_count", ERROR, ERROR_DETAILS, PRESERVE_ERROR,
    )
)  # fmt: skip
"""Labels that a line may have without an attribute or a member of the name."""
_WORD: Final = re.compile("[a-zA-Z0-9]+")
_PLAIN: Final = re.compile(r'[^\s"\\\ufffd]*')
"""The beginning of a value that is written in the line as it is."""
_SIMPLE: Final = re.compile(r"(?:[A-Za-z0-9_.|)*+\-/:]|\((?!\?))*")
"""Regular expressions that match a text in a line as they match it alone."""
_END: Final = r'(?:["\x00-\x20,}\]]|$)'
_MAX_EXACT: Final = 1 << 53


def may_pass(stage: LabelFilter, parser: Stage) -> Predicate:
    """What every line satisfies whose label, found by the parser, passes a filter of one label; EVERYTHING where nothing is known."""
    if not isinstance(parser, JsonParser | LogfmtParser) or parser.extractions or (isinstance(parser, LogfmtParser) and parser.keep_empty):
        return EVERYTHING
    logfmt = isinstance(parser, LogfmtParser)
    match stage:
        case TextFilter(matcher=matcher):
            name, value = matcher.name, _text(matcher)
        case NumberFilter(name=name):
            value = _number(stage, r"\x00-\x20" if logfmt else r",}\]\s")
        case DurationFilter(name=name) | SizeFilter(name=name):
            # What cannot be read passes too, as an error, but a label that is missing does not.
            value = ""
        case _:
            return EVERYTHING
    words = _WORD.findall(name)
    # A digit at the beginning of an attribute's key gets a prefix, and a label of a name that the record has a suffix.
    if value is None or not words or name in _OWN or name.startswith("key_") or name.endswith(EXTRACTED):
        return EVERYTHING
    return Or(
        (
            Regex(_BODY, f"{_key(words, logfmt=logfmt)}{value}"),
            Contains(_BODY, "\\"),
            Not(_STRING),
            Regex(intrinsic("attribute_keys"), _keys(words)),
        )
    )


def _key(words: list[str], *, logfmt: bool) -> str:
    """A regular expression of the end of the key in the line, and of what is between it and the value."""
    if logfmt:
        return rf'(?:^|[^A-Za-z0-9]){words[-1]}[^"=A-Za-z0-9]*='
    alone = r'[^"A-Za-z0-9]*' if len(words) == 1 else r'(?:[^"]*[^"A-Za-z0-9])?'
    return rf'"{alone}{words[-1]}[^"A-Za-z0-9]*"\s*:\s*'


def _keys(words: list[str]) -> str:
    """A regular expression of the keys of attributes that may become the label: as it is written, or of a map that its first words name."""
    tail = ""
    for word in reversed(words[1:]):
        tail = f"(?:[^a-zA-Z0-9]+{word}{tail})?"
    return f"^[^a-zA-Z0-9]*(?:{words[0]}{tail})?[^a-zA-Z0-9]*$"


def _text(matcher: Matcher) -> str | None:
    """A regular expression of what follows the key where the label's text passes; None where a missing label passes too."""
    if matcher.op == "!=":
        return None if matcher.value else ""
    if matcher.op == "=":
        plain = _PLAIN.match(matcher.value)
        kept = plain[0] if plain else ""
        # An object may be the value too: {"a": {"": "x"}} also gives the label a.
        return rf'(?:\{{|"?{re.escape(kept)}{_END if kept == matcher.value else ""})' if matcher.value else None
    if matcher.op == "!~" or compiled(matcher.value).fullmatch(""):
        return None
    return rf'(?:\{{|"?(?s:{matcher.value}))' if _SIMPLE.fullmatch(matcher.value) else ""


def _number(stage: NumberFilter, ends: str) -> str:
    """The same for a number, which one of ``ends`` follows: whole numbers in plain digits pass by their value, and whatever else, which may be one or be none."""
    digits = "|".join(_digits(*_between(stage.op, stage.value)))
    plain = rf"0*(?:{digits})(?:[^0-9]|$)|" if digits else ""
    return rf'(?:"(?:[^0-9]|{plain}[0-9]+[^0-9"])|[^0-9"\s]|{plain}[0-9]+[^0-9{ends}])'


def _between(op: str, value: float) -> tuple[int, int | None]:
    """The least and the greatest whole number, not negative, that passes; None for no greatest."""
    if not abs(value) < _MAX_EXACT or op == "!=":
        return 0, None
    if op in ("=", "=="):
        return math.ceil(value), math.floor(value)
    if op in (">", ">="):
        return math.floor(value) + 1 if op == ">" else math.ceil(value), None
    return 0, math.ceil(value) - 1 if op == "<" else math.floor(value)


def _digits(least: int, most: int | None) -> Iterator[str]:
    """Regular expressions that together match the numbers of the interval, and at least a digit, after any further zeros."""
    least = max(least, 0)
    if most is None:
        yield from _at_least(str(least)) if least else ["[0-9]+"]
    elif least == most:
        yield str(least)
    elif least == 0 < most + 1:
        yield from _at_most(str(most))


def _at_least(digits: str) -> Iterator[str]:
    yield digits
    yield f"[1-9][0-9]{{{len(digits)},}}"
    for place, digit in enumerate(digits):
        if digit < "9":
            yield f"{digits[:place]}[{int(digit) + 1}-9][0-9]{{{len(digits) - place - 1}}}"


def _at_most(digits: str) -> Iterator[str]:
    yield digits
    if len(digits) > 1:
        yield f"[0-9]{{1,{len(digits) - 1}}}"
    for place, digit in enumerate(digits):
        if digit > "0":
            yield f"{digits[:place]}[0-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"

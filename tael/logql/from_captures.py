r"""Conditions on the text of lines that every line satisfies whose part, captured by ``| pattern`` or ``| regexp``, passes a filter. Pure.

What is captured is a part of the line as it is written: behind the text in front of the capture, and up to the text behind it or the end of
the line.
"""

from __future__ import annotations

import re
from typing import Final

from tael.logql.ast import LabelFilter, NumberFilter, PatternParser, RegexpParser, TextFilter
from tael.logql.number_text import passing
from tael.logql.stages.names import label_name
from tael.logql.stages.patterns import parts_of
from tael.model.patterns import searched
from tael.model.predicate import EVERYTHING, Contains, Predicate, Regex, all_of, intrinsic
from tael.model.series import Matcher

_BODY: Final = intrinsic("body")
SIMPLE: Final = re.compile(r"(?:[A-Za-z0-9_.|)*+\-/:]|\((?!\?))*")
"""Regular expressions that match a text in a line as they match it alone."""


def captured(stage: LabelFilter, name: str, parser: PatternParser | RegexpParser) -> Predicate:
    """What a line satisfies whose label ``name``, which is captured, passes a filter; EVERYTHING where nothing is known."""
    if isinstance(stage, TextFilter) and stage.matcher.matches(""):
        return EVERYTHING
    return _by_pattern(stage, name, parser.pattern) if isinstance(parser, PatternParser) else _by_regexp(stage, name, parser.pattern)


def _by_pattern(stage: LabelFilter, name: str, pattern: str) -> Predicate:
    parts = parts_of(pattern)
    if (name, True) not in parts:
        return EVERYTHING
    place = parts.index((name, True))
    front = re.escape(parts[place - 1][0]) if place else ""
    # Only a text in front of all captures must begin the line.
    front = f"^{front}" if place < 2 else front
    behind = parts[place + 1][0] if place + 1 < len(parts) else ""
    value = (
        _text(stage.matcher, behind) if isinstance(stage, TextFilter) else _number(stage, behind) if isinstance(stage, NumberFilter) else ""
    )
    return Regex(_BODY, front + value) if value or front != "^" else EVERYTHING


def _text(matcher: Matcher, behind: str) -> str:
    end = f"(?:{re.escape(behind)}|$)" if behind else "$"
    if matcher.op == "=":
        return re.escape(matcher.value) + end
    return f"(?s:{matcher.value}){end}" if matcher.op == "=~" and SIMPLE.fullmatch(matcher.value) else ""


def _number(stage: NumberFilter, behind: str) -> str:
    first = behind[:1]
    if first.isdigit() or first == ".":
        return ""
    # Behind digits, what is behind the capture may begin and not go on: the capture then goes on, and is no number.
    begun = [f"{re.escape(behind[:place])}(?:[^{re.escape(behind[place])}]|$)" for place in range(1, len(behind))]
    further = rf"[0-9]+(?:\.[0-9]*)?(?:{'|'.join(begun)})" if begun else ""
    return f"(?:[^0-9]|$|{passing(stage, re.escape(first), further=further)})"


def _by_regexp(stage: LabelFilter, name: str, pattern: str) -> Predicate:
    # Not all versions of RE2 read (?<name>.
    if "(?<" in pattern or name not in map(label_name, searched(pattern).groupindex):
        return EVERYTHING
    matched = Regex(_BODY, pattern)
    match stage:
        case TextFilter(matcher=Matcher(op="=", value=value)):
            return all_of((matched, Contains(_BODY, value)))
        case TextFilter(matcher=Matcher(op="=~", value=value)) if SIMPLE.fullmatch(value):
            return all_of((matched, Regex(_BODY, f"(?s:{value})")))
        case _:
            return matched

r"""Conditions on the text of lines that every line satisfies whose parsed label passes a filter, so that storage leaves out most others.
Pure.

A label that ``| json`` finds is written in the line as ``"key": value``, one of ``| logfmt`` as ``key=value``, where the key ends with the
last word of the label's name. What may be written otherwise always passes: lines with a backslash, whose texts may be escaped; bodies that
are not stored as their line; and records that have an attribute of the name, which hides the parsed label. Lines that pass are filtered
again, row by row.
"""

from __future__ import annotations

import re
from typing import Final

from tael.logql.ast import (
    BothFilters,
    DurationFilter,
    EitherFilter,
    IpFilter,
    JsonParser,
    LabelFilter,
    LogfmtParser,
    NumberFilter,
    PatternParser,
    RegexpParser,
    SizeFilter,
    Stage,
    TextFilter,
)
from tael.logql.errors import ERROR, ERROR_DETAILS, PRESERVE_ERROR
from tael.logql.from_captures import SIMPLE, captured
from tael.logql.levels import LEVEL
from tael.logql.number_text import passing
from tael.logql.row import EXTRACTED
from tael.logql.stages.json_path import json_path
from tael.logql.stages.logfmt import logfmt_key
from tael.logql.stages.names import label_name
from tael.model.predicate import EVERYTHING, Compare, Contains, Not, Or, Predicate, Regex, intrinsic
from tael.model.series import Matcher
from tael.model.streams import INDEX_LABELS

_BODY: Final = intrinsic("body")
STRING: Final = Compare(intrinsic("body_type"), "=", "string")
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
_KEY: Final = re.compile(r"[!#-\[\]-~]+")
"""Keys that are written in JSON as they are."""
_END: Final = r'(?:["\x00-\x20,}\]]|$)'


def may_pass(stage: LabelFilter, parser: Stage) -> Predicate:
    """What every line satisfies whose label, found by the parser, passes a filter of one label; EVERYTHING where nothing is known."""
    if isinstance(stage, IpFilter | BothFilters | EitherFilter):
        return EVERYTHING
    name = stage.matcher.name if isinstance(stage, TextFilter) else stage.name
    words = _WORD.findall(name)
    if not words or not is_as_written(name):
        return EVERYTHING
    found = _found(stage, name, parser)
    if found == EVERYTHING:
        return found
    return Or((found, Not(STRING), Regex(intrinsic("attribute_keys"), keys_of(name))))


def _found(stage: TextFilter | NumberFilter | DurationFilter | SizeFilter, name: str, parser: Stage) -> Predicate:
    """What a line satisfies whose label ``name``, which the parser finds, passes a filter."""
    if isinstance(parser, PatternParser | RegexpParser):
        return captured(stage, name, parser)
    if not isinstance(parser, JsonParser | LogfmtParser):
        return EVERYTHING
    value, key = _value(stage, parser), _key_of(name, parser)
    return EVERYTHING if value is None or key is None else Or((Regex(_BODY, key + value), Contains(_BODY, "\\")))


def _value(stage: TextFilter | NumberFilter | DurationFilter | SizeFilter, parser: JsonParser | LogfmtParser) -> str | None:
    """A regular expression of what follows the key where the label passes; None where a missing label passes too."""
    logfmt = isinstance(parser, LogfmtParser)
    if isinstance(stage, TextFilter):
        return _text(stage.matcher)
    # Where a label is asked for by a path, or empty ones are kept, a line without it has the empty text, which is no number and passes as
    # an error.
    if parser.extractions or (isinstance(parser, LogfmtParser) and parser.keep_empty):
        return None
    if isinstance(stage, NumberFilter):
        return _number(stage, r"\x00-\x20" if logfmt else r",}\]\s")
    # What cannot be read passes too, as an error, but a label that is missing does not.
    return ""


def _key_of(name: str, parser: JsonParser | LogfmtParser) -> str | None:
    """A regular expression of the end of the key of a label, and of what is between it and the value; None where it is not known."""
    if not parser.extractions:
        return _key(_WORD.findall(name), logfmt=isinstance(parser, LogfmtParser))
    paths = [extraction.expression for extraction in parser.extractions if extraction.label == name]
    if len(paths) != 1:
        return None
    if isinstance(parser, LogfmtParser):
        words = _WORD.findall(label_name(logfmt_key(paths[0])))
        return _key(words, logfmt=True) if words else None
    last = json_path(paths[0])[-1]
    return rf'"{re.escape(last)}"\s*:\s*' if isinstance(last, str) and _KEY.fullmatch(last) else None


def _key(words: list[str], *, logfmt: bool) -> str:
    """A regular expression of the end of the key in the line, and of what is between it and the value."""
    if logfmt:
        return rf'(?:^|[^A-Za-z0-9]){words[-1]}[^"=A-Za-z0-9]*='
    alone = r'[^"A-Za-z0-9]*' if len(words) == 1 else r'(?:[^"]*[^"A-Za-z0-9])?'
    return rf'"{alone}{words[-1]}[^"A-Za-z0-9]*"\s*:\s*'


def is_as_written(label: str) -> bool:
    """Whether a label that a parser finds has the name that the line gives it: no stream or record has a label of its own by this name."""
    # A digit at the beginning of an attribute's key gets a prefix, and a label of a name that the record has a suffix.
    return label not in _OWN and not label.startswith("key_") and not label.endswith(EXTRACTED)


def keys_of(label: str) -> str:
    """A regular expression of the keys of attributes that may become the label: as it is written, or of a map that its first words name."""
    words, tail = _WORD.findall(label), ""
    for word in reversed(words[1:]):
        tail = f"(?:[^a-zA-Z0-9]+{word}{tail})?"
    return f"^[^a-zA-Z0-9]*(?:{words[0]}{tail})?[^a-zA-Z0-9]*$"


def _text(matcher: Matcher) -> str | None:
    """A regular expression of what follows the key where the label's text passes; None where a missing label passes too."""
    if matcher.matches(""):
        return None
    if matcher.op == "=":
        plain = _PLAIN.match(matcher.value)
        kept = plain[0] if plain else ""
        # An object may be the value too: {"a": {"": "x"}} also gives the label a.
        return rf'(?:[\[{{]|"?{re.escape(kept)}{_END if kept == matcher.value else ""})'
    return rf'(?:[\[{{]|"?(?s:{matcher.value}))' if matcher.op == "=~" and SIMPLE.fullmatch(matcher.value) else ""


def _number(stage: NumberFilter, ends: str) -> str:
    """The same for a number, which one of ``ends`` follows: plain digits pass by their value, and whatever else, which may be one or be
    none.
    """
    return rf'(?:"(?:[^0-9]|{passing(stage, chr(34))})|[^0-9"\s]|{passing(stage, ends)})'

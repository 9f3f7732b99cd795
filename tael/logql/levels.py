"""``detected_level``: the level that a line is shown with, from its labels, its severity, or the line itself.

An unknown word in a label is kept, so the set of levels is open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from tael.logql.stages.json_scan import members
from tael.logql.stages.logfmt import pairs

LEVEL: Final = "detected_level"
UNKNOWN: Final = "unknown"
LEVEL_NAMES: Final = (
    "level", "LEVEL", "Level", "log.level", "severity", "SEVERITY", "Severity", "SeverityText", "lvl", "LVL", "Lvl", "severity_text",
    "Severity_Text", "SEVERITY_TEXT",
)  # fmt: skip
"""The labels and members that may hold a level; the first one found wins."""

SEVERITIES: Final = ("trace", "debug", "info", "warn", "error", "fatal")
"""OTLP's severity ranges in order, four numbers each."""

WORDS: Final = {
    "trace": "trace", "trc": "trace", "debug": "debug", "dbg": "debug", "info": "info", "inf": "info", "information": "info", "warn": "warn",
    "wrn": "warn", "warning": "warn", "error": "error", "err": "error", "critical": "critical", "fatal": "fatal",
}  # fmt: skip

_DEPTH: Final = 2
_IN_LINE: Final = re.compile(
    r"""(?:^|(?<=[ \t\n\[({"'=|]))(trace|debug|fatal|critical|error|err|warning|warn|info)(?=$|[ \t\n\[\](){}:,!"'=|])""",
    re.IGNORECASE | re.ASCII,
)


def detected_level(stream: Mapping[str, str], metadata: Mapping[str, str], severity_number: int, line: str) -> str:
    """The level of a line."""
    for labels in (stream, metadata):
        for name in LEVEL_NAMES:
            if name in labels:
                return normalized(labels[name])
    if severity_number:
        return SEVERITIES[(severity_number - 1) // 4] if 1 <= severity_number <= 24 else UNKNOWN
    return line_level(line)


def normalized(word: str) -> str:
    """A level's word in its canonical spelling; any other word unchanged."""
    return WORDS.get(word.lower(), word)


def line_level(line: str) -> str:
    """The level found in a line: a member of JSON or logfmt, or else the first word that is a level."""
    text = line.strip()
    word = ""
    if text.startswith("{") and text.endswith("}"):
        word = next(_json_levels(line, _DEPTH), "")
    elif "=" in line:
        word = _logfmt_level(line)
    if word.lower() in WORDS:
        return WORDS[word.lower()]
    found = _IN_LINE.search(line)
    return WORDS[found[1].lower()] if found else UNKNOWN


def _json_levels(text: str, depth: int) -> Iterator[str]:
    try:
        for key, value in members(text):
            if value.kind == "string" and key in LEVEL_NAMES:
                yield value.text()
            elif value.kind == "object" and depth > 1:
                yield from _json_levels(value.raw, depth - 1)
    except ValueError:
        return


def _logfmt_level(line: str) -> str:
    found = {key.lower(): value for key, value in pairs(line, strict=False)}
    return next((found[name.lower()] for name in LEVEL_NAMES if name.lower() in found), "")

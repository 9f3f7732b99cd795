"""The facts about a record's line that counting needs without reading it, as SQL: its level, and whether attributes may become labels.
Pure.

tael.logql.levels and tael.logql.records define a line's level and labels. For most records these expressions find the same; for the others
they report that it is not known, and those records are read one by one. Two columns of ``logs`` store the facts, so that counts do not read
the maps of attributes (docs/adr/0027).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tael.logql.levels import LEVEL, LEVEL_NAMES, SEVERITIES, UNKNOWN, WORDS
from tael.model.log import LineFact
from tael.model.streams import INDEX_LABELS

LEVELS: Final = {name: at for at, name in enumerate(("", UNKNOWN, *SEVERITIES, "critical"))}
"""The levels that have a code of their own; the empty one means that the line must be read."""
AS_SEVERITY: Final = "as_severity"
"""The level of a record whose severity text, which is not a known word, is its level."""
_CODES: Final = {**LEVELS, AS_SEVERITY: 15}
LEVEL_TYPE: Final = "Enum8(" + ", ".join(f"'{name}' = {code}" for name, code in _CODES.items()) + ")"

_MAP: Final = "IsMap"
"""Appended to the key of an attribute that is a map."""
_KEY: Final = "IsKey"
"""The mark before and after each key when several are joined to one text; no key that is looked for contains it."""
_TEXT: Final = f"Text{_KEY}"
"""The mark of keys whose value is a string."""
_LABELS: Final = {label: 1 << at for at, label in enumerate(label for label in INDEX_LABELS if label != "service_name")}
_LEVELS: Final = tuple(name for name in (*LEVEL_NAMES, LEVEL) if "." not in name)
_ONE_LEVEL: Final = tuple(name for name in LEVEL_NAMES if "." not in name and "text" not in name.lower())
_A_LEVEL, _MORE_LEVELS, _A_MAP, _SHARED, _KNOWN = (1 << bit for bit in (24, 25, 26, 27, 31))
_MAPS: Final = dict.fromkeys(name[:at] for name in (*_LABELS, *_LEVELS) for at, letter in enumerate(name + "_") if letter == "_")
_BITS: Final = {
    **_LABELS,
    **{name: _A_LEVEL if name in _ONE_LEVEL else _MORE_LEVELS for name in _LEVELS},
    # Maps that may have a member of such a name.
    **{f"{name}{_MAP}": _A_MAP for start in ("", *_MAPS) for name in (start, f"{start}_")},
}
"""The bit of each key that a record's attribute may have, written as a label is."""

_PUNCTUATION: Final = "".join(
    f"\\x{code:02x}" if code < 32 or code == 127 or chr(code) in "'\\" else chr(code) for code in range(128) if not chr(code).isalnum()
)
_RUN: Final = "[^a-zA-Z0-9]+"
_IN_LINE: Final = "(?i)(?:^|[ \\\\t\\\\n\\\\[({\"\\'=|])(trace|debug|fatal|critical|error|err|warning|warn|info)(?:$|[ \\\\t\\\\n\\\\[\\\\](){}:,!\"\\'=|])"
"""The regular expression of tael.logql.levels, matching the characters beside the word instead of looking around, which RE2 cannot."""


def _none_of(bits: int) -> str:
    """The condition that no attribute has a name with one of these bits."""
    return f"bitAnd(line_names, {bits | _A_MAP | _SHARED | _KNOWN}) = {_KNOWN}"


KNOWN_IF: Final[dict[LineFact, str]] = {
    "line": "body_type IN ('string', 'int', 'bool')",
    "labels": _none_of(sum(_LABELS.values())),
    "level": "line_level != ''",
    "no level": _none_of(_A_LEVEL | _MORE_LEVELS),
}
"""For each fact, the condition on a row of ``logs`` that it is known of its line."""
LEVEL_WORDS: Final = tuple(name for name in LEVELS if name)
"""The levels that are stored by name."""
OTHER_LEVEL: Final = f"line_level = '{AS_SEVERITY}'"
"""The condition that the level, which is known, is the text of the severity and none of these."""
LEVEL_SHOWN: Final = f"if({OTHER_LEVEL}, toString(severity_text), toString(line_level))"
"""SQL for the level, if it is known."""


def names() -> str:
    """SQL for the bits of a record's attributes, and one more bit if an attribute of its resource or scope may have any of these names."""
    bits = f"arrayReduce('groupBitOr', arrayMap(k -> {_transformed(_label('k'), _BITS, 'toUInt32(0)')}, {_keys('attributes')}))"
    # One text of all keys, each in marks, and of low cardinality: records of an insert have few resources and scopes, and each such text is
    # looked at once. A resource's texts under the keys of labels are the stream's labels, and are taken out.
    texts = f"arrayStringConcat(mapKeys(resource_string), '{_TEXT * 2}')"
    others = f"arrayStringConcat(arrayConcat({_keys('resource', but='string')}, mapKeys(scope_string), {_maps('scope')}), '{_KEY * 2}')"
    keys = f"toLowCardinality(concat('{_TEXT}', {texts}, '{_TEXT}{_KEY}', {others}, '{_KEY}'))"
    rest = f"replaceRegexpAll({keys}, '{_TEXT}(?:{'|'.join(INDEX_LABELS.values()).replace('.', '[.]')}){_TEXT}', '')"
    shared = f"match(replaceRegexpAll({rest}, '{_RUN}', '_'), '{_KEY}(?:{'|'.join(_BITS)})(?:{_KEY}|{_TEXT})')"
    return f"bitOr({bits}, if({shared}, {_KNOWN + _SHARED}, {_KNOWN}))"


def _keys(of: str, *, but: str = "") -> str:
    """SQL for the keys of these attributes; those of maps are marked."""
    maps = [f"mapKeys({of}_{kind})" for kind in ("string", "int", "double", "bool") if kind != but]
    return f"arrayConcat({', '.join(maps)}, {_maps(of)})"


def _maps(of: str) -> str:
    return f"arrayMap((k, v) -> concat(k, if(startsWith(v, 'k'), '{_MAP}', '')), mapKeys({of}_other), mapValues({of}_other))"


def _label(key: str) -> str:
    """SQL for a key as a label's name, with underscores for other characters; only the few keys that need more go through a regular
    expression.
    """
    each = f"translate({key}, '{_PUNCTUATION}', '{'_' * 66}')"
    return f"if(position({each} AS line_name, '__') != 0 OR lengthUTF8(line_name) != length(line_name), replaceRegexpAll(line_name, '{_RUN}', '_'), line_name)"


def level() -> str:
    """SQL for the code of a line's level: from an attribute, else from the severity, else from the line itself; 0 if it is not known."""
    by_attribute = f"bitTest(line_names, {_A_LEVEL.bit_length() - 1})"
    texts = f"arrayFilter((t, k) -> k IN ({_listed(_ONE_LEVEL)}), mapValues(attributes_string), mapKeys(attributes_string))"
    # Of several the first in LEVEL_NAMES wins, whatever its type, so one that is not a text leaves the level open as well.
    several = f"arrayCount(k -> k IN ({_listed(_ONE_LEVEL)}), {_keys('attributes')}) != 1"
    severities = ", ".join(f"'{name}'" for name in SEVERITIES)
    # Whether no member of JSON or logfmt can name the level.
    plain = (
        "body_type = 'string' AND NOT (match(body, '[={]') AND multiSearchAnyCaseInsensitive(body, ['level', 'severity', 'lvl', '\\\\u']))"
    )
    word = (
        f"multiIf({by_attribute}, if(length({texts} AS line_texts) != 1 OR {several}, '', line_texts[1]), severity_text != '', toString(severity_text), "
        f"severity_number != 0, [{severities}][intDiv(greatest(severity_number, 0) + 3, 4)], ({plain}) AS line_is_plain, extract(body, '{_IN_LINE}'), '')"
    )
    code = _transformed(f"lower({word})", {word: LEVELS[name] for word, name in WORDS.items()}, "0")
    unclear = f"bitAnd(line_names, {_MORE_LEVELS | _A_MAP | _SHARED}) != 0"
    unknown = "severity_number != 0 OR line_is_plain OR body_type IN ('int', 'bool', 'none')"
    return (
        f"toInt8(multiIf({unclear}, 0, ({code} AS line_code) != 0, line_code, {by_attribute}, 0, severity_text != '', {_CODES[AS_SEVERITY]}, "
        f"{unknown}, {LEVELS[UNKNOWN]}, 0))"
    )


def _transformed(text: str, known: Mapping[str, int], other: str) -> str:
    return f"transform({text}, [{_listed(known)}], [{', '.join(map(str, known.values()))}], {other})"


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(f"'{text}'" for text in texts)

r"""What ``| json`` finds in the plainest of JSON lines, so that storage counts lines by their members without anybody reading them. Pure.

A line is flat if it is one object of names like ``took_ms``, ``http.status`` or ``user-id``, whose values are valid texts, numbers, words,
or arrays of these. No member of another name gives a label then, and a name in quotes before a colon is a key: inside a text quotes have a
backslash. Where the same label has several members, the first is its value.
"""

from __future__ import annotations

import re
from typing import Final

from tael.logql.from_line import STRING, is_as_written, keys_of
from tael.model.predicate import Not, Predicate, Regex, all_of, intrinsic

_S: Final = r"[ \t\r\n]*"
_SCALAR: Final = r'(?:"(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)'
_ARRAY: Final = rf"\[{_S}(?:{_SCALAR}{_S}(?:,{_S}{_SCALAR}{_S})*)?\]"
_MEMBER: Final = rf'"[A-Za-z][A-Za-z0-9_.-]*"{_S}:{_S}(?:{_SCALAR}|{_ARRAY})'
# The parser does not read what follows the object, where a key might be found.
_FLAT: Final = rf"^{_S}\{{{_S}(?:{_MEMBER}{_S}(?:,{_S}{_MEMBER}{_S})*)?\}}{_S}$"
_LABEL: Final = re.compile("[A-Za-z][A-Za-z0-9_]*")
_WHOLE: Final = rf"(?:0|-?[1-9][0-9]{{0,10}}){_S}[,}}]"
_NOT_WHOLE: Final = r'(?:["tfn\[]|-0|-?[0-9]+[.eE]|-?[0-9]{12})'
_PLAIN: Final = r"[ !#-\[\]-~]"
"""A character of a text that is written as it is."""
_BODY: Final = intrinsic("body")


def is_member(label: str) -> bool:
    """Whether a label of this name is that of a member wherever a line is known by ``known_if``."""
    return _LABEL.fullmatch(label) is not None and is_as_written(label)


def known_if(labels: tuple[str, ...]) -> Predicate:
    """What only lines satisfy that are flat, in which each of these labels is missing or has the text that ``text_of`` finds, and of which
    no attribute takes a label's place.
    """
    # An empty text is a label too; null and arrays are none, but another member may follow.
    odd = rf'(?:""|"{_PLAIN}*(?:\\|[^ -~])|null|\[)'
    own = [Not(Regex(_BODY, _key(label) + odd)) for label in labels]
    others = [Not(Regex(intrinsic("attribute_keys"), keys_of(label))) for label in labels]
    return all_of((STRING, Regex(_BODY, _FLAT), *own, *others))


def is_whole(label: str) -> Predicate:
    """What, of the lines that satisfy ``known_if``, those satisfy whose label is a whole number of at most eleven digits: whatever their
    order, many are added up without rounding.
    """
    return all_of((Regex(_BODY, _key(label) + _WHOLE), Not(Regex(_BODY, _key(label) + _NOT_WHOLE))))


def pattern_of(label: str) -> str:
    """A regular expression whose first match in a line that is known has the label's value as its group, for ``text_of``."""
    return _key(label) + r'("[^"]*"|[^",}\s]+)'


def text_of(value: str) -> str:
    """The label's text, from its value as it is written."""
    return value[1:-1] if value.startswith('"') else value


def _key(label: str) -> str:
    return f'"{label.replace("_", "[_.-]")}"{_S}:{_S}'

"""What a parser finds in the plainest of lines, so that storage groups lines by their labels without anybody reading them. Pure.

``JSON`` and ``LOGFMT`` say by regular expressions which lines are so plain that another expression finds a label's value as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tael.logql.ast import JsonParser, LogfmtParser
from tael.logql.from_line import STRING, is_as_written, keys_of
from tael.model.predicate import Not, Predicate, Regex, all_of, intrinsic

_LABEL: Final = re.compile("[A-Za-z][A-Za-z0-9_]*")
_BODY: Final = intrinsic("body")


@dataclass(frozen=True, slots=True)
class Flat:
    """The lines of ``parser`` that match ``line``. ``key`` is the expression of a label's key and of what is between it and the value.
    ``odd`` are those of lines in which the label may have another text than ``value`` finds behind the key, and ``not_whole`` is what
    follows the key of anything else than a whole number of at most eleven digits.
    """

    parser: JsonParser | LogfmtParser
    line: str
    key: Callable[[str], str]
    odd: Callable[[str], tuple[str, ...]]
    value: str
    not_whole: str

    def known_if(self, labels: tuple[str, ...]) -> Predicate:
        """What only lines satisfy that are flat, in which each of these labels is missing or has the text that ``text_of`` finds, and of
        which no attribute takes a label's place.
        """
        own = [Not(Regex(_BODY, odd)) for label in labels for odd in self.odd(label)]
        others = [Not(Regex(intrinsic("attribute_keys"), keys_of(label))) for label in labels]
        return all_of((STRING, Regex(_BODY, self.line), *own, *others))

    def is_whole(self, label: str) -> Predicate:
        """What, of the lines that satisfy ``known_if``, those satisfy whose label is missing or a whole number of at most eleven digits:
        whatever their order, many are added up without rounding.
        """
        return Not(Regex(_BODY, self.key(label) + self.not_whole))

    def pattern_of(self, label: str) -> str:
        """A regular expression whose first match in a line that is known has the label's value as its group, for ``text_of``."""
        return self.key(label) + self.value


def is_member(label: str) -> bool:
    """Whether a label of this name is what a parser finds wherever a line is known by ``known_if``."""
    return _LABEL.fullmatch(label) is not None and is_as_written(label)


def text_of(value: str) -> str:
    """The label's text, from its value as it is written."""
    return value[1:-1] if value.startswith('"') else value


_S: Final = r"[ \t\r\n]*"
_SCALAR: Final = r'(?:"(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)'
_ARRAY: Final = rf"\[{_S}(?:{_SCALAR}{_S}(?:,{_S}{_SCALAR}{_S})*)?\]"
_MEMBER: Final = rf'"[A-Za-z][A-Za-z0-9_.-]*"{_S}:{_S}(?:{_SCALAR}|{_ARRAY})'
_PLAIN: Final = r"[ !#-\[\]-~]"
"""A character of a text that is written as it is."""


def _json_key(label: str) -> str:
    return f'"{label.replace("_", "[_.-]")}"{_S}:{_S}'


def _json_odd(label: str) -> tuple[str, ...]:
    # An empty text is a label too; null and arrays are none, but another member may follow.
    return (_json_key(label) + rf'(?:""|"{_PLAIN}*(?:\\|[^ -~])|null|\[)',)


JSON: Final = Flat(
    JsonParser(),
    # The parser does not read what follows the object, where a key might be found.
    rf"^{_S}\{{{_S}(?:{_MEMBER}{_S}(?:,{_S}{_MEMBER}{_S})*)?\}}{_S}$",
    _json_key,
    _json_odd,
    r'("[^"]*"|[^",}\s]+)',
    r'(?:["tfn\[]|-0|-?[0-9]+[.eE]|-?[0-9]{12})',
)
r"""Lines of one object of names like ``took_ms``, ``http.status`` or ``user-id``, whose values are valid texts, numbers, words, or arrays
of these.

No member of another name gives a label then, and a name in quotes before a colon is a key: inside a text quotes have a backslash. Where
the same label has several members, the first is its value.
"""

_GAP: Final = r"[\x00-\x20]"
_NAME: Final = "[!#-<>-~]+"
"""A key in ASCII, of which no space is removed that is not one of the gaps."""
_MARK: Final = r"[!#-/:-<>-@\[-`{-~]"
"""What becomes an underscore."""
_QUOTED: Final = r'"(?:[^"\\]|\\(?s:.))*"'
# A word that is no pair is skipped up to the next gap, unless a quotation begins in it behind a key.
_WORD: Final = rf'(?:[^\x00-\x20="]+|{_NAME}=(?:{_QUOTED}|[^\x00-\x20"][^\x00-\x20]*)?|[^\x00-\x20="]*"[^\x00-\x20]*|=[^\x00-\x20]*)'


def _logfmt_key(label: str) -> str:
    return f"(?:^|{_GAP}){label.replace('_', _MARK)}="


def _logfmt_odd(label: str) -> tuple[str, ...]:
    key = _logfmt_key(label)
    return (
        # Empty, which another pair may follow; broken; or with characters that are not as they are written.
        rf'{key}(?:""|{_GAP}|$|=|[^\x00-\x20"=]+["=]|"{_PLAIN}*(?:\\|[^ -~"])|[!#-~]*[^\x00-~])',
        # Within a quotation. Of quotations this may find the end too, where a text ends with "=": such a line is read.
        rf'="(?:[^"]|\\")*{key[:-1]}=',
    )


LOGFMT: Final = Flat(
    LogfmtParser(),
    rf"^{_GAP}*(?:{_WORD}(?:{_GAP}+{_WORD})*{_GAP}*)?$",
    _logfmt_key,
    _logfmt_odd,
    r'("[^"]*"|[^\x00-\x20="]+)',
    r"(?:[^0-9-]|-(?:[^1-9]|$)|-?[0-9]+[^0-9\x00-\x20]|-?[0-9]{12}|0[0-9])",
)
"""Lines of ``key=value`` and ``key="quoted value"`` with keys in ASCII, and of whatever else has no quotation that does not end or that is
followed by anything but a gap.

Where the same label has several pairs, the first that is not empty is its value.
"""

FORMATS: Final = (JSON, LOGFMT)

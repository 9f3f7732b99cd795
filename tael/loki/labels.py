r"""Parses a stream's labels: ``{job="api", path=`C:\logs`}``, with strings in Go's syntax."""

from __future__ import annotations

import re

from tael.errors import Rejected
from tael.model.streams import valid_name

_LABEL = re.compile(r'\s*([A-Za-z_][\w.]*)\s*=\s*("(?:[^"\\\n]|\\.)*"|`[^`]*`)\s*(,|$)')
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)")
_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse_labels(text: str) -> dict[str, str]:
    """The label values by name. Raises Rejected for a malformed label set."""
    inner = text.strip()
    if not (inner.startswith("{") and inner.endswith("}")):
        raise _wrong(text)
    inner, at, labels = inner[1:-1].rstrip(), 0, dict[str, str]()
    while at < len(inner):
        found = _LABEL.match(inner, at)
        if found is None:
            raise _wrong(text)
        labels[found[1]] = found[2][1:-1] if found[2][0] == "`" else _ESCAPE.sub(_unescaped, found[2][1:-1])
        at = found.end()
    return labels


def name_of(text: str) -> str:
    """A label's name as LogQL can write it, and as it is shown: other characters are underscores, and no digit is first. Raises Rejected
    for an empty one.
    """
    if not text:
        raise Rejected("a label has no name", where="stream", accepted='{"name": "value", …}')
    name = valid_name(text)
    return f"_{name}" if name[0].isdigit() else name


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    if len(code) == 1:
        return _NAMED.get(code, code)
    number = int(code, 8) if code.isdigit() else int(code[1:], 16)
    return chr(number) if number < 0x110000 else "\ufffd"


def _wrong(text: str) -> Rejected:
    return Rejected(f"cannot read the labels {text[:100]!r}", where="streams", accepted='{name="value", …}')

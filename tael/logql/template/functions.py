"""The functions that Loki offers in templates: its own, a selection of sprig's, and those of Go's ``text/template``.

Each declares the types of its parameters: ``s`` a string, ``i`` an int, ``t`` a time, ``a`` anything; a trailing ``*`` repeats the last.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import math
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation
from functools import reduce
from typing import Any, Final

from tael.errors import Rejected
from tael.logql.quantities import go_duration_ns, go_float, size_bytes
from tael.logql.template.bounds import MAX_CHARACTERS, require_room, require_room_for
from tael.logql.template.errors import CallError
from tael.logql.template.go_time import GoTime, parsed, zone_named
from tael.logql.template.parse import number
from tael.logql.template.printf import sprintf
from tael.logql.template.values import Value, equal, greater, less, shown, sprint, truth, type_name
from tael.model.patterns import expanded, searched
from tael.syntax.literals import quoted

_INT64: Final = 1 << 64
_SCRIPT: Final = str.maketrans({"<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D", "'": "\\'"})
_TITLED: Final = re.compile(r"(?<![^\s\x00-/:-@\[-^`{-\x7f])\S")
"""What stands at the beginning, or after white space or a sign of ASCII other than the underscore."""
_WHOLE: Final = re.compile(r"[+-]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]*|[1-9][0-9_]*)")
_DIGITS: Final = Decimal("1e-16")
_WIDE: Final = Context(prec=700)
"""A precision that suffices for the quotient of any two doubles."""
_ZONE: Final = zone_named("UTC")


@dataclass(frozen=True, slots=True)
class TemplateFunction:
    """``call`` takes arguments of the kinds in ``takes``, and raises CallError or ValueError for invalid ones."""

    takes: str
    call: Callable[..., Value]


def _integer(value: Value) -> int:
    """Like sprig's ``int``: anything that is not a whole number is 0."""
    if isinstance(value, str):
        whole, point, fraction = value.partition(".")
        if point and not fraction.strip("0123456789"):
            value = whole.lstrip("0") or "0" if whole.isdigit() else whole
        try:
            return _wrapped(int(number(value))) if _WHOLE.fullmatch(value) else 0
        except ValueError:
            return 0
    if isinstance(value, float):
        return _wrapped(int(value)) if math.isfinite(value) else 0
    return int(value) if isinstance(value, int | bool) else 0


def _wrapped(value: int) -> int:
    return (value + (_INT64 >> 1)) % _INT64 - (_INT64 >> 1)


def _float(value: Value) -> float:
    if isinstance(value, str):
        try:
            return go_float(value)
        except ValueError:
            return 0.0
    return float(value) if isinstance(value, int | float) else 0.0


def _quotient(left: Value, right: Value) -> int:
    one, other = _integer(left), _integer(right)
    if other == 0:
        raise CallError("runtime error: integer divide by zero")
    return abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)


def _remainder(left: Value, right: Value) -> int:
    return _integer(left) - _quotient(left, right) * _integer(right)


def _decimals(operation: Callable[[Decimal, Decimal], Decimal]) -> Callable[..., float]:
    def call(first: Value, *others: Value) -> float:
        try:
            return float(reduce(operation, [Decimal(repr(_float(value))) for value in others], Decimal(repr(_float(first)))))
        except (DivisionByZero, InvalidOperation):
            raise CallError("decimal division by 0") from None

    return call


def _divided(left: Decimal, right: Decimal) -> Decimal:
    # The default context's 28 digits are too few for 13 digits before and 16 after the point, such as an epoch in milliseconds.
    return (left / right).quantize(_DIGITS, ROUND_HALF_UP, context=_WIDE)


def _rounded(value: Value, places: Value, *half: Value) -> float:
    power = 10.0 ** _integer(places)
    scaled = power * _float(value)
    # Like sprig: the fraction of a negative number is negative, so it is always rounded down.
    over = math.modf(scaled)[0] >= (_float(half[0]) if half else 0.5)
    return (math.ceil(scaled) if over else math.floor(scaled)) / power


def _truncated(count: Value, text: str) -> str:
    size, data = _integer(count), text.encode()
    if size < 0:
        return data[size:].decode(errors="replace") if len(data) + size > 0 else text
    return data[:size].decode(errors="replace")


def _part(start: Value, end: Value, text: str) -> str:
    first, last, data = _integer(start), _integer(end), text.encode()
    first, last = (0, max(last, 0)) if first < 0 else (first, last if 0 <= last <= len(data) else len(data))
    if first > last:
        raise CallError(f"runtime error: slice bounds out of range [{first}:{last}]")
    return data[first:last].decode(errors="replace")


def _aligned(size: int, text: str, *, right: bool) -> str:
    if size < 0 or size == len(text):
        return text
    require_room(size, text)
    if right:
        return text.rjust(size) if size > len(text) else text[len(text) - size :]
    return text.ljust(size)[:size]


def _title(text: str) -> str:
    return _TITLED.sub(lambda found: found[0].upper(), text)


def _trimmed(text: str, cut: str) -> str:
    return text.strip(cut) if cut else text


def _replaced(text: str, old: str, new: str, count: int) -> str:
    found = text.count(old) if count < 0 else min(count, text.count(old))
    require_room(len(text) + found * (len(new) - len(old)), text)
    return text.replace(old, new, count)


def _substituted(regex: str, text: str, replacement: str, *, literal: bool) -> str:
    pattern = _regex(regex)
    found, last, size = [], 0, len(text)
    for match in pattern.finditer(text):
        found += [text[last : match.start()], replacement if literal else expanded(replacement, match)]
        last = match.end()
        size += len(found[-1]) - (last - match.start())
        # The rest of the text can at most shrink to nothing, so this is a lower bound of the final size.
        require_room(size - (len(text) - last), text)
    return "".join([*found, text[last:]])


def _counted(regex: str, text: str) -> int:
    return sum(1 for _ in _regex(regex).finditer(text))


def _regex(regex: str) -> Any:
    try:
        return searched(regex)
    except Rejected as problem:
        raise CallError(str(problem)) from None


def _repeated(count: Value, text: str) -> str:
    times = _integer(count)
    if times < 0:
        raise CallError("strings: negative Repeat count")
    if times * len(text) > MAX_CHARACTERS:
        raise CallError("strings: Repeat output length over 1 MiB")
    return text * times


def _indented(spaces: int, text: str) -> str:
    pad = " " * max(0, min(spaces, 1 << 10))
    require_room(len(text) + len(pad) * (text.count("\n") + 1), text)
    return pad + text.replace("\n", "\n" + pad)


def _decoded(text: str) -> str:
    try:
        padded = text + "=" * (-len(text) % 4) if len(text) % 4 != 1 else text
        return base64.b64decode(padded, validate=True).decode(errors="replace")
    except binascii.Error:
        at = next((place for place, one in enumerate(text) if not (one.isalnum() or one in "+/=")), len(text) // 4 * 4)
        return f"illegal base64 data at input byte {at}"


def _json(text: str) -> Value:
    try:
        # Go parses every number as a float.
        found: Value = json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        return None
    return found


def _unescaped(text: str) -> str:
    for place, character in enumerate(text):
        if character == "%" and not _hex(text[place + 1 : place + 3]):
            raise CallError(f"invalid URL escape {quoted(text[place : place + 3])}")
    return urllib.parse.unquote_plus(text, errors="replace")


def _hex(digits: str) -> bool:
    return len(digits) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in digits)


# Loki distinguishes units by the number of digits: days, seconds, milliseconds, microseconds, nanoseconds.
_LENGTHS: Final = {5: 86_400_000_000_000, 10: 1_000_000_000, 13: 1_000_000, 16: 1_000, 19: 1}


def _from_unix(text: str) -> GoTime:
    if not text.lstrip("+-").isdigit():
        raise CallError(f"unable to parse time '{text}': strconv.ParseInt: parsing {quoted(text)}: invalid syntax")
    if len(text) not in _LENGTHS:
        raise CallError(f"unable to parse time '{text}': %!w(<nil>)")
    return GoTime(int(text) * _LENGTHS[len(text)])


def _date(layout: str, moment: Value) -> str:
    if isinstance(moment, int) and not isinstance(moment, bool):
        moment = GoTime(moment * 1_000_000_000)
    if not isinstance(moment, GoTime):
        raise CallError("a date is made of a time or of Unix seconds")
    return GoTime(moment.ns).format(layout)


def _default(value: Value, *given: Value) -> Value:
    return given[0] if given and truth(given[0]) else value


def _equals(first: Value, *others: Value) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    return any(equal(first, other) for other in others)


def _length(value: Value) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | dict):
        return len(value)
    raise CallError(f"len of {'nil pointer' if value is None else f'type {type_name(value)}'}")


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(str(key), "")
        elif isinstance(value, list | str) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise CallError(f"index out of range: {key}")
            value = value[key] if isinstance(value, list) else value.encode()[key]
        else:
            raise CallError(f"can't index item of type {type_name(value)}")
    return value


def _slice(value: Value, *at: Value) -> Value:
    if not isinstance(value, str | list):
        raise CallError(f"can't slice item of type {type_name(value)}")
    bounds = [place for place in at if isinstance(place, int)]
    if len(bounds) != len(at) or any(not 0 <= place <= len(value) for place in bounds):
        raise CallError("index out of range")
    return value[slice(*bounds[:2])] if len(bounds) > 1 else value[bounds[0] :] if bounds else value


def _texts(*values: Value) -> str:
    require_room_for(*values)
    return sprint(values)


def _lines(*values: Value) -> str:
    require_room_for(*values)
    return " ".join(map(shown, values)) + "\n"


def _of(takes: str, call: Callable[..., Value]) -> TemplateFunction:
    return TemplateFunction(takes, call)


FUNCTIONS: Final[dict[str, TemplateFunction]] = {
    "ToLower": _of("s", str.lower),
    "ToUpper": _of("s", str.upper),
    "Replace": _of("sssi", _replaced),
    "Trim": _of("ss", _trimmed),
    "TrimLeft": _of("ss", lambda text, cut: text.lstrip(cut) if cut else text),
    "TrimRight": _of("ss", lambda text, cut: text.rstrip(cut) if cut else text),
    "TrimPrefix": _of("ss", str.removeprefix),
    "TrimSuffix": _of("ss", str.removesuffix),
    "TrimSpace": _of("s", str.strip),
    "regexReplaceAll": _of("sss", lambda regex, text, new: _substituted(regex, text, new, literal=False)),
    "regexReplaceAllLiteral": _of("sss", lambda regex, text, new: _substituted(regex, text, new, literal=True)),
    "count": _of("ss", _counted),
    "urldecode": _of("s", _unescaped),
    "urlencode": _of("s", lambda text: urllib.parse.quote_plus(text, safe="~")),
    "bytes": _of("s", lambda text: float(size_bytes(text))),
    "duration": _of("s", lambda text: go_duration_ns(text) / 1e9),
    "duration_seconds": _of("s", lambda text: go_duration_ns(text) / 1e9),
    "unixEpochMillis": _of("t", lambda moment: str(moment.ns // 1_000_000)),
    "unixEpochNanos": _of("t", lambda moment: str(moment.ns)),
    "toDateInZone": _of("sss", lambda layout, zone, text: parsed(layout, text, zone_named(zone))),
    "unixToTime": _of("s", _from_unix),
    "alignLeft": _of("is", lambda size, text: _aligned(size, text, right=False)),
    "alignRight": _of("is", lambda size, text: _aligned(size, text, right=True)),
    "b64dec": _of("s", _decoded),
    "b64enc": _of("s", lambda text: base64.b64encode(text.encode()).decode()),
    "lower": _of("s", str.lower),
    "upper": _of("s", str.upper),
    "title": _of("s", _title),
    "trunc": _of("is", _truncated),
    "substr": _of("iis", _part),
    "contains": _of("ss", lambda part, text: part in text),
    "hasPrefix": _of("ss", lambda part, text: text.startswith(part)),
    "hasSuffix": _of("ss", lambda part, text: text.endswith(part)),
    "indent": _of("is", _indented),
    "nindent": _of("is", lambda spaces, text: "\n" + _indented(spaces, text)),
    "replace": _of("sss", lambda old, new, text: _replaced(text, old, new, -1)),
    "repeat": _of("is", _repeated),
    "trim": _of("s", str.strip),
    "trimAll": _of("ss", lambda cut, text: _trimmed(text, cut)),
    "trimSuffix": _of("ss", lambda part, text: text.removesuffix(part)),
    "trimPrefix": _of("ss", lambda part, text: text.removeprefix(part)),
    "int": _of("a", _integer),
    "float64": _of("a", _float),
    "add": _of("a*", lambda *values: _wrapped(sum(map(_integer, values)))),
    "sub": _of("aa", lambda left, right: _wrapped(_integer(left) - _integer(right))),
    "mul": _of("aa*", lambda *values: _wrapped(math.prod(map(_integer, values)))),
    "div": _of("aa", _quotient),
    "mod": _of("aa", _remainder),
    "addf": _of("a*", lambda *values: _decimals(Decimal.__add__)(0, *values)),
    "subf": _of("aa*", _decimals(Decimal.__sub__)),
    "mulf": _of("aa*", _decimals(Decimal.__mul__)),
    "divf": _of("aa*", _decimals(_divided)),
    "max": _of("aa*", lambda *values: max(map(_integer, values))),
    "min": _of("aa*", lambda *values: min(map(_integer, values))),
    "maxf": _of("aa*", lambda *values: max(map(_float, values))),
    "minf": _of("aa*", lambda *values: min(map(_float, values))),
    "ceil": _of("a", lambda value: float(math.ceil(_float(value)))),
    "floor": _of("a", lambda value: float(math.floor(_float(value)))),
    "round": _of("aia*", _rounded),
    "fromJson": _of("s", _json),
    "date": _of("sa", _date),
    "toDate": _of("ss", lambda layout, text: parsed(layout, text, _ZONE)),
    "unixEpoch": _of("t", lambda moment: str(moment.ns // 1_000_000_000)),
    "default": _of("aa*", _default),
    "not": _of("a", lambda value: not truth(value)),
    "eq": _of("aa*", _equals),
    "ne": _of("aa", lambda left, right: not equal(left, right)),
    "lt": _of("aa", less),
    "le": _of("aa", lambda left, right: less(left, right) or equal(left, right)),
    "gt": _of("aa", greater),
    "ge": _of("aa", lambda left, right: greater(left, right) or equal(left, right)),
    "len": _of("a", _length),
    "index": _of("aa*", _index),
    "slice": _of("aa*", _slice),
    "print": _of("a*", _texts),
    "println": _of("a*", _lines),
    "printf": _of("sa*", sprintf),
    "html": _of("a*", lambda *values: html.escape(_texts(*values)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")),
    "js": _of("a*", lambda *values: json.dumps(_texts(*values))[1:-1].translate(_SCRIPT)),
    "urlquery": _of("a*", lambda *values: urllib.parse.quote_plus(_texts(*values), safe="~")),
}
"""The functions by name. The executor implements ``and``, ``or``, ``__line__``, ``__timestamp__`` and ``now``, which need more than their
arguments.
"""

"""Parses and formats literals of query languages: strings with Go's escapes, numbers, durations."""

from __future__ import annotations

import math
import re
import unicodedata

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS_MS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1)
_NAMES = ("y", "w", "d", "h", "m", "s", "ms")
MAX_MS = (1 << 63) // 1_000_000
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_NAMED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"'}


def unquoted(literal: str) -> str:
    """The text of a string literal that includes its quotes. Raises ValueError for an invalid escape."""
    quote, body = literal[0], literal[1:-1]
    if quote == "`" or "\\" not in body:
        return body
    parts, last = [], 0
    for match in _ESCAPE.finditer(body):
        parts.append(body[last : match.start()].encode())
        parts.append(_escaped(match[1], quote, literal[match.end() + 1 :]))
        last = match.end()
    return b"".join([*parts, body[last:].encode()]).decode(errors="replace")


def _escaped(escape: str, quote: str, behind: str) -> bytes:
    if escape[0] in "xuU" and len(escape) > 1:
        code = int(escape[1:], 16)
    elif len(escape) == 3:
        code = int(escape, 8)
    elif escape in _SIMPLE and (escape not in "'\"" or escape == quote):
        return bytes([_SIMPLE[escape]])
    else:
        if escape in "xuU01234567":
            wrong = behind.lstrip("0123456789abcdefABCDEF" if escape in "xuU" else "01234567")[0]
            raise ValueError(f"illegal character U+{ord(wrong):04X} '{wrong}' in escape sequence")
        raise ValueError(f"unknown escape sequence U+{ord(escape):04X} '{escape}'")
    if escape[0] in "uU":
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return chr(code).encode()
    if code > 255:
        raise ValueError("escape sequence is an invalid Unicode code point")
    return bytes([code])


def quoted(text: str) -> str:
    """The text in double quotes, escaped like Go's ``strconv.Quote``."""
    return '"' + "".join(_NAMED.get(character) or _printed(character) for character in text) + '"'


def _printed(character: str) -> str:
    if character == " " or not unicodedata.category(character).startswith(("C", "Z")):
        return character
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def number(text: str) -> float:
    """The value of a number literal; a leading zero means octal if all digits are octal. Raises ValueError."""
    lower = text.lower()
    if lower in ("inf", "+inf", "-inf"):
        return -math.inf if lower.startswith("-") else math.inf
    if lower == "nan":
        return math.nan
    if lower.startswith("0x"):
        return float(int(text, 16))
    if re.fullmatch(r"0_?[0-7][0-7_]*", text):
        return float(int(text, 8))
    return float(text)


def duration_ms(text: str) -> int:
    """``1h30m`` in milliseconds. Raises ValueError with Prometheus' message."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"not a valid duration string: {quoted(text)}")
    total = sum(int(count.lstrip("0")[:20] or 0) * unit for count, unit in zip(match.groups(), _UNITS_MS, strict=True) if count)
    if total > MAX_MS:
        raise ValueError("duration out of range")
    return total


def duration(milliseconds: int) -> str:
    """Milliseconds as a duration: years and weeks only without a remainder, because ``90d`` is easier to read than ``12w6d``."""
    if not milliseconds:
        return "0s"
    text, left = "-" if milliseconds < 0 else "", abs(milliseconds)
    for unit, name in zip(_UNITS_MS, _NAMES, strict=True):
        if name in ("y", "w") and left % unit:
            continue
        count, left = divmod(left, unit)
        text += f"{count}{name}" if count else ""
    return text


def compact(value: float) -> str:
    """A number as Prometheus writes it in JSON: like ``decimal``, but with an exponent below 1e-6 and from 1e21 on."""
    size = abs(value)
    if math.isfinite(value) and size != 0 and (size < 1e-6 or size >= 1e21):
        return repr(value).replace(".0e", "e")
    return decimal(value)


def decimal(value: float) -> str:
    """The shortest digits that parse to ``value``, without an exponent (Go's ``strconv.FormatFloat(v, 'f', -1, 64)``)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, _, exponent = text.partition("e")
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = digits.partition(".")
    fraction = "" if fraction == "0" else fraction
    shift = int(exponent)
    if shift < 0:
        return f"{sign}0.{'0' * (-shift - len(whole))}{whole}{fraction}"
    return f"{sign}{whole}{fraction.ljust(shift, '0')}"

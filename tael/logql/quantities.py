"""Durations and byte sizes, parsed and formatted like Go's ``time`` and ``go-humanize``, as in the labels of Loki's users.

Error texts are Go's, because they become ``__error_details__``, which users match.
"""

from __future__ import annotations

import math
import re

from tael.syntax.literals import duration_ms, quoted

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_MAX_NS = (1 << 63) - 1

_KILO, _KIBI = 1000, 1024
_SIZES: dict[str, int] = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtpe", 1):
    _SIZES |= dict.fromkeys((f"{_letter}ib", f"{_letter}i"), _KIBI**_power) | dict.fromkeys((f"{_letter}b", _letter), _KILO**_power)
_SIZE = re.compile(r"[0-9.,]*")
_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan|0x[0-9a-f]*\.?[0-9a-f]*p[+-]?\d+)", re.IGNORECASE)


def _quoted(text: str) -> str:
    """As Go's package of time quotes: what is not ASCII is written byte by byte."""
    return "".join(
        character if character.isascii() else "".join(f"\\x{byte:02x}" for byte in character.encode()) for character in quoted(text)
    )


def go_duration_ns(text: str) -> int:
    """``1h2m3.5s`` in nanoseconds. Raises ValueError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    if not rest:
        raise _invalid_duration(text)
    total = 0
    while rest:
        term = _TERM.match(rest)
        if term is None or not (term[1] or term[2]):
            raise _invalid_duration(text)
        total += _term_ns(term, text)
        rest = rest[term.end() :]
    if total > _MAX_NS:
        raise _invalid_duration(text)
    return sign * total


def _invalid_duration(text: str) -> ValueError:
    return ValueError(f"time: invalid duration {_quoted(text)}")


def _term_ns(term: re.Match[str], text: str) -> int:
    whole, fraction, unit = term[1], term[2] or "", term[3]
    if not unit:
        raise ValueError(f"time: missing unit in duration {quoted(text)}")
    if unit not in _UNITS_NS:
        raise ValueError(f"time: unknown unit {quoted(unit)} in duration {quoted(text)}")
    scale = _UNITS_NS[unit]
    # In integers, as in Go: 0.3s is exactly 300,000,000 ns.
    return int(whole or "0") * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)


def query_duration_ns(text: str) -> int:
    """A duration in a query, with Prometheus' units (``1d``, ``2w``) or else Go's (``1.5h``, ``10us``). Raises ValueError."""
    try:
        return duration_ms(text) * 1_000_000
    except ValueError:
        return go_duration_ns(text)


def go_duration(ns: int) -> str:
    """Nanoseconds formatted like Go's ``Duration.String``: ``1h0m0s``, ``1.5s``, ``250µs``, ``0s``."""
    sign, size = ("-", -ns) if ns < 0 else ("", ns)
    if not size:
        return "0s"
    if size < 1_000_000_000:
        unit, scale = ("ns", 1) if size < 1_000 else ("µs", 1_000) if size < 1_000_000 else ("ms", 1_000_000)
        return f"{sign}{_fixed(size, scale)}{unit}"
    seconds, minutes, hours = size % 60_000_000_000, size // 60_000_000_000 % 60, size // 3_600_000_000_000
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{sign}{text}{_fixed(seconds, 1_000_000_000)}s"


def _fixed(value: int, scale: int) -> str:
    whole, fraction = divmod(value, scale)
    digits = str(fraction).rjust(len(str(scale)) - 1, "0").rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)


def go_float(text: str) -> float:
    """A number as parsed by Go's ``strconv.ParseFloat``. Raises ValueError."""
    if not _FLOAT.fullmatch(text):
        raise ValueError(f"strconv.ParseFloat: parsing {quoted(text)}: invalid syntax")
    try:
        value = float.fromhex(text) if "x" in text or "X" in text else float(text)
    except OverflowError:
        value = math.inf
    if math.isinf(value) and "n" not in text.lower():
        raise ValueError(f"strconv.ParseFloat: parsing {quoted(text)}: value out of range")
    return value


def size_bytes(text: str) -> int:
    """``1.5KB``, ``3 MiB`` or ``42`` in bytes. Raises ValueError."""
    digits = _SIZE.match(text)
    number = digits[0] if digits else ""
    value = go_float(number.replace(",", ""))
    unit = text[len(number) :].strip().lower()
    if unit not in _SIZES:
        raise ValueError(f"unhandled size name: {unit}")
    size = value * _SIZES[unit]
    if size >= 1 << 64:
        raise ValueError(f"too large: {text}")
    return int(size)


def human_bytes(size: int) -> str:
    """Bytes in the shortest form that parses to the same number: ``1.5kB``, ``82MB``, ``3MiB``, ``1025B``."""
    power = min(int(math.log(size) / math.log(_KILO)), 6) if size >= _KILO else 0
    value = size / _KILO**power
    text = f"{value:.{1 if value < 10 and power else 0}f}{('B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB')[power]}"
    # Decimal units are rounded to a digit, so they are used only where nothing is lost.
    if size_bytes(text) == size:
        return text
    binary = next((power for power in range(6, 0, -1) if size % _KIBI**power == 0), 0)
    return f"{size // _KIBI**binary}{('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB')[binary]}"

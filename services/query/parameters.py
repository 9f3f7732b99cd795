"""Converts query parameters to typed values, pure; every refusal names the parameter, what is wrong, and what it accepts.

An empty value counts as a parameter that was left out, except for ``last``, where that would silently mean all time. A parameter that an
endpoint does not know is refused, so that a misspelt filter never silently widens an answer.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from tael.errors import Rejected
from tael.model.time import ALL_TIME, MAX_NS, NS_PER_MS, NS_PER_SECOND, TimeRange

DURATION = "a duration such as 90s, 15m, 1h30m or 2d"
INSTANT = "RFC 3339 such as 2026-01-31T09:30:00Z, or seconds, milliseconds or nanoseconds since 1970"
SPAN_ID = "16 hexadecimal digits"
TRACE_ID = "32 hexadecimal digits, or 16 for a short id"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": NS_PER_MS, "s": NS_PER_SECOND}
_UNIT_NS |= {unit: count * NS_PER_SECOND for unit, count in {"m": 60, "h": 3600, "d": 86400, "w": 604800}.items()}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d|w))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)")
_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")


class Parameters:
    """A request's query string, read by name. Raises Rejected at once for names that are not ``known`` and for repeated single values."""

    def __init__(self, pairs: Iterable[tuple[str, str]], known: Collection[str], repeatable: Collection[str] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in known and name not in repeatable:
                raise _unknown(name, [*known, *repeatable])
            if name in self._values and name not in repeatable:
                raise Rejected("given more than once", where=name, accepted="one value")
            if name == "last" and not value:
                raise Rejected("empty", where=name, accepted=DURATION)
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        """The value, or the empty string."""
        return self._values.get(name, [""])[0]

    def texts(self, name: str) -> list[str]:
        """Every value of a repeatable parameter, without empty ones."""
        return [value for value in self._values.get(name, []) if value]

    def whole(self, name: str, *, default: int, low: int, high: int, high_from: str = "") -> int:
        """A whole number within bounds; ``high_from`` names the setting that gives the upper bound."""
        text = self.text(name)
        if not text:
            return default
        accepted = f"a whole number from {low} to {high}" + (f", see {high_from}" if high_from else "")
        if re.fullmatch(r"[+-]?\d{1,18}", text) is None:
            raise Rejected(f"{text!r} is not a whole number", where=name, accepted=accepted)
        if not low <= int(text) <= high:
            raise Rejected(f"{text} is out of bounds", where=name, accepted=accepted)
        return int(text)

    def number(self, name: str) -> float | None:
        """A number of at least 0, None when left out."""
        text = self.text(name)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise Rejected(f"{text!r} is not a valid number", where=name, accepted="a number of at least 0")
        return value

    def seconds(self, name: str) -> float | None:
        """A length of time: seconds, or a duration such as 5m; None when left out."""
        text = self.text(name)
        if not text or text[-1].isdigit():
            return self.number(name)
        return parse_duration_ns(text, where=name) / NS_PER_SECOND

    def milliseconds(self, name: str) -> int | None:
        """Milliseconds, possibly with a fraction, as nanoseconds; None when left out."""
        value = self.number(name)
        if value is None:
            return None
        if value > MAX_NS / NS_PER_MS:
            raise Rejected(f"{self.text(name)!r} is too long", where=name, accepted="milliseconds, at most 292 years")
        return int(Decimal(self.text(name)) * NS_PER_MS)

    def choice(self, name: str, choices: Collection[str]) -> str:
        """One of ``choices``, whatever its case; the empty string when left out."""
        text = self.text(name).lower()
        if text and text not in choices:
            raise Rejected(f"{self.text(name)!r} is not a known value", where=name, accepted=", ".join(filter(None, choices)))
        return text

    def key_values(self, name: str) -> tuple[tuple[str, str], ...]:
        """``key=value`` pairs, split at the first ``=``."""
        pairs = []
        for text in self.texts(name):
            key, separator, value = text.partition("=")
            if not separator or not key:
                raise Rejected(f"{text!r} has no key or no '='", where=name, accepted="key=value, for example http.method=GET")
            pairs.append((key, value))
        return tuple(pairs)

    def time_range(self, *, now_ns: int) -> TimeRange:
        """The range given by ``last``, or by ``start`` and ``end``; all time without them."""
        last, start, end = self.text("last"), self.text("start"), self.text("end")
        if last:
            if start or end:
                raise Rejected("given together with start or end", where="last", accepted="either last, or start and end")
            return TimeRange.last(parse_duration_ns(last, where="last") / NS_PER_SECOND, now_ns=now_ns)
        start_ns = parse_instant_ns(start, where="start") if start else ALL_TIME.start_ns
        end_ns = parse_instant_ns(end, where="end") if end else ALL_TIME.end_ns
        if start_ns >= end_ns:
            raise Rejected(f"{end} is not after start", where="end", accepted="an instant after start")
        return TimeRange(start_ns, end_ns)


def parse_duration_ns(text: str, *, where: str) -> int:
    """``1h30m`` in nanoseconds. Raises Rejected."""
    if _DURATION.fullmatch(text) is None:
        hint = f"{text!r} has no unit" if re.fullmatch(r"\d+(\.\d+)?", text) else f"{text!r} is not a duration"
        raise Rejected(hint, where=where, accepted=DURATION)
    total = sum(int(Decimal(amount) * _UNIT_NS[unit]) for amount, unit in _DURATION_PART.findall(text))
    if not 0 < total <= MAX_NS:
        raise Rejected(f"{text!r} is zero or beyond 292 years", where=where, accepted=DURATION)
    return total


def parse_instant_ns(text: str, *, where: str) -> int:
    """Nanoseconds of an RFC 3339 time, or of a count since the epoch; its size tells the unit: s below 1e11, ms below 1e14, µs below 1e17,
    else ns.
    """
    refusal = Rejected(f"{text!r} is not an instant", where=where, accepted=INSTANT)
    if _DATE.fullmatch(text):  # as seconds it would be in August 1970
        raise Rejected(f"{text!r} is not an instant but looks like a date", where=where, accepted=INSTANT)
    if re.fullmatch(r"\d{1,20}(\.\d{1,12})?", text):
        count = Decimal(text)
        unit = next((ns for below, ns in ((10**11, NS_PER_SECOND), (10**14, NS_PER_MS), (10**17, 1000)) if count < below), 1)
        ns = int(count * unit)
    else:
        # A "+" that was not escaped arrives as a space.
        match = _RFC3339.fullmatch(re.sub(r" (\d\d:\d\d)$", r"+\1", text))
        if match is None:
            raise refusal
        try:
            whole = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[4].upper().replace('Z', '+00:00')}")
            ns = (whole - _EPOCH) // timedelta(seconds=1) * NS_PER_SECOND + int((match[3] or "0").ljust(9, "0")[:9])
        except (ValueError, OverflowError, InvalidOperation):
            raise refusal from None
    if not -MAX_NS <= ns <= MAX_NS:
        raise refusal
    return ns


def parse_trace_id(text: str) -> bytes:
    """A trace id in hex, whatever its case; 16 digits are padded on the left, as Zipkin's and Datadog's ids are. Raises Rejected."""
    if re.fullmatch(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{16}", text) is None:
        raise Rejected(f"{text[:80]!r} is not a trace id", where="trace_id", accepted=TRACE_ID)
    trace_id = bytes.fromhex(text).rjust(16, b"\0")
    if not any(trace_id):
        raise Rejected("all zeros is not a valid trace id", where="trace_id", accepted=TRACE_ID)
    return trace_id


def parse_span_id(text: str) -> bytes:
    """A span id in hex, whatever its case. Raises Rejected."""
    span_id = bytes.fromhex(text) if re.fullmatch(r"[0-9a-fA-F]{16}", text) else b""
    if not any(span_id):
        raise Rejected(f"{text[:80]!r} is not a span id", where="span_id", accepted=SPAN_ID)
    return span_id


def _unknown(name: str, known: list[str]) -> Rejected:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"unknown parameter; did you mean {close[0]}?" if close else "unknown parameter"
    return Rejected(hint, where=name[:80], accepted=", ".join(sorted(known)) if known else "none")

"""The parameters of Loki's API, from the URL and from a form; invalid ones are refused with Loki's messages.

Source: Loki's HTTP API documentation. Times are ns, seconds with a fraction, whole seconds of at most ten digits, or RFC 3339.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from services.query.api.forms import parameters
from tael.errors import Rejected
from tael.model.time import NS_PER_SECOND, TimeRange
from tael.syntax.literals import duration_ms, quoted

DEFAULT_LIMIT: Final = 100
DEFAULT_SINCE_NS: Final = 3600 * NS_PER_SECOND
MAX_POINTS: Final = 11_000
DEFAULT_POINTS: Final = 250
_INTEGER: Final = re.compile(r"[+-]?\d+")
_MAX_NS: Final = (1 << 63) - 1


async def read(request: web.Request) -> Form:
    """The parameters of a request; those of a form override the URL's."""
    return Form(await parameters(request), time.time_ns())


@dataclass(frozen=True, slots=True)
class Form:
    """Parameters by name, each with its values, and the time of the request."""

    fields: Mapping[str, list[str]]
    now_ns: int

    def text(self, name: str) -> str:
        """The first value, or ""."""
        return self.fields.get(name, [""])[0]

    def texts(self, name: str) -> list[str]:
        """Every value that is not empty."""
        return [value for value in self.fields.get(name, []) if value]

    def count(self, name: str, default: int) -> int:
        """A whole number of at least 1. Raises Rejected."""
        value = self.text(name)
        if not value:
            return default
        if not _INTEGER.fullmatch(value):
            raise Rejected(f"strconv.Atoi: parsing {quoted(value)}: invalid syntax")
        if (number := int64(value, "Atoi")) <= 0:
            raise Rejected("limit must be a positive value")
        return number

    def oldest_first(self) -> bool:
        """Whether ``direction`` is forward."""
        value = self.text("direction")
        if value.upper() not in ("", "FORWARD", "BACKWARD"):
            raise Rejected(f"invalid direction '{value}'")
        return value.upper() == "FORWARD"

    def instant_ns(self, name: str, default: int) -> int:
        """A time in nanoseconds. Raises Rejected."""
        value = self.text(name)
        return timestamp_ns(value) if value else default

    def bounds(self) -> TimeRange:
        """The range of ``start`` and ``end``; without them the last ``since``, by default an hour. Raises Rejected."""
        since = self._bound("since", lambda text: duration_ms(text) * 1_000_000, DEFAULT_SINCE_NS)
        end = self._bound("end", timestamp_ns, self.now_ns)
        start = self._bound("start", timestamp_ns, min(end, self.now_ns) - since)
        if end < start:
            raise Rejected("end timestamp must not be before or equal to start time")
        return TimeRange(start, end)

    def _bound(self, name: str, parse: Callable[[str], int], default: int) -> int:
        value = self.text(name)
        try:
            return parse(value) if value else default
        except (ValueError, Rejected) as problem:
            raise Rejected(f"could not parse '{name}' parameter: {problem}") from None

    def step_ns(self, bounds: TimeRange) -> int:
        """``step``, by default one that gives about 250 points. Raises Rejected."""
        value = self.text("step")
        span = bounds.end_ns - bounds.start_ns
        step = seconds_ns(value) if value else max(span // (DEFAULT_POINTS * NS_PER_SECOND), 1) * NS_PER_SECOND
        if step <= 0:
            raise Rejected("zero or negative query resolution step widths are not accepted. Try a positive integer")
        if span // step > MAX_POINTS:
            raise Rejected(
                f"exceeded maximum resolution of {MAX_POINTS:,} points per time series. Try increasing the value of the step parameter"
            )
        return step

    def interval_ns(self) -> int:
        """``interval``, the least distance between two lines. Raises Rejected."""
        value = self.text("interval")
        interval = seconds_ns(value) if value else 0
        if interval < 0:
            raise Rejected("interval must be >= 0")
        return interval


def timestamp_ns(value: str) -> int:
    """A time as Loki parses it, in nanoseconds. Raises Rejected."""
    if "." in value:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if math.isfinite(seconds):
            fraction, whole = math.modf(seconds)
            return int(whole) * NS_PER_SECOND + int(round(fraction * 1000) / 1000 * NS_PER_SECOND)
    if _INTEGER.fullmatch(value):
        return int64(value, "ParseInt") * (NS_PER_SECOND if len(value) <= 10 else 1)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Rejected(f"strconv.ParseInt: parsing {quoted(value)}: invalid syntax")
    return int(moment.timestamp()) * NS_PER_SECOND + moment.microsecond * 1000


def int64(digits: str, function: str) -> int:
    """A whole number, which must fit 64 bits. Raises Rejected in the words of Go's ``function``."""
    # By length first: Python refuses to parse thousands of digits.
    if len(digits.lstrip("+-0")) > 19 or abs(int(digits)) > _MAX_NS:
        raise Rejected(f"strconv.{function}: parsing {quoted(digits)}: value out of range")
    return int(digits)


def seconds_ns(value: str) -> int:
    """The nanoseconds of a number of seconds or a duration. Raises Rejected."""
    try:
        ns = float(value) * NS_PER_SECOND
    except ValueError:
        try:
            return duration_ms(value) * 1_000_000
        except ValueError:
            raise Rejected(f"cannot parse {quoted(value)} to a valid duration") from None
    if not abs(ns) < _MAX_NS:
        raise Rejected(f"cannot parse {quoted(value)} to a valid duration. It overflows int64")
    return int(ns)

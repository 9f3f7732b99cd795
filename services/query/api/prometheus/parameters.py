"""Parameters of Prometheus' HTTP API, from the query string and a form, parsed and refused as Prometheus does."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from aiohttp import web

from services.query.api.forms import parameters
from tael.errors import Rejected, TooLarge
from tael.model.series import Matcher
from tael.promql.parse import parse_selector
from tael.syntax.literals import duration_ms, quoted
from tael.vectors.values import Steps

MAX_POINTS = 11_000
EARLIEST_MS, LATEST_MS = 0, 7_258_118_400_000
"""Defaults of start and end: 1970 and 2200."""
_LIMIT_SECONDS = 9e12
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Form:
    """A request's parameters; those of a form override those of the query string."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """The first value, or the empty string."""
        return self._values.get(name, [""])[0]

    def texts(self, name: str) -> list[str]:
        """Every value."""
        return self._values.get(name, [])

    def instant_ms(self, name: str, default: int | None = None) -> int:
        """A time in milliseconds, given as seconds since 1970 or RFC 3339. Raises Rejected, also for a missing value without a default."""
        text = self.text(name)
        if not text and default is not None:
            return default
        value = _instant_ms(text)
        if value is None:
            optional = "" if default is None else f"Invalid time value for '{name}': "
            raise invalid(name, f"{optional}cannot parse {quoted(text)} to a valid timestamp")
        return value

    def duration_ms(self, name: str) -> int | None:
        """Seconds or ``1h30m`` in milliseconds, None where it is left out."""
        text = self.text(name)
        try:
            return _duration_ms(text) if text else None
        except ValueError as problem:
            raise invalid(name, str(problem)) from None

    def lookback_ms(self) -> int | None:
        """``lookback_delta`` in milliseconds, None where it is left out or not positive, which means the engine's default."""
        text = self.text("lookback_delta")
        try:
            lookback = _duration_ms(text) if text else 0
        except ValueError as problem:
            raise Rejected(f"error parsing lookback delta duration: {problem}") from None
        return lookback if lookback > 0 else None

    def count(self, name: str) -> int:
        """A whole number of at least 0; 0, the default, means no limit."""
        text = self.text(name)
        if not text:
            return 0
        if re.fullmatch(r"\d{1,18}", text) is None:
            problem = "limit must be non-negative" if re.fullmatch(r"-\d+", text) else f"cannot parse {quoted(text)} to a whole number"
            raise invalid(name, problem)
        return int(text)

    def range(self) -> Steps:
        """``start``, ``end`` and ``step`` of a range query."""
        start, end = self.instant_ms("start"), self.instant_ms("end")
        if end < start:
            raise invalid("end", "end timestamp must not be before start time")
        step = self.duration_ms("step")
        if step is None:
            raise invalid("step", 'cannot parse "" to a valid duration')
        if step <= 0:
            raise invalid("step", "zero or negative query resolution step widths are not accepted. Try a positive integer")
        # Prometheus counts steps and not points, so one more point is accepted.
        if (end - start) // step > MAX_POINTS:
            raise Rejected("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
        return Steps(start, end, step)

    def between(self) -> tuple[int, int]:
        """``start`` and ``end`` of a query of series, by default all time."""
        start, end = self.instant_ms("start", EARLIEST_MS), self.instant_ms("end", LATEST_MS)
        if end < start:
            raise Rejected("end timestamp must not be before start timestamp")
        return max(start, EARLIEST_MS), min(end, LATEST_MS)

    def selectors(self) -> list[tuple[Matcher, ...]]:
        """Every ``match[]``."""
        found = []
        for text in self.texts("match[]"):
            try:
                found.append(parse_selector(text))
            except Rejected as problem:
                raise invalid("match[]", str(problem)) from None
        return found


async def read(request: web.Request) -> Form:
    """The parameters of a GET, or of a POST with a form. Raises Rejected for a form that is too large."""
    try:
        return Form(await parameters(request))
    except TooLarge as error:
        raise Rejected(f"error parsing form values: {error}") from None


def invalid(name: str, problem: str) -> Rejected:
    """Prometheus' error for an invalid parameter."""
    return Rejected(f"invalid parameter {quoted(name)}: {problem}")


def label_name(text: str) -> str:
    """The label in a path. After the prefix ``U__``, other characters are escaped as ``_hex_`` and underscores are doubled. Raises
    Rejected.
    """
    name = _unescaped(text[3:]) if text.startswith("U__") else text
    if not name:
        raise Rejected(f"invalid label name: {quoted(text)}")
    return name


def _unescaped(text: str) -> str:
    """The name without escapes; text with invalid escapes is returned unchanged."""
    parts = re.split(r"(__|_[0-9a-fA-F]{1,6}_)", text)
    if any("_" in part for part in parts[::2]):
        return "U__" + text
    return "".join(
        part if index % 2 == 0 else "_" if part == "__" else _character(int(part.strip("_"), 16)) for index, part in enumerate(parts)
    )


def _character(code: int) -> str:
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "�"


def _instant_ms(text: str) -> int | None:
    seconds = _number(text)
    if seconds is None:
        return _rfc3339_ms(text)
    return round(seconds * 1000) if abs(seconds) <= _LIMIT_SECONDS else None


def _duration_ms(text: str) -> int:
    """Seconds or ``1h30m``. Raises ValueError."""
    seconds = _number(text)
    if seconds is None:
        try:
            return duration_ms(text)
        except ValueError:
            raise ValueError(f"cannot parse {quoted(text)} to a valid duration") from None
    if abs(seconds) <= _LIMIT_SECONDS:
        return round(seconds * 1000)
    raise ValueError(f"cannot parse {quoted(text)} to a valid duration. It overflows int64")


def _number(text: str) -> float | None:
    """An ASCII number without surrounding blanks, else None. NaN becomes infinity, so that it exceeds every limit."""
    try:
        number = float(text) if text.isascii() and text == text.strip() else None
    except ValueError:
        return None
    return math.inf if number is not None and math.isnan(number) else number


def _rfc3339_ms(text: str) -> int | None:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    try:
        whole = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[4].upper().replace('Z', '+00:00')}")
    except ValueError:
        return None
    elapsed = whole - _EPOCH
    return (elapsed.days * 86400 + elapsed.seconds) * 1000 + int((match[3] or "0").ljust(3, "0")[:3])

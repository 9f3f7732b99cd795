"""Converts what people type to what the API takes: times such as ``15m ago``, severities such as ``WARNING``. Pure; the clock is
passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from tael.errors import Rejected
from tael.model.log import LEVELS
from tael.model.time import MAX_NS, NS_PER_SECOND

_UNITS = r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)"
_PART = re.compile(rf"(\d+(?:\.\d+)?|an?(?=\s))\s*{_UNITS}(?![a-z])(?:\s*(?:,|and\s)\s*|\s*)", re.IGNORECASE)
_AGO = re.compile(r"(?:now\s*)?([-+])?\s*(.+?)(\s+ago)?", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?")
_EXACT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)|\d{1,20}(?:\.\d{1,12})?", re.IGNORECASE)
"""Times that the API takes unchanged: with a zone, or as a count since 1970."""
_EXACT_LENGTH = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|[smhdw]))+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d{1,2}:\d\d(?::\d\d)?)?")
_ALIASES = {
    "warning": "warn",
    "err": "error",
    "critical": "fatal",
    "crit": "fatal",
    "emergency": "fatal",
    "notice": "info",
    "information": "info",
}
TIMES = "RFC 3339, 15m, 2 hours ago or now-1h30m, 10:30, 2026-01-31, 2026-01-31 10:30 (local time), now, today, yesterday, or a count since 1970"


LENGTHS = "15m, 1h30m, 90 min, 2 hours, 3 days or 1w; m is minutes, and there are no months or years"


def instant(text: str, now: datetime) -> str:
    """A point in time as RFC 3339; a text that the API takes is returned unchanged. ``now`` has the local zone. Raises Rejected."""
    word = text.strip()
    try:
        named = _named(word, now)
        if named is not None and abs(named.timestamp()) <= MAX_NS / NS_PER_SECOND:
            return named.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        named = now
    if named is not None:
        raise Rejected(f"{text!r} is too far away", accepted="times within 292 years of 1970")
    if _EXACT.fullmatch(word):
        return word
    raise Rejected(f"{text!r} is not a time" if word else "it is empty", accepted=TIMES)


def _named(word: str, now: datetime) -> datetime | None:
    """The time given in words, as a clock time or as a local date, else None. Raises OverflowError."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}.get(word.lower())
    if named is None and (away := _AGO.fullmatch(word)) and (parts := _parts(away[2])):
        seconds = sum(float(count) * _SECONDS[unit] for count, unit in parts)
        named = now + timedelta(seconds=seconds if away[1] == "+" and not away[3] else -seconds)
    if named is None and _CLOCK.fullmatch(word):
        named = _parsed(f"{now:%Y-%m-%d} {word.zfill(5)}", now)
    if named is None and _DATE.fullmatch(word):
        named = _parsed(word, now)
    return named


def duration(text: str) -> str:
    """A length of time as the API takes it: ``2 hours`` is ``2h``. Raises Rejected."""
    word = text.strip()
    if _EXACT_LENGTH.fullmatch(word):
        return word
    if parts := _parts(word):
        return _joined(parts)
    if parts := _parts(re.sub(r"^(?:now\s*)?-|\sago$", "", word, flags=re.IGNORECASE)):
        raise Rejected(f"{text!r} is a point in time, for --start; the length is {_joined(parts)}", accepted=LENGTHS)
    unit = " has no unit" if re.fullmatch(r"\d+(?:\.\d+)?", word) else " is not a length of time"
    raise Rejected(f"{text!r}{unit}" if word else "it is empty", accepted=LENGTHS)


def _joined(parts: list[tuple[str, str]]) -> str:
    return "".join(count + unit for count, unit in parts)


def _parts(text: str) -> list[tuple[str, str]]:
    """The counts of a length of time with units as the API spells them; empty where any part is not understood."""
    found, at, text = list[tuple[str, str]](), 0, text.strip()
    while at < len(text):
        # A capital M means months to some people and minutes to others.
        if (part := _PART.match(text, at)) is None or part[2] == "M":
            return []
        unit = part[2].lower()
        found.append(("1" if part[1].lower() in ("a", "an") else part[1], "ms" if unit.startswith(("ms", "mil")) else unit[0]))
        at = part.end()
    return found


def _parsed(text: str, now: datetime) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("T", " ")).replace(tzinfo=now.tzinfo)
    except ValueError:
        return None


class Instant(click.ParamType[str]):
    """A point in time as people type it."""

    name = "instant"

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now().astimezone()) -> None:
        self._now = now

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Convert to RFC 3339. Fails for text that is not a time."""
        try:
            return instant(str(value), self._now())
        except Rejected as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[str]):
    """A length of time as people type it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Convert to the API's form. Fails for text that is not a length of time."""
        try:
            return duration(str(value))
        except Rejected as error:
            self.fail(str(error), param, ctx)


class Step(Duration):
    """A length of time; a number alone is seconds, as in Prometheus."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Convert to the API's form. Fails for text that is neither."""
        return str(value).strip() if re.fullmatch(r"\s*\d+(?:\.\d+)?\s*", str(value)) else super().convert(value, param, ctx)


class Severity(click.ParamType[str]):
    """A level in upper or lower case, or by another common name."""

    name = "level"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002  # click's signature
        """The levels, as shown in the help."""
        return f"[{'|'.join(LEVELS)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Convert to one of LEVELS. Fails for anything else."""
        word = str(value).lower()
        level = _ALIASES.get(word, word)
        if level not in LEVELS:
            self.fail(f"{value!r} is not a severity (accepted: {', '.join(LEVELS)}; warning, err and critical too)", param, ctx)
        return level

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002  # click's signature
        """The levels that begin with ``incomplete``."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(level) for level in LEVELS if level.startswith(incomplete.lower())]

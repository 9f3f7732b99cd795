"""Times in templates, formatted and parsed with Go's layouts (``2006-01-02T15:04:05.000Z07:00``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_VERB: Final = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|Z07:00:00|Z070000|Z07:00|Z0700|Z07|-07:00:00|-070000|-07:00|-0700|-07|[.,]0+(?!\d)|[.,]9+(?!\d)"
    r"|002|01|02|03|04|05|06|15|PM|pm|__2|_2|1|2|3|4|5"
)
_READ: Final = {
    "January": "|".join(_MONTHS), "Jan": "|".join(month[:3] for month in _MONTHS), "Monday": "|".join(_DAYS),
    "Mon": "|".join(day[:3] for day in _DAYS), "MST": "[A-Z]{3,4}", "2006": r"\d{4}", "06": r"\d\d", "01": r"\d\d", "1": r"\d\d?", "02": r"\d\d",
    "_2": r"[ \d]\d", "2": r"\d\d?", "15": r"\d\d", "03": r"\d\d", "3": r"\d\d?", "04": r"\d\d", "4": r"\d\d?", "05": r"\d\d(?:[.,]\d+)?",
    "5": r"\d\d?(?:[.,]\d+)?", "PM": "AM|PM", "pm": "am|pm", "002": r"\d{3}", "__2": r"[ \d]{2}\d",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GoTime:
    """A time in ns since the epoch, and the zone in which it is formatted."""

    ns: int
    zone: tzinfo = UTC

    def moment(self) -> datetime:
        """The time in its zone, truncated to the second."""
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=self.ns // 1_000_000_000)).astimezone(self.zone)

    def __str__(self) -> str:
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")

    def format(self, layout: str) -> str:
        """Format like Go's ``Time.Format``."""
        moment, nanos = self.moment(), self.ns % 1_000_000_000
        return _VERB.sub(lambda verb: _written(verb[0], moment, nanos), layout)


ZERO: Final = GoTime(-62_135_596_800_000_000_000)
"""The start of year 1, Go's zero time: the result for a time that cannot be parsed."""


def zone_named(name: str) -> tzinfo:
    """A zone of the IANA database; UTC for an unknown one."""
    try:
        return UTC if name in ("", "UTC", "Local") else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def parsed(layout: str, text: str, zone: tzinfo) -> GoTime:
    """Parse like Go's ``time.ParseInLocation``; ``ZERO`` for a text that does not match the layout."""
    verbs: list[str] = []
    pattern, last = "", 0
    for verb in _VERB.finditer(layout):
        verbs.append(verb[0])
        pattern += re.escape(layout[last : verb.start()]) + f"({_readable(verb[0])})"
        last = verb.end()
    found = re.fullmatch(pattern + re.escape(layout[last:]), text)
    if found is None:
        return ZERO
    try:
        return _instant(dict(zip(verbs, found.groups(), strict=True)), zone)
    except ValueError:
        return ZERO


def _readable(verb: str) -> str:
    if verb[0] in ".,":
        return rf"[.,]\d{{{len(verb) - 1}}}" if verb[1] == "0" else r"(?:[.,]\d+)?"
    if verb[0] in "Z-":
        sign = r"[+-]\d\d:?(?:\d\d)?(?::?\d\d)?"
        return f"Z|{sign}" if verb[0] == "Z" else sign
    return _READ[verb]


def _instant(found: dict[str, str], zone: tzinfo) -> GoTime:
    def first(*verbs: str, default: int = 0) -> int:
        return next((int(found[verb].replace(" ", "").partition(".")[0]) for verb in verbs if verb in found), default)

    year = first("2006", default=-1)
    if year < 0:
        short = first("06", default=-1)
        # Go's rule for two-digit years.
        year = 0 if short < 0 else short + (1900 if short >= 69 else 2000)
    if not year:
        return ZERO
    hour = first("15", "03", "3")
    half = found.get("PM", found.get("pm", "")).upper()
    hour = hour % 12 + (12 if half == "PM" else 0) if half else hour
    moment = datetime(
        year, _month(found, first), first("02", "_2", "2", default=1), hour, first("04", "4"), first("05", "5"), tzinfo=_zone(found, zone)
    )
    return GoTime(int(moment.timestamp()) * 1_000_000_000 + _nanos(found), moment.tzinfo or UTC)


def _month(found: dict[str, str], first: Callable[..., int]) -> int:
    for verb in ("January", "Jan"):
        if verb in found:
            return 1 + next(place for place, month in enumerate(_MONTHS) if month.startswith(found[verb]))
    return first("01", "1", default=1)


def _nanos(found: dict[str, str]) -> int:
    for verb, text in found.items():
        fraction = text[1:] if verb[0] in ".," else text.replace(",", ".").partition(".")[2] if verb in ("05", "5") else ""
        if fraction:
            return int(fraction[:9].ljust(9, "0"))
    return 0


def _zone(found: dict[str, str], zone: tzinfo) -> tzinfo:
    for verb, text in found.items():
        if verb[0] in "Z-" and text != "Z":
            digits = re.sub(r"\D", "", text).ljust(4, "0")
            size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]))
            return timezone(-size if text[0] == "-" else size)
        if verb[0] in "Z-" or (verb == "MST" and text == "UTC"):
            return UTC
    return zone


def _written(verb: str, moment: datetime, nanos: int) -> str:  # noqa: PLR0911 - a layout's verbs are of a few kinds
    if verb[0] in ".,":
        digits = f"{nanos:09d}"[: len(verb) - 1].ljust(len(verb) - 1, "0")
        if verb[1] == "9":
            digits = digits.rstrip("0")
        return verb[0] + digits if digits else ""
    if verb[0] in "Z-":
        return _offset(verb, moment)
    if verb in ("January", "Jan"):
        return _MONTHS[moment.month - 1][: None if verb == "January" else 3]
    if verb in ("Monday", "Mon"):
        return _DAYS[moment.weekday()][: None if verb == "Monday" else 3]
    if verb == "MST":
        return moment.strftime("%Z")
    if verb in ("PM", "pm"):
        half = "PM" if moment.hour >= 12 else "AM"
        return half if verb == "PM" else half.lower()
    return _number(verb, moment)


def _number(verb: str, moment: datetime) -> str:
    hour = moment.hour % 12 or 12
    yearday = moment.timetuple().tm_yday
    numbers: dict[str, str] = {
        "2006": f"{moment.year:04d}", "06": f"{moment.year % 100:02d}", "01": f"{moment.month:02d}", "1": str(moment.month),
        "02": f"{moment.day:02d}", "_2": f"{moment.day:2d}", "2": str(moment.day), "002": f"{yearday:03d}", "__2": f"{yearday:3d}",
        "15": f"{moment.hour:02d}", "03": f"{hour:02d}", "3": str(hour), "04": f"{moment.minute:02d}", "4": str(moment.minute),
        "05": f"{moment.second:02d}", "5": str(moment.second),
    }  # fmt: skip
    return numbers[verb]


def _offset(verb: str, moment: datetime) -> str:
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    if verb[0] == "Z" and not seconds:
        return "Z"
    sign, seconds = ("-" if seconds < 0 else "+"), abs(seconds)
    digits = [f"{seconds // 3600:02d}", f"{seconds // 60 % 60:02d}", f"{seconds % 60:02d}"]
    parts = 1 + verb.count("00")
    return sign + (":" if ":" in verb else "").join(digits[:parts])


METHODS: Final[dict[str, tuple[str, Callable[..., str | int | GoTime]]]] = {
    "Year": ("", lambda at: at.moment().year),
    "Month": ("", lambda at: at.format("January")),
    "Day": ("", lambda at: at.moment().day),
    "Weekday": ("", lambda at: at.format("Monday")),
    "YearDay": ("", lambda at: at.moment().timetuple().tm_yday),
    "Hour": ("", lambda at: at.moment().hour),
    "Minute": ("", lambda at: at.moment().minute),
    "Second": ("", lambda at: at.moment().second),
    "Nanosecond": ("", lambda at: at.ns % 1_000_000_000),
    "Unix": ("", lambda at: at.ns // 1_000_000_000),
    "UnixMilli": ("", lambda at: at.ns // 1_000_000),
    "UnixMicro": ("", lambda at: at.ns // 1_000),
    "UnixNano": ("", lambda at: at.ns),
    "UTC": ("", lambda at: GoTime(at.ns)),
    "String": ("", str),
    "Format": ("s", lambda at, layout: at.format(layout)),
}
"""Of Go's methods of a time those that need no other time: what they take, as tael.logql.template.functions has it, and what they give."""

"""The building blocks of generated SQL for spans and logs, pure: values are passed as parameters, never in the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tael.model.predicate import Predicate
from tael.model.time import NS_PER_SECOND, TimeRange
from tael.storage.clickhouse.columns import Column
from tael.storage.clickhouse.predicate import conditions

_LAST_HOUR_NS = (1 << 32) * NS_PER_SECOND
"""Hours are stored in 32 bits of seconds and wrap around beyond, and before 1970. A bound there is not used as a condition."""

CONDITION_FIRST: Final = "\nSETTINGS use_top_k_dynamic_filtering = 0"
"""The end of a statement that looks for a page in a piece of time. Without it, ClickHouse first reads all columns of the condition for each
row newer than those found so far, and only then applies the condition. This takes several times as long when matches are rare; when they
are common, a piece of seconds is enough anyway.
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and the values of the parameters in it."""

    sql: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """A parameter's value as ClickHouse reads it. The client writes lists element by element, and escapes texts character by character,
    which takes longer than all else for thousands of pairs.
    """

    text: str

    def __str__(self) -> str:
        return self.text


class Conditions:
    """Collects conditions and their parameters; ``str`` gives the text after WHERE."""

    def __init__(self, tenant: str) -> None:
        self.texts = ["tenant = {tenant:String}"]
        self.parameters: dict[str, Any] = {"tenant": tenant}

    def add(self, text: str, **parameters: Any) -> None:
        """One more condition that must hold."""
        self.texts.append(text)
        self.parameters |= parameters

    def within(self, column: str, time_range: TimeRange, start: str = "start", end: str = "end") -> bool:
        """Restrict a column of instants to the range; ``start`` and ``end`` name the parameters. Returns whether both bounds
        could be used.
        """
        if time_range.end_ns <= time_range.start_ns:
            self.add("false")
            return True
        # A bound that the column's type cannot hold would wrap around; without it, more rows are read and none is lost.
        after, before = _held(time_range.start_ns), _held(time_range.end_ns)
        if after:
            self.add(f"{column} >= {instant(start)}", **{start: time_range.start_ns})
        if before:
            self.add(f"{column} < {instant(end)}", **{end: time_range.end_ns})
        return after and before

    def within_hours(self, column: str, time_range: TimeRange) -> None:
        """Restrict a column of hours to those that the range touches."""
        for operator, instant_ns, name in ((">=", time_range.start_ns, "first_hour"), ("<=", time_range.end_ns, "last_hour")):
            if _held(instant_ns):
                self.add(f"{column} {operator} toStartOfHour({instant(name)})", **{name: instant_ns})

    def satisfy(self, predicate: Predicate, columns: Mapping[str, Column]) -> None:
        """Add the conditions of the predicate; ``columns`` are the table's intrinsic fields."""
        self.texts += conditions(predicate, columns, self.parameters)

    def __str__(self) -> str:
        return "\n  AND ".join(self.texts)


def bounded(time_range: TimeRange) -> bool:
    """Whether a column of hours can be restricted to the range at both ends."""
    return _held(time_range.start_ns) and _held(time_range.end_ns)


def _held(instant_ns: int) -> bool:
    return 0 < instant_ns < _LAST_HOUR_NS


def instant(parameter: str) -> str:
    """SQL that converts a parameter in nanoseconds to an instant of the tables' type."""
    return f"fromUnixTimestamp64Nano({{{parameter}:Int64}}, 'UTC')"

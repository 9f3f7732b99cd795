"""SQL that selects rows of the tables of label sets by hour (``series`` and ``log_streams``), pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tael.model.patterns import anchored, unnamed
from tael.model.series import METRIC_NAME, Matcher

_HOUR_SECONDS: Final = 3_600
LAST_SECOND: Final = (1 << 32) - 1
"""The last second that can be stored: hours have 32 bits of seconds, and nothing is stored before 1970."""


class Where:
    """Conditions that are ANDed, and the parameters of the whole statement."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.texts: list[str] = []
        self.parameters = parameters

    def add(self, text: str, **parameters: Any) -> None:
        """One more condition that must hold."""
        self.texts.append(text)
        self.parameters |= parameters

    def __str__(self) -> str:
        return " AND ".join(self.texts)


def limited(where: Where, limit: int) -> str:
    """The LIMIT clause; empty for 0, which is no limit."""
    if not limit:
        return ""
    where.parameters["limit"] = limit
    return "\nLIMIT {limit:UInt64}"


def matching(
    tenant: str, matchers: Sequence[Matcher], range_ms: tuple[int, int], parameters: dict[str, Any], name: str = "metric_name"
) -> Where:
    """The conditions for rows with matching label sets in the hours of the range, both ends included; ``name`` is the column of
    ``__name__``.
    """
    where = Where(parameters)
    where.add("tenant = {tenant:String}", tenant=tenant)
    first, last = (hour_of(time_ms // 1000) for time_ms in range_ms)
    where.add(
        "hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC')", first_hour=first, last_hour=last
    )
    for index, matcher in enumerate(matchers):
        _match(where, index, matcher, name)
    return where


def hour_of(second: int) -> int:
    """The first second of the hour of a second, clamped to what can be stored."""
    kept = min(max(second, 0), LAST_SECOND)
    return kept - kept % _HOUR_SECONDS


def _match(where: Where, index: int, matcher: Matcher, name: str) -> None:
    """Add the condition of a matcher. As in Prometheus, regular expressions are anchored and their dot also matches newlines."""
    label, value = f"label_{index}", f"value_{index}"
    text = name
    if matcher.name != METRIC_NAME:
        text = f"labels[{{{label}:String}}]"
        where.parameters[label] = matcher.name
    if matcher.op in ("=", "!="):
        where.add(f"{text} {matcher.op} {{{value}:String}}", **{value: matcher.value})
    else:
        negation = "NOT " if matcher.op == "!~" else ""
        where.add(f"{negation}match({text}, {{{value}:String}})", **{value: anchored(unnamed(matcher.value))})

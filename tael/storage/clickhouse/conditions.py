"""What the generated SQL of spans and logs is put together from, pure: values go in as parameters, never into the text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tael.model.time import NS_PER_SECOND, TimeRange

_LAST_HOUR_NS = (1 << 32) * NS_PER_SECOND
"""Hours are kept in 32 bits of seconds: beyond, and before 1970, they wrap, so a range is not narrowed by such a bound."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and the parameters that it names."""

    sql: str
    parameters: dict[str, Any]


class Conditions:
    """Collects conditions and their parameters; ``str`` is what follows WHERE."""

    def __init__(self, tenant: str) -> None:
        self.texts = ["tenant = {tenant:String}"]
        self.parameters: dict[str, Any] = {"tenant": tenant}

    def add(self, text: str, **parameters: Any) -> None:
        """One more condition that must hold."""
        self.texts.append(text)
        self.parameters |= parameters

    def within(self, column: str, time_range: TimeRange) -> bool:
        """Narrow a column of instants to the range; whether both of its bounds could be used."""
        if time_range.end_ns <= time_range.start_ns:
            self.add("false")
            return True
        after, before = 0 < time_range.start_ns < _LAST_HOUR_NS, 0 < time_range.end_ns < _LAST_HOUR_NS
        if after:
            self.add(f"{column} >= {instant('start')}", start=time_range.start_ns)
        if before:
            self.add(f"{column} < {instant('end')}", end=time_range.end_ns)
        return after and before

    def attribute(self, index: int, key: str, value: str) -> None:
        """``value`` as text against the maps of every type that can hold it, of the item and of its resource."""
        k = f"{{key_{index}:String}}"
        alternatives: list[str] = []
        parameters: dict[str, Any] = {f"key_{index}": key}
        for name, column_type, parameter, is_default in _candidates(value):
            parameters[f"{name}_{index}"] = parameter
            for column in (f"attributes_{name}", f"resource_{name}"):
                equal = f"{column}[{k}] = {{{name}_{index}:{column_type}}}"
                alternatives.append(f"(mapContains({column}, {k}) AND {equal})" if is_default else equal)
        self.add(f"({' OR '.join(alternatives)})", **parameters)

    def __str__(self) -> str:
        return "\n  AND ".join(self.texts)


def instant(parameter: str) -> str:
    """A parameter of nanoseconds as the instant that the tables hold."""
    return f"fromUnixTimestamp64Nano({{{parameter}:Int64}}, 'UTC')"


def _candidates(value: str) -> list[tuple[str, str, Any, bool]]:
    """The maps that can hold what the text stands for: name, type, value, and whether an absent key would read the same."""
    candidates: list[tuple[str, str, Any, bool]] = [("string", "String", value, value == "")]
    number = _number(value)
    if number is not None and number.is_integer() and -(1 << 63) <= (whole := _whole(value, number)) < 1 << 63:
        candidates.append(("int", "Int64", whole, whole == 0))
    if number is not None:
        candidates.append(("double", "Float64", number, number == 0))
    if value in {"true", "false"}:
        candidates.append(("bool", "Bool", value == "true", value == "false"))
    return candidates


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and text.strip() == text and "_" not in text else None


def _whole(text: str, number: float) -> int:
    """The integer that the text stands for, exact also where a double is not."""
    try:
        return int(text)
    except ValueError:
        return int(number)

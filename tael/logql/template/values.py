"""The values of a template: their types' names, their truth, and their text."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TypeAlias

from tael.logql.template.errors import CallError
from tael.logql.template.go_time import GoTime
from tael.syntax.literals import decimal

Value: TypeAlias = "str | bool | int | float | list[Value] | dict[str, Value] | GoTime | None"


def type_name(value: Value) -> str:
    """The name of the value's type in Go."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, GoTime):
        return "time.Time"
    names = {str: "string", int: "int", float: "float64", list: "[]interface {}", dict: "map[string]interface {}"}
    return names.get(type(value), "<nil>")


def truth(value: Value) -> bool:
    """Whether the value is true; zero, nil and empty values are false."""
    return True if isinstance(value, GoTime) else bool(value)


def shown(value: Value) -> str:
    """The value's text, as by ``fmt.Sprint`` and ``{{value}}``."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_g(value)
    if isinstance(value, list):
        return "[" + " ".join(map(shown, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{shown(value[key])}" for key in sorted(value)) + "]"
    return "<nil>" if value is None else str(value)


def go_g(value: float) -> str:
    """A float in the format of Go's ``%v``: the shortest digits, with an exponent below 1e-4 and from 1e6 on."""
    if not math.isfinite(value) or value == 0:
        return decimal(value)
    mantissa, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
    power = int(exponent)
    return decimal(value) if -4 <= power < 6 else f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def sprint(values: tuple[Value, ...]) -> str:
    """``fmt.Sprint``: a space between two neighbours of which neither is a string."""
    text = ""
    for place, value in enumerate(values):
        spaced = place and not isinstance(value, str) and not isinstance(values[place - 1], str)
        text += (" " if spaced else "") + shown(value)
    return text


def equal(left: Value, right: Value) -> bool:
    """``eq``. Raises CallError for values that cannot be compared."""
    _comparable(left, right)
    return left == right


def less(left: Value, right: Value) -> bool:
    """``lt``. Raises CallError for values that have no order."""
    _comparable(left, right)
    if isinstance(left, str | int | float) and not isinstance(left, bool):
        return left < right  # type: ignore[operator]
    raise CallError("invalid type for comparison")


def greater(left: Value, right: Value) -> bool:
    """``gt``, likewise."""
    _comparable(left, right)
    return less(right, left)


def _comparable(left: Value, right: Value) -> None:
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        raise CallError("non-comparable types for comparison")
    if type(left) is not type(right) and left is not None and right is not None:
        raise CallError(f"incompatible types for comparison: {type_name(left)} and {type_name(right)}")

"""Binary operators between two numbers, as Loki calculates when it folds constants."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Final

RELATIONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
COMPARISONS: Final = tuple(RELATIONS)


def _quotient(left: float, right: float) -> float:
    return left / right if right else math.nan


def _remainder(left: float, right: float) -> float:
    return math.fmod(left, right) if right and math.isfinite(left) else math.nan


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except OverflowError:
        return -math.inf if left < 0 and right % 2 == 1 else math.inf
    except ValueError:
        return math.inf if left == 0 else math.nan


_OPERATIONS: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _quotient,
    "%": _remainder,
    "^": _power,
    **RELATIONS,
}


def calculated(op: str, left: float, right: float) -> float:
    """``left op right``; a comparison gives 1 or 0, and division by zero gives NaN."""
    return float(_OPERATIONS[op](left, right))

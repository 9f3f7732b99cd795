"""Functions of single numbers: arithmetic, logarithms, trigonometry, rounding, clamping, and the calendar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tael.model.series import Floats, Longs
from tael.vectors import vectors
from tael.vectors.values import Vector

UNARY: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "rad": lambda values: values * np.pi / 180,
    "deg": lambda values: values * 180 / np.pi,
    "sgn": np.sign,
}


def rounded(values: Floats, nearest: Floats) -> Floats:
    """Round to the nearest multiple of ``nearest``, ties up; multiplies by the inverse, as Prometheus does."""
    # Not values / nearest: the last digit would differ from Prometheus for steps like 0.1.
    inverse = 1 / nearest
    result: Floats = np.floor(values * inverse + 0.5) / inverse
    return result


def clamp(vector: Vector, least: Floats, most: Floats) -> Vector:
    """The vector's floats clamped to ``least`` and ``most``, one of each a step; no sample where ``least`` is above ``most``."""
    # np.maximum and np.minimum carry NaN through, as Go's math.Max and math.Min do.
    result = vectors.floats_only(vector, np.maximum(least, np.minimum(most, vector.values)))
    return replace(result, present=result.present & ~(most < least))


def _days(seconds: Longs) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    return seconds.astype("datetime64[s]").astype("datetime64[D]")


def _month_start(seconds: Longs) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    return _days(seconds).astype("datetime64[M]")


def _days_in_month(seconds: Longs) -> Longs:
    month = _month_start(seconds)
    days: Longs = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return days


CALENDAR: dict[str, Callable[[Longs], Longs]] = {
    "minute": lambda seconds: seconds // 60 % 60,
    "hour": lambda seconds: seconds // 3600 % 24,
    # 1970-01-01 was a Thursday, and Sunday is 0.
    "day_of_week": lambda seconds: (seconds // 86400 + 4) % 7,
    "day_of_month": lambda seconds: (_days(seconds) - _month_start(seconds).astype("datetime64[D]")).astype(np.int64) + 1,
    "day_of_year": lambda seconds: (_days(seconds) - _days(seconds).astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1,
    "days_in_month": _days_in_month,
    "month": lambda seconds: _month_start(seconds).astype(np.int64) % 12 + 1,
    "year": lambda seconds: _days(seconds).astype("datetime64[Y]").astype(np.int64) + 1970,
}


def calendar(name: str, seconds: Floats) -> Floats:
    """The calendar field ``name`` in UTC of times in seconds since the epoch; NaN for values that are not a time."""
    # Beyond this the year has more digits than datetime64 arithmetic here is exact for; casting NaN to int64 is undefined.
    known = np.abs(seconds) < 1e15
    whole = np.trunc(np.where(known, seconds, 0)).astype(np.int64)
    return np.where(known, CALENDAR[name](whole).astype(np.float64), np.nan)

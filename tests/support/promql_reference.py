"""A slow reference implementation of PromQL's range functions and aggregations, in plain loops, to compare the evaluator with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

Point = tuple[int, float]
"""Time in milliseconds, and value."""


def exact_sum(values: Sequence[float]) -> float:
    """The correctly rounded sum."""
    return float(sum(map(Fraction, values)))


def increase(points: Sequence[Point], begin: int, end: int, *, counter: bool, per_second: bool) -> float | None:
    """rate, increase and delta."""
    if len(points) < 2:
        return None
    (first_ms, first), (last_ms, last) = points[0], points[-1]
    grown = last - first
    if counter:
        for (_, before), (_, now) in pairwise(points):
            if now < before:
                grown += before
    sampled = (last_ms - first_ms) / 1000
    mean = sampled / (len(points) - 1)
    to_start, to_end = (first_ms - begin) / 1000, (end - last_ms) / 1000
    if to_start >= mean * 1.1:
        to_start = mean / 2
    if counter and grown > 0 and first >= 0:
        to_start = min(to_start, sampled * (first / grown))
    if to_end >= mean * 1.1:
        to_end = mean / 2
    factor = (sampled + to_start + to_end) / sampled
    return grown * (factor / ((end - begin) / 1000) if per_second else factor)


def slope_and_value(points: Sequence[Point], origin_ms: int) -> tuple[float, float] | None:
    """The regression line through the points: its slope per second, and its value at the origin."""
    if len(points) < 2:
        return None
    if all(value == points[0][1] for _, value in points):
        return 0.0, points[0][1]
    xs, ys = [Fraction(t - origin_ms, 1000) for t, _ in points], [Fraction(value) for _, value in points]
    n = len(points)
    slope = (sum(x * y for x, y in zip(xs, ys, strict=True)) - sum(xs) * sum(ys) / n) / (sum(x * x for x in xs) - sum(xs) ** 2 / n)
    return float(slope), float(sum(ys) / n - slope * sum(xs) / n)


def variance(values: Sequence[float]) -> float:
    """The population variance."""
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    return float(sum((value - mean) ** 2 for value in exact) / len(exact))


def quantile(values: Sequence[float], q: float) -> float:
    """The quantile, interpolated between the two neighbouring values."""
    if math.isnan(q):
        return math.nan
    if q < 0 or q > 1:
        return math.inf if q > 1 else -math.inf
    ordered = sorted(values)
    rank = q * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)


def changes(values: Sequence[float], changed: Callable[[float, float], bool]) -> float:
    """The number of consecutive values that differ in the given way."""
    return float(sum(changed(before, now) for before, now in pairwise(values)))


def smoothed(values: Sequence[float], sf: float, tf: float) -> float | None:
    """Double exponential smoothing."""
    if len(values) < 2:
        return None
    level, trend = values[0], values[1] - values[0]
    before = 0.0
    for position, value in enumerate(values[1:]):
        if position:
            trend = tf * (level - before) + (1 - tf) * trend
        before, level = level, sf * value + (1 - sf) * (level + trend)
    return level


def over_window(  # noqa: C901, PLR0911, PLR0912 - a line or two for each function
    function: str, points: Sequence[Point], begin: int, end: int
) -> float | None:
    """The result of a function that only takes a range; None if there is none."""
    if not points:
        return None
    values = [value for _, value in points]
    match function:
        case "rate" | "increase" | "delta":
            return increase(points, begin, end, counter=function != "delta", per_second=function == "rate")
        case "irate" | "idelta":
            if len(points) < 2:
                return None
            (before_ms, before), (now_ms, now) = points[-2:]
            change = now if function == "irate" and now < before else now - before
            return change / ((now_ms - before_ms) / 1000) if function == "irate" else change
        case "changes":
            return changes(values, lambda before, now: before != now)
        case "resets":
            return changes(values, lambda before, now: now < before)
        case "deriv":
            line = slope_and_value(points, points[0][0])
            return None if line is None else line[0]
        case "sum_over_time":
            return exact_sum(values)
        case "avg_over_time":
            return float(sum(map(Fraction, values)) / len(values))
        case "stdvar_over_time":
            return variance(values)
        case "stddev_over_time":
            return math.sqrt(variance(values))
        case "mad_over_time":
            middle = quantile(values, 0.5)
            return quantile([abs(value - middle) for value in values], 0.5)
        case "ts_of_max_over_time" | "ts_of_min_over_time":
            best = max(values) if function == "ts_of_max_over_time" else min(values)
            return max(t for t, value in points if value == best) / 1000
    simple: dict[str, float] = {
        "min_over_time": min(values),
        "max_over_time": max(values),
        "count_over_time": float(len(values)),
        "present_over_time": 1.0,
        "last_over_time": values[-1],
        "first_over_time": values[0],
        "ts_of_last_over_time": points[-1][0] / 1000,
        "ts_of_first_over_time": points[0][0] / 1000,
    }
    return simple[function]


def aggregated(op: str, values: Sequence[float]) -> float | None:
    """One group's value at one step; None if no series has a sample."""
    if not values:
        return None
    return {
        "sum": exact_sum(values),
        "avg": float(sum(map(Fraction, values)) / len(values)),
        "min": min(values),
        "max": max(values),
        "count": float(len(values)),
        "group": 1.0,
        "stdvar": variance(values),
        "stddev": math.sqrt(variance(values)),
    }[op]

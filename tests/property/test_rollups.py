"""Functions over windows of whole buckets agree with Prometheus' functions over the samples, as plain loops compute them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tael.vectors.ranges import rollups
from tael.vectors.ranges.rollups import COLUMNS, Buckets

LENGTH = 300_000
Point = tuple[int, float]
values = st.one_of(st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf]), st.integers(-50, 1000).map(float))
series = st.lists(st.tuples(st.integers(1, 12 * LENGTH), values), max_size=60, unique_by=lambda point: point[0]).map(sorted)


def of_bucket(points: Sequence[Point]) -> dict[str, float]:
    """A bucket's columns, computed in plain loops."""
    fallen = sum(a for (_, a), (_, b) in pairwise(points) if b < a)
    known = [value for _, value in points if not math.isnan(value)] or [math.nan]
    return {
        "count": len(points),
        "sum": sum(value for _, value in points),
        "min": min(known),
        "max": max(known),
        "first": points[0][1],
        "first_ms": points[0][0],
        "last": points[-1][1],
        "last_ms": points[-1][0],
        "before_resets": fallen,
    }


def buckets_of(many: Sequence[Sequence[Point]], columns: Sequence[str]) -> Buckets:
    rows, ends, offsets = [], [], [0]
    for points in many:
        of_end: dict[int, list[Point]] = {}
        for point in points:
            of_end.setdefault(-(-point[0] // LENGTH) * LENGTH, []).append(point)
        rows += [of_bucket(own) for own in of_end.values()]
        ends += list(of_end)
        offsets.append(len(ends))
    kinds = {"count": np.uint64, "first_ms": np.int64, "last_ms": np.int64}
    named: dict[str, Any] = {name: np.array([row[name] for row in rows], kinds.get(name, np.float64)) for name in columns}
    return Buckets(np.array(offsets, np.int64), np.array(ends, np.int64), named)


def grown(points: Sequence[Point], end: int, window: int, *, counter: bool) -> float | None:
    """Prometheus' ``extrapolatedRate``, step by step."""
    if len(points) < 2:
        return None
    (first_ms, first), (last_ms, last) = points[0], points[-1]
    result = last - first
    if counter:
        result += of_bucket(points)["before_resets"]
    to_start, to_end = (first_ms - (end - window)) / 1000, (end - last_ms) / 1000
    sampled = (last_ms - first_ms) / 1000
    mean = sampled / (len(points) - 1)
    to_start, to_end = (mean / 2 if far >= mean * 1.1 else far for far in (to_start, to_end))
    if counter and result > 0 and first >= 0:
        to_start = min(to_start, sampled * (first / result))
    return result * ((sampled + to_start + to_end) / sampled)


def summed(points: Sequence[Point]) -> float:
    return sum(value for _, value in points)


PLAIN: dict[str, Callable[[Sequence[Point], int, int], float | None]] = {
    "rate": lambda points, end, window: None if len(points) < 2 else (grown(points, end, window, counter=True) or 0.0) / (window / 1000),
    "increase": lambda points, end, window: grown(points, end, window, counter=True),
    "delta": lambda points, end, window: grown(points, end, window, counter=False),
    "sum_over_time": lambda points, _, __: summed(points) if points else None,
    "avg_over_time": lambda points, _, __: summed(points) / len(points) if points else None,
    "min_over_time": lambda points, _, __: of_bucket(points)["min"] if points else None,
    "max_over_time": lambda points, _, __: of_bucket(points)["max"] if points else None,
    "count_over_time": lambda points, _, __: float(len(points)) or None,
}


@given(st.lists(series, min_size=1, max_size=3), st.integers(0, 4), st.integers(1, 4), st.integers(1, 5), st.sampled_from(sorted(COLUMNS)))
def test_whole_buckets_are_as_the_samples(many: list[list[Point]], start: int, step: int, window: int, function: str) -> None:
    times = np.arange(start, 13, step, dtype=np.int64) * LENGTH
    buckets = buckets_of(many, COLUMNS[function])  # type: ignore[index]  # a function's name
    found, present = rollups.over(buckets, function, rollups.places(times, window * LENGTH, LENGTH))  # type: ignore[arg-type]  # the same
    for row, points in enumerate(many):
        for column, end in enumerate(times.tolist()):
            inside = [point for point in points if end - window * LENGTH < point[0] <= end]
            wanted = PLAIN[function](inside, end, window * LENGTH)
            assert present[row, column] == (wanted is not None)
            if wanted is not None:
                assert (
                    math.isclose(found[row, column], wanted, rel_tol=1e-9, abs_tol=1e-9)
                    or math.isnan(found[row, column]) == math.isnan(wanted) is True
                )


@given(series, st.integers(0, 12 * LENGTH), st.integers(1, 3 * LENGTH), st.sampled_from(sorted(COLUMNS)))
def test_other_windows_are_those_of_the_buckets_before(points: list[Point], end: int, window: int, function: str) -> None:
    """Their end is moved back to the end of a bucket and their range extended to whole buckets; what grows with the range is
    scaled back.
    """
    buckets = buckets_of([points], COLUMNS[function])  # type: ignore[index]  # a function's name
    whole, wide = end // LENGTH * LENGTH, -(-window // LENGTH) * LENGTH
    found, present = rollups.over(buckets, function, rollups.places(np.array([end]), window, LENGTH))  # type: ignore[arg-type]  # the same
    wanted, there = rollups.over(buckets, function, rollups.places(np.array([whole]), wide, LENGTH))  # type: ignore[arg-type]  # the same
    share = window / wide if function in ("increase", "delta", "sum_over_time", "count_over_time") else 1.0
    assert (present == there).all()
    np.testing.assert_allclose(found[present], wanted[present] * share, rtol=1e-12)

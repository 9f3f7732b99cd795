"""Sums of spans by step and group against plain loops over rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tael.storage.clickhouse import native
from tael.storage.clickhouse.traceql.sums import sums_by_labels
from tael.traceql.ast import Attribute, Field, Intrinsic, MetricsAggregate, Scope, Static, Type
from tael.traceql.metrics import Accumulator, Grid, Labels, Sums

STEPS = 4
GRID = Grid(0, 1, STEPS)
GROUPS = (Attribute(Scope.SPAN, "k"), Field(Intrinsic.KIND))
WORDS = ("", "sa", "i1", "d1.0", "t", "sa")
"""Values as text, one of them twice, as in an answer of several blocks."""
FEW = settings(deadline=None, max_examples=100)
Row = tuple[int, int, int, int, int]
ROWS = st.lists(
    st.tuples(st.integers(-1, STEPS), st.integers(0, len(WORDS) - 1), st.integers(0, 2), st.integers(0, 5), st.integers(1, 9)), min_size=1
)
"""Step, word, kind, power of two, count."""


def looped(rows: Sequence[Row]) -> dict[Labels, dict[tuple[int, int], int]]:
    """Counts by step and power, 0 for values in no bucket."""
    values = (None, Static(Type.STRING, "a"), Static(Type.INT, 1), Static(Type.FLOAT, 1.0), Static(Type.BOOL, value=True))
    found: dict[Labels, dict[tuple[int, int], int]] = {}
    for slot, word, kind, power, count in rows:
        if 0 <= slot < STEPS:
            labels: Labels = (("span.k", values[word % 5 if word < 5 else 1]), ("kind", Static(Type.KIND, kind)))
            own = found.setdefault(labels, {})
            own[slot, power] = own.get((slot, power), 0) + count
    return found


@FEW
@given(ROWS, st.integers(1, 9))
def test_buckets_agree_with_a_plain_loop(rows: list[Row], most: int) -> None:
    """Rows of one group and step add up in any order, and no more groups are returned than requested."""
    slots, words, kinds, powers, counts = (np.array(column) for column in zip(*rows, strict=True))
    ones = np.ones(len(rows))
    columns: list[native.Column] = [slots, native.Strings(list(WORDS), words), kinds, powers, counts, ones, ones, ones]
    function = MetricsAggregate("quantile_over_time", Field(Intrinsic.DURATION), GROUPS, (0.5,))
    found, expected = dict(sums_by_labels(columns, function, GRID, most=most, exemplars=0)), looped(rows)
    assert len(found) == min(most, len(expected))
    for labels, sums in found.items():
        assert {
            (slot, round(math.log2(bucket * 1e9))): count
            for bucket, own in sums.buckets.items()
            for slot, count in enumerate(own.tolist())
            if count
        } == {at: count for at, count in expected[labels].items() if at[1]}
        assert sums.counts.sum() == sum(expected[labels].values())


@FEW
@given(st.lists(st.tuples(st.integers(-1, STEPS), st.floats(0, 9), st.floats(0, 9), st.floats(0, 9)), min_size=1), st.integers(0, 3))
def test_sums_agree_with_a_plain_loop(rows: list[tuple[int, float, float, float]], exemplars: int) -> None:
    """Sums, minima, maxima, and the first exemplars."""
    slots, *numbers = (np.array(column) for column in zip(*rows, strict=True))
    ids = np.arange(len(rows), dtype=np.uint64)
    function = MetricsAggregate("avg_over_time", Attribute(Scope.SPAN, "k"))
    columns: list[native.Column] = [slots, np.ones(len(rows)), *numbers, ids, ids, ids.astype(np.int64), numbers[0]]
    found = sums_by_labels(columns, function, GRID, most=1, exemplars=exemplars)
    within = [(at, *row) for at, row in enumerate(rows) if 0 <= row[0] < STEPS]
    assert len(found) == bool(within)
    for _, sums in found:
        for slot in range(STEPS):
            own = [row for row in within if row[1] == slot]
            assert sums.counts[slot] == len(own)
            assert sums.sums[slot] == sum(row[2] for row in own)
            assert sums.least[slot] == min((row[3] for row in own), default=math.inf)
            assert sums.most[slot] == max((row[4] for row in own), default=-math.inf)
        assert [one.time_ns for one in sums.exemplars] == [row[0] for row in within][:exemplars]


def quantile(wanted_part: float, counts: dict[float, int]) -> float:
    """The quantile, found by looking through the buckets one by one."""
    filled = sorted(bound for bound, count in counts.items() if count)
    if not filled or not 0 <= wanted_part <= 1:
        return 0.0
    wanted, before = max(1, math.ceil(wanted_part * sum(counts.values()))), 0
    for place, bound in enumerate(filled):
        here = counts[bound]
        if before + here == wanted:
            return bound
        if before + here > wanted:
            high = math.log2(bound)
            low = math.log2(filled[place - 1]) if place else high - 1
            return math.exp2(low + (high - low) * (wanted - before) / here)
        before += here
    raise AssertionError("the last bucket ends with every quantile")


@FEW
@given(
    st.dictionaries(st.integers(-30, 40).map(lambda power: math.ldexp(1.0, power)), st.lists(st.integers(0, 5), min_size=STEPS, max_size=STEPS)),
    st.sampled_from((0.0, 0.1, 0.5, 0.9, 0.99, 1.0, 1.5, -1.0)),
)  # fmt: skip
def test_quantiles_agree_with_a_plain_loop(buckets: dict[float, list[int]], wanted: float) -> None:
    """To the last digit; a group whose values are in no bucket has no series."""
    into = Accumulator(MetricsAggregate("quantile_over_time", Field(Intrinsic.DURATION), (), (wanted,)), GRID, max_series=1)
    sums = Sums.none(STEPS)
    sums.buckets = {bound: np.array(counts) for bound, counts in buckets.items()}
    into.add_sums((), sums)
    if not buckets:
        assert into.series() == []
        return
    (series,) = into.series()
    assert series.values.tolist() == [quantile(wanted, {bound: own[slot] for bound, own in buckets.items()}) for slot in range(STEPS)]

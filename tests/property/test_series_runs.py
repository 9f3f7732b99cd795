"""Rows of several parts are put in order as samples, or reported to need a merge."""

from __future__ import annotations

from itertools import combinations, groupby, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tael.storage.clickhouse.series.runs import runs

Row = tuple[int, int]
"""A series and a time."""
PARTS = st.lists(st.sets(st.tuples(st.integers(1, 4), st.integers(-20, 20)), max_size=20), min_size=1, max_size=4)


@given(PARTS, st.lists(st.integers(0, 60), max_size=3))
def test_rows_are_put_in_order_or_are_to_be_merged(parts: list[set[Row]], cuts: list[int]) -> None:
    """Parts by series and time, in blocks that end anywhere: never out of order or duplicated, and without a merge if parts do
    not overlap.
    """
    rows = [row for part in parts for row in sorted(part)]
    ends = [sum(len(part) for part in parts[: count + 1]) for count in range(len(parts))]
    edges = sorted({0, *ends, *(min(cut, len(rows)) for cut in cuts)})
    blocks = [rows[begin:end] for begin, end in pairwise(edges)] or [[]]
    found = runs([(np.array([row[0] for row in block], np.uint64), np.array([row[1] for row in block], np.int64)) for block in blocks])
    if found is None:
        assert any(overlap(*pair) for pair in combinations(parts, 2))
        return
    order = np.arange(len(found.series))[::-1]
    wanted = sorted(set(rows), key=lambda row: (-row[0], row[1]))
    assert [rows[row] for row in found.take(np.arange(len(rows)), order).tolist()] == wanted
    assert found.series[order].tolist() == list(dict.fromkeys(series for series, _ in wanted))
    assert found.samples()[order].tolist() == [len(list(group)) for _, group in groupby(wanted, key=lambda row: row[0])]


def overlap(one: set[Row], other: set[Row]) -> bool:
    """Whether a series has samples in both parts, with neither part entirely before the other."""
    pairs = [([at for of, at in one if of == series], [at for of, at in other if of == series]) for series in {of for of, _ in one | other}]
    return any(first and second and min(first) <= max(second) and min(second) <= max(first) for first, second in pairs)

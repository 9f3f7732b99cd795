"""A range that is split by time: each instant is read from exactly one place, and most from the tables of counts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tael.model.time import TimeRange
from tael.storage.clickhouse.service_counts import places

MINUTE, HOUR = 60 * 10**9, 3_600 * 10**9
UNIT = {"service_hours": HOUR, "service_minutes": MINUTE, "spans": 1}
instants = st.one_of(st.integers(1, 30 * HOUR), st.integers(1, 30).map(lambda n: n * HOUR), st.integers(1, 1_800).map(lambda n: n * MINUTE))


@given(instants, instants, st.one_of(st.just(0), instants))
def test_places_are_the_range(start_ns: int, end_ns: int, since_ns: int) -> None:
    found = sorted(places(TimeRange(start_ns, end_ns), since_ns), key=lambda place: place.time_range.start_ns)
    for place in found:
        held = place.time_range
        assert held.start_ns < held.end_ns
        assert held.start_ns % UNIT[place.table] == held.end_ns % UNIT[place.table] == 0
        assert place.table == "spans" or held.start_ns >= since_ns
    if found:
        bounds = [(place.time_range.start_ns, place.time_range.end_ns) for place in found]
        assert (bounds[0][0], bounds[-1][1]) == (start_ns, end_ns)
        assert all(before[1] == after[0] for before, after in pairwise(bounds))
        assert sum(end - start for (start, end), place in zip(bounds, found, strict=True) if place.table == "spans") < 2 * MINUTE + since_ns
    else:
        assert end_ns - max(start_ns, since_ns) < 2 * MINUTE


def test_a_range_beyond_the_type_of_hours_is_not_cut() -> None:
    assert list(places(TimeRange(0, 10 * HOUR), 0)) == list(places(TimeRange(1, 1 << 63), 0)) == []

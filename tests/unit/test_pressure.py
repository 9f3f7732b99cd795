"""When and why writes are refused, and that refusals end: marks with hysteresis, and observed ages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.pressure import DISK, LAG, WAL, Pressure, PressureSettings, WalView
from tael.cluster.lag import Ages


def pressure(**variables: Any) -> Pressure:
    return Pressure(PressureSettings.model_validate(variables))


def view(*, size: int = 0, most: int = 1000, last: int = 100, committed: int = 100) -> WalView:
    return WalView(first=1, last=last, size_bytes=size, max_bytes=most, committed=committed)


def test_a_log_closes_near_its_size_and_opens_clearly_below() -> None:
    watching = pressure(TAEL_WAL_HIGH_WATER=0.9)
    closed = []
    for size in (0, 899, 900, 1000, 899, 811, 810, 899, 900):
        watching.observe({0: view(size=size)}, {}, 0)
        closed.append(watching.closed(WAL))
    assert closed == [False, False, True, True, True, True, False, False, True]
    assert watching.reasons == ["the WAL of shard 0 is 90% full (TAEL_WAL_HIGH_WATER=0.9, TAEL_WAL_MAX_BYTES)"]


def test_a_log_without_a_known_size_is_never_full() -> None:
    watching = pressure()
    watching.observe({0: view(size=1 << 40, most=0)}, {}, 0)
    assert watching.reasons == []


def test_a_writer_that_falls_behind_closes_by_age_and_opens_at_half() -> None:
    watching = pressure(TAEL_MAX_LAG_SECS=10)
    closed = []
    for now, committed in ((0, 99), (10, 99), (11, 99), (12, 99), (13, 100)):
        watching.observe({0: view(committed=committed)}, {}, now)
        closed.append(watching.closed(LAG))
    assert closed == [False, False, True, True, False]
    watching.observe({0: view(last=200)}, {}, 20)
    watching.observe({0: view(last=300)}, {}, 25)
    watching.observe({0: view(last=300)}, {}, 31)
    assert watching.reasons == ["the hot tier of shard 0 is 11 s behind its WAL (TAEL_MAX_LAG_SECS=10)"]
    watching.observe({0: view(last=300, committed=250)}, {}, 31)
    assert watching.closed(LAG), "6 s is more than half of 10"
    watching.observe({0: view(last=300, committed=300)}, {}, 31)
    assert not watching.closed(LAG)


def test_a_writer_that_falls_behind_closes_by_bytes() -> None:
    watching = pressure(TAEL_MAX_LAG_BYTES=500)
    for committed, closed in ((40, True), (60, True), (80, False), (60, False)):
        watching.observe({0: view(size=1000, most=10_000, committed=committed)}, {}, 0)
        assert watching.closed(LAG) is closed


def test_a_full_disk_is_refused_first_and_by_name() -> None:
    watching = pressure(TAEL_MIN_FREE_BYTES="1000")
    for free, closed in ((1000, False), (999, True), (1249, True), (1250, False)):
        watching.observe({}, {"/data": free}, 0)
        assert watching.closed(DISK) is closed
    watching.observe({}, {"/data": 5}, 0)
    assert watching.reasons == ["the disk of /data has 5 bytes left, less than TAEL_MIN_FREE_BYTES=1000"]


def test_unreadable_state_keeps_the_decision_and_every_cause_is_named() -> None:
    watching = pressure(TAEL_MIN_FREE_BYTES="1000")
    watching.observe({0: view(size=950), 1: view(size=10)}, {"/data": 5}, 0)
    watching.observe({}, {}, 1)
    assert [reason.split(" has ")[0].split(" is ")[0] for reason in watching.reasons] == ["the WAL of shard 0", "the disk of /data"]
    watching.observe({0: view(size=10)}, {"/data": 5000}, 2)
    assert watching.reasons == []


@pytest.mark.parametrize(("first", "last", "committed", "waiting"), [(1, 0, 0, 0), (1, 10, 10, 0), (1, 10, 0, 1000), (6, 10, 0, 1000), (1, 10, 5, 500), (1, 10, 20, 0)])  # fmt: skip
def test_bytes_that_wait_are_estimated_by_entries(first: int, last: int, committed: int, waiting: int) -> None:
    assert WalView(first, last, 1000, 0, committed).waiting_bytes == waiting


def test_a_recreated_wal_has_no_age() -> None:
    ages = Ages()
    assert ages.observe(100, 50, 0) == 0
    assert ages.observe(100, 50, 5) == 5
    assert ages.observe(3, 0, 6) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(0, 9)), max_size=100))
def test_an_age_is_the_time_since_the_oldest_waiting_entry_was_first_seen(steps: list[tuple[int, int, float]]) -> None:
    seen: dict[int, float] = {}
    ages, last, committed, now = Ages(), 0, 0, 0.0
    for grown, written, pause in steps:
        now += pause
        seen |= dict.fromkeys(range(last + 1, last + grown + 1), now)
        last, committed = last + grown, min(last + grown, committed + written)
        assert ages.observe(last, committed, now) == pytest.approx(now - seen[committed + 1] if committed < last else 0)


def test_a_long_stall_is_watched_in_bounded_memory() -> None:
    ages = Ages()
    for second in range(20_000):
        assert ages.observe(second + 1, 0, second) == second
    assert len(ages._marks) <= 4097

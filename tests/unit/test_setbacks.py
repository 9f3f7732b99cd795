"""Work that fails again and again waits longer each time, until it succeeds."""

from __future__ import annotations

from contextlib import suppress

import pytest
from prometheus_client import REGISTRY

from services.compactor.setbacks import Setbacks
from tael.cold.plan import Work
from tael.errors import Fenced, Unavailable

BAD, GOOD = Work("merge", "spans", 0), Work("merge", "spans", 3600)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(setbacks: Setbacks, times: int) -> None:
    for _ in range(times):
        with suppress(Unavailable), setbacks.of(BAD, "a file"):
            raise Unavailable("it cannot be read")


def aside_gauge() -> float | None:
    return REGISTRY.get_sample_value("tael_compactor_set_aside", {"shard": "77", "work": "merge"})


def test_retries_back_off_after_several_attempts() -> None:
    clock = Clock()
    setbacks = Setbacks(77, 200, now=clock)
    fail(setbacks, 2)
    assert setbacks.aside() == frozenset()
    with setbacks.of(GOOD, "another file"):
        pass
    for pause in (60, 120, 200, 200):
        fail(setbacks, 1)
        assert setbacks.aside() == {BAD}
        assert (setbacks.pause_seconds(BAD), setbacks.pause_seconds(GOOD)) == (pause, 0)
        assert aside_gauge() == 1
        clock.now += pause
        assert setbacks.aside() == frozenset()
    with setbacks.of(BAD, "a file"):
        pass
    assert aside_gauge() == 0
    fail(setbacks, 2)
    assert setbacks.aside() == frozenset()


def test_work_that_is_gone_is_forgotten() -> None:
    """Work that still exists is tried again after its pause, and either fails once more or succeeds."""
    clock = Clock()
    setbacks = Setbacks(77, 200, now=clock)
    fail(setbacks, 3)
    clock.now = 60 + 3600
    assert (setbacks.aside(), setbacks.has_failed(BAD), aside_gauge()) == (frozenset(), True, 1)
    clock.now += 1
    assert (setbacks.aside(), setbacks.has_failed(BAD), aside_gauge()) == (frozenset(), False, 0)


def test_few_failures_are_forgotten_too() -> None:
    clock = Clock()
    clock.now = 10_000
    setbacks = Setbacks(77, 200, now=clock)
    fail(setbacks, 2)
    assert setbacks.aside() == frozenset()
    assert setbacks.has_failed(BAD)
    clock.now += 3601
    assert setbacks.aside() == frozenset()
    assert not setbacks.has_failed(BAD)


def test_work_that_is_given_back_is_not_a_success() -> None:
    setbacks = Setbacks(77, 200, now=Clock())
    fail(setbacks, 3)
    with setbacks.of(BAD, "a file"):
        pass
    assert setbacks.aside() == {BAD}


def test_a_fenced_owners_failure_does_not_count() -> None:
    setbacks = Setbacks(77, 200, now=Clock())
    for _ in range(9):
        with pytest.raises(Fenced), setbacks.of(BAD, "a file"):
            raise Fenced("somebody else's")
    assert setbacks.aside() == frozenset()

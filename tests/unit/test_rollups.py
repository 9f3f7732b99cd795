"""Which steps rollups answer, what is reported about it, and which raw windows are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.compactor.settings import CompactorSettings
from tael.model.series import GridFunction, GridRequest, Matcher, Rollups
from tael.storage.clickhouse.series import rolled
from tael.vectors.annotations import of_rollups

UP = (Matcher("__name__", "=", "up"),)
FIVE = 300_000
T = 1_790_000_100_000
assert T % FIVE == 0


def request(function: GridFunction, start: int, end: int, step: int, window: int) -> GridRequest:
    return GridRequest(UP, function, start, end, step, window)


def test_steps_whose_windows_reach_into_rollups() -> None:
    """Only those, and only for functions that rollups have all columns for."""
    asked = request("rate", T, T + 10 * FIVE, FIVE, 2 * FIVE)
    old, new = rolled.split(asked, T + 3 * FIVE)
    assert old is not None
    assert new is not None
    assert (old.start_ms, old.end_ms) == (T, T + 4 * FIVE)
    assert (new.start_ms, new.end_ms) == (T + 5 * FIVE, T + 10 * FIVE)
    assert rolled.split(asked, T - 2 * FIVE) == (None, asked)
    assert rolled.split(asked, T + 100 * FIVE) == (asked, None)
    assert rolled.split(request("deriv", T, T, 0, FIVE), T + FIVE) == (None, request("deriv", T, T, 0, FIVE))
    assert rolled.split(asked, 0) == (None, asked)


def test_functions_that_are_exact_over_whole_buckets() -> None:
    """Windows of whole buckets, for functions of the buckets' columns."""
    assert rolled.exact(request("rate", T, T, 0, FIVE))
    assert rolled.exact(request("last", T, T + FIVE, FIVE, FIVE))
    assert not rolled.exact(request("rate", T + 1, T + 1, 0, FIVE))
    assert not rolled.exact(request("rate", T, T, 60_000, FIVE))
    assert not rolled.exact(request("last", T, T, FIVE, 60_000))
    assert not rolled.exact(request("changes", T, T, FIVE, FIVE))


def test_annotations_about_rollups() -> None:
    """The time before which rollups are used, and whether that affects the result."""
    assert of_rollups(Rollups(T, exact=True)) == "PromQL info: uses 5-minute rollups before 2026-09-21T14:15:00Z"
    assert ": approximate there; " in of_rollups(Rollups(T))


def test_raw_windows_that_would_do_nothing_are_refused() -> None:
    """Only explicit ones: the default is compatible with any other setting."""
    read = CompactorSettings.model_validate
    assert read({"TAEL_HOT_TIER_HOURS": "1000", "TAEL_METRIC_RETENTION_DAYS": "7"}).metric_raw_days == 30
    assert read({"TAEL_METRIC_RAW_DAYS": "0", "TAEL_METRIC_RETENTION_DAYS": "7"}).metric_raw_days == 0
    with pytest.raises(ValidationError, match="ends within TAEL_HOT_TIER_HOURS=24"):
        read({"TAEL_METRIC_RAW_DAYS": "0.5"})
    with pytest.raises(ValidationError, match="is longer than TAEL_METRIC_RETENTION_DAYS=7"):
        read({"TAEL_METRIC_RAW_DAYS": "8", "TAEL_METRIC_RETENTION_DAYS": "7"})
    assert read({"TAEL_METRIC_RAW_DAYS": "8", "TAEL_METRIC_RETENTION_DAYS": "7", "TAEL_LIMITS_FILE": "/limits"}).metric_raw_days == 8

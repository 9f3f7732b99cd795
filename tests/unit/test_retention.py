"""Which partitions go when: each signal by its own setting, whole partitions only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.compactor.plan import expired
from services.compactor.settings import CompactorSettings
from tael.storage.api import PartitionSize

HOUR_NS = 3600 * 10**9
NOW_NS = 500_000 * HOUR_NS
NEVER = {"traces": 36500.0, "logs": 36500.0, "metrics": 36500.0}

partitions = st.builds(
    PartitionSize,
    table=st.sampled_from(["spans", "logs", "samples"]),
    start_ns=st.integers(0, 500_001).map(lambda hour: hour * HOUR_NS),
    rows=st.just(1),
    bytes_on_disk=st.just(1),
    parts=st.just(1),
    signal=st.sampled_from(sorted(NEVER)),
    hours=st.sampled_from([1, 24]),
)
days = st.floats(0, 36500)


def of(signal: str, hours_ago: float, hours: int = 1) -> PartitionSize:
    """A partition that began so long ago."""
    return PartitionSize(signal, NOW_NS - int(hours_ago * HOUR_NS), 1, 1, 1, signal, hours)


def test_each_signal_has_its_own_retention() -> None:
    """What goes of one signal stays of the others."""
    every = [of("traces", 30), of("logs", 30), of("metrics", 30)]
    for signal in NEVER:
        assert [p.signal for p in expired(every, retention_days={**NEVER, signal: 1}, now_ns=NOW_NS)] == [signal]


def test_a_partition_goes_when_all_of_it_is_too_old() -> None:
    """An hour after an hour, a day after a day."""
    wanted = {**NEVER, "traces": 1.0}
    assert expired([of("traces", 25)], retention_days=wanted, now_ns=NOW_NS) == [of("traces", 25)]
    assert expired([of("traces", 24.9)], retention_days=wanted, now_ns=NOW_NS) == []
    assert expired([of("traces", 47.9, 24)], retention_days=wanted, now_ns=NOW_NS) == []
    assert expired([of("traces", 48, 24)], retention_days=wanted, now_ns=NOW_NS) == [of("traces", 48, 24)]


@given(st.lists(partitions), days, days, days)
def test_nothing_that_is_wanted_goes(given_ones: list[PartitionSize], traces: float, logs: float, metrics: float) -> None:
    """What goes ended before the retention began, oldest first; all that did so goes."""
    wanted = {"traces": traces, "logs": logs, "metrics": metrics}
    gone = expired(given_ones, retention_days=wanted, now_ns=NOW_NS)
    assert [p.start_ns for p in gone] == sorted(p.start_ns for p in gone)
    for partition in given_ones:
        end_ns = partition.start_ns + partition.hours * HOUR_NS
        assert (partition in gone) == (end_ns <= NOW_NS - int(wanted[partition.signal] * 24 * HOUR_NS))


def test_the_settings_name_every_signal() -> None:
    """So that no table stays for ever."""
    settings = CompactorSettings.model_validate({"TAEL_LOG_RETENTION_DAYS": "7", "TAEL_METRIC_RETENTION_DAYS": "30"})
    assert settings.retention_days == {"traces": 365, "logs": 7, "metrics": 30}

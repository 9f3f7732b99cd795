"""What expires when: by the retention of each signal and tenant, as whole partitions if all tenants' rows have expired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.compactor.plan import past_retention
from services.compactor.settings import CompactorSettings
from tael.errors import BadSettings, Rejected
from tael.model.retention import Retention, Tenants
from tael.runtime.retention import CurrentRetention
from tael.runtime.tenant_limits import parse_retention
from tael.storage.partitions import PartitionSize

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


def expired(partitions: Iterable[PartitionSize], *, retention_days: Mapping[str, float], now_ns: int) -> list[PartitionSize]:
    """The partitions that expire as a whole if every tenant has the same retention."""
    past = past_retention(partitions, Retention(retention_days), now_ns)
    assert past.in_part == ()
    return list(past.whole)


def of(signal: str, hours_ago: float, hours: int = 1) -> PartitionSize:
    """A partition that began this long ago."""
    return PartitionSize(signal, NOW_NS - int(hours_ago * HOUR_NS), 1, 1, 1, signal, hours)


def test_each_signal_has_its_own_retention() -> None:
    """The retention of one signal does not affect others."""
    every = [of("traces", 30), of("logs", 30), of("metrics", 30)]
    for signal in NEVER:
        assert [p.signal for p in expired(every, retention_days={**NEVER, signal: 1}, now_ns=NOW_NS)] == [signal]


def test_a_partition_expires_when_all_of_it_is_too_old() -> None:
    """An hour later for partitions of an hour, a day later for those of a day."""
    wanted = {**NEVER, "traces": 1.0}
    assert expired([of("traces", 25)], retention_days=wanted, now_ns=NOW_NS) == [of("traces", 25)]
    assert expired([of("traces", 24.9)], retention_days=wanted, now_ns=NOW_NS) == []
    assert expired([of("traces", 47.9, 24)], retention_days=wanted, now_ns=NOW_NS) == []
    assert expired([of("traces", 48, 24)], retention_days=wanted, now_ns=NOW_NS) == [of("traces", 48, 24)]


@given(st.lists(partitions), days, days, days)
def test_only_expired_partitions_are_dropped(given_ones: list[PartitionSize], traces: float, logs: float, metrics: float) -> None:
    """All partitions that ended before the retention period expire, oldest first, and no others."""
    wanted = {"traces": traces, "logs": logs, "metrics": metrics}
    gone = expired(given_ones, retention_days=wanted, now_ns=NOW_NS)
    assert [p.start_ns for p in gone] == sorted(p.start_ns for p in gone)
    for partition in given_ones:
        end_ns = partition.start_ns + partition.hours * HOUR_NS
        assert (partition in gone) == (end_ns <= NOW_NS - int(wanted[partition.signal] * 24 * HOUR_NS))


def test_the_settings_name_every_signal() -> None:
    """Otherwise a table would be kept for ever."""
    settings = CompactorSettings.model_validate({"TAEL_LOG_RETENTION_DAYS": "7", "TAEL_METRIC_RETENTION_DAYS": "30"})
    assert settings.retention_days == {"traces": 365, "logs": 7, "metrics": 30}


own_days = st.dictionaries(st.sampled_from(["shop", "bank"]), st.dictionaries(st.sampled_from(sorted(NEVER)), days, min_size=1))


@given(st.lists(partitions), days, own_days)
def test_rows_expire_by_their_tenants_retention(
    given_ones: list[PartitionSize], everybody: float, own: dict[str, dict[str, float]]
) -> None:
    """Whole partitions and rows together are exactly what is past its tenant's retention."""
    retention = Retention(dict.fromkeys(NEVER, everybody), own)
    past = past_retention(given_ones, retention, NOW_NS)
    in_part = dict(past.in_part)
    for partition in given_ones:
        gone = Tenants(all_but=True) if partition in past.whole else in_part.get(partition, Tenants())
        end_ns = partition.start_ns + partition.hours * HOUR_NS
        for tenant in ("shop", "bank", "other"):
            assert gone.holds(tenant) == (end_ns <= NOW_NS - int(retention.days(tenant, partition.signal) * 24 * HOUR_NS))


def test_a_file_gives_tenants_their_own_retention() -> None:
    """What it leaves out is taken from the settings; other limits in it do not matter here."""
    found = parse_retention('{"shop": {"retention_days": {"logs": 7}, "max_series": 5}, "bank": {"max_series": 1}}', NEVER)
    assert found == Retention(NEVER, {"shop": {"logs": 7}})
    assert [found.days("shop", signal) for signal in ("logs", "traces")] == [7, 36500]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": {"retention_days": {"spans": 1}}}', r"a\.retention_days\.spans: .*accepted: traces, logs, metrics"),
        ('{"a": {"retention_days": {"logs": -1}}}', r"a\.retention_days\.logs"),
        ('{"a": {"retention_days": 7}}', r"a\.retention_days: "),
    ],
)
def test_a_retention_with_a_mistake_is_refused_by_its_place(text: str, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        parse_retention(text, NEVER)


def test_a_bad_file_refuses_the_compactor(tmp_path: Path) -> None:
    (tmp_path / "limits").write_text('{"shop": {"retention_days": {"log": 7}}}')
    with pytest.raises(BadSettings, match=r"TAEL_LIMITS_FILE=.*shop\.retention_days\.log"):
        CurrentRetention(CompactorSettings.model_validate({"TAEL_LIMITS_FILE": str(tmp_path / "limits")}))


def test_payloads_are_kept_as_long_as_what_may_refer_to_them() -> None:
    """In general, and for a tenant with its own retention."""
    retention = Retention({"traces": 10, "logs": 3, "metrics": 1}, {"shop": {"logs": 30}, "bank": {"traces": 1}})
    assert [retention.days(tenant, "payloads") for tenant in ("any", "shop", "bank")] == [10, 30, 3]
    past = retention.past("payloads", NOW_NS - 5 * 24 * 3600 * 10**9, NOW_NS)
    assert [past.holds(tenant) for tenant in ("any", "shop", "bank")] == [False, False, True]

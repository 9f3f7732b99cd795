"""Counts each tenant's series and attribute values in an hour, warns near the limit, and refuses new ones beyond it by name. Pure.

Hours are those of arrival. Counts start again at zero with each hour, in which the receivers announce every continuing series anew, so a
series that ended stops counting within the hour. Sets hold hashes, at most ``max_tracked`` in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.ingest.limits.rules import Limits
from tael.model.series import METRIC_NAME, Labels

WARN_AT: Final = 0.8
_HOUR_SECONDS: Final = 3600
_MAX_WARNINGS = 10


@dataclass(slots=True)
class _Counted:
    """One tenant's counts in this hour: series, series by metric, and values by metric and attribute."""

    series: set[int] = field(default_factory=set)
    per_metric: dict[str, int] = field(default_factory=dict)
    values: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    warned: set[str] = field(default_factory=set)


class SeriesLimiter:
    """Counts every tenant's series. ``limits_of`` returns a tenant's limits; ``on_warning`` gets tenant and text, once an hour each."""

    def __init__(self, limits_of: Callable[[str], Limits], max_tracked: int, on_warning: Callable[[str, str], None]) -> None:
        self._limits_of = limits_of
        self._max_tracked = max_tracked
        self._on_warning = on_warning
        self._hour = -1
        self._tenants: dict[str, _Counted] = {}
        self.tracked = 0

    def admit(self, tenant: str, metric: str, labels: Labels, now: float) -> str:
        """Count one series and return "", or return why the tenant may not have it. ``now`` is seconds since the epoch."""
        counted = self._counted(tenant, now)
        # A hash in place of the labels saves memory. Two series whose hashes collide count as one, which admits one series too many.
        series = hash(labels)
        if series in counted.series:
            return ""
        limits = self._limits_of(tenant)
        new_values = _new_values(counted, metric, labels)
        reason = self._refusal(counted, limits, tenant, metric, new_values)
        if reason:
            return reason
        counted.series.add(series)
        counted.per_metric[metric] = counted.per_metric.get(metric, 0) + 1
        for name, value in new_values:
            counted.values.setdefault((metric, name), set()).add(value)
        self.tracked += 1 + len(new_values)
        self._warn(counted, limits, tenant, metric, new_values)
        return ""

    def count(self, tenant: str) -> int:
        """The series that a tenant has in this hour."""
        counted = self._tenants.get(tenant)
        return len(counted.series) if counted else 0

    def take_warnings(self, tenant: str) -> str:
        """The warnings not yet sent to the tenant, as one line; empty when there are none."""
        counted = self._tenants.get(tenant)
        if counted is None or not counted.warnings:
            return ""
        text = "; ".join(counted.warnings)
        counted.warnings.clear()
        return text

    def _counted(self, tenant: str, now: float) -> _Counted:
        hour = int(now // _HOUR_SECONDS)
        if hour != self._hour:
            self._hour, self.tracked = hour, 0
            self._tenants.clear()
        counted = self._tenants.get(tenant)
        if counted is None:
            counted = self._tenants[tenant] = _Counted()
        return counted

    def _refusal(self, counted: _Counted, limits: Limits, tenant: str, metric: str, new_values: list[tuple[str, int]]) -> str:
        if limits.max_series and len(counted.series) >= limits.max_series:
            return f"tenant {tenant} has {limits.max_series} series in this hour, which is its limit (TAEL_MAX_SERIES)"
        if limits.max_series_per_metric and counted.per_metric.get(metric, 0) >= limits.max_series_per_metric:
            return (
                f"metric {metric} has {limits.max_series_per_metric} series in this hour, which is its limit (TAEL_MAX_SERIES_PER_METRIC)"
            )
        if limits.max_attribute_values:
            for name, _ in new_values:
                if len(counted.values.get((metric, name), ())) >= limits.max_attribute_values:
                    return (
                        f"attribute {name} of metric {metric} has {limits.max_attribute_values} values in this hour,"
                        " which is its limit (TAEL_MAX_ATTRIBUTE_VALUES)"
                    )
        # Last, because this is the process's limit: a limit that the tenant can do something about is named first.
        if self.tracked + 1 + len(new_values) > self._max_tracked:
            return f"this process tracks {self.tracked} series and attribute values already, its maximum (TAEL_MAX_TRACKED_SERIES)"
        return ""

    def _warn(self, counted: _Counted, limits: Limits, tenant: str, metric: str, new_values: list[tuple[str, int]]) -> None:
        self._warn_of(counted, tenant, f"tenant {tenant}", "series", len(counted.series), limits.max_series)
        self._warn_of(counted, tenant, f"metric {metric}", "series", counted.per_metric[metric], limits.max_series_per_metric)
        for name, _ in new_values:
            size = len(counted.values[metric, name])
            self._warn_of(counted, tenant, f"attribute {name} of metric {metric}", "values", size, limits.max_attribute_values)

    def _warn_of(self, counted: _Counted, tenant: str, what: str, noun: str, size: int, limit: int) -> None:
        if not limit or size < limit * WARN_AT or what in counted.warned or len(counted.warned) >= _MAX_WARNINGS:
            return
        text = f"{what} has {size} of the {limit} {noun} that it may have in an hour; more will be refused"
        counted.warned.add(what)
        counted.warnings.append(text)
        self._on_warning(tenant, text)


def _new_values(counted: _Counted, metric: str, labels: Labels) -> list[tuple[str, int]]:
    """The attributes whose value is new for this metric in this hour, with the value's hash."""
    hashed = ((name, hash(value)) for name, value in labels if name != METRIC_NAME)
    return [(name, value) for name, value in hashed if value not in counted.values.get((metric, name), ())]

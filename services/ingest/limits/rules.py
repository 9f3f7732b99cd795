"""The limits of a tenant: defaults from the settings, overrides from the limits file (tael.runtime.tenant_limits). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import Field

from tael.runtime.config import Bytes
from tael.runtime.settings import LimitsFileSettings
from tael.runtime.tenant_limits import TenantEntry, parse_entries


class LimitSettings(LimitsFileSettings):
    """Limits of each tenant, in each ingest process; 0 means no limit."""

    tenant_bytes_per_second: Bytes = Field(
        default=0, ge=0, alias="TAEL_TENANT_BYTES_PER_SEC", description="Uncompressed bytes per second that a tenant may send."
    )
    tenant_items_per_second: int = Field(
        default=0,
        ge=0,
        alias="TAEL_TENANT_ITEMS_PER_SEC",
        description="Spans, log records and data points per second that a tenant may send.",
    )
    tenant_burst_seconds: float = Field(
        default=10.0,
        ge=1,
        le=3600,
        alias="TAEL_TENANT_BURST_SECS",
        description="Burst after a pause, in seconds' worth of the rate.",
    )
    max_series: int = Field(
        default=500_000,
        ge=0,
        alias="TAEL_MAX_SERIES",
        description="Maximum number of active series per tenant and hour; further ones are rejected with their names, after a warning at 80 %.",
    )
    max_series_per_metric: int = Field(default=100_000, ge=0, alias="TAEL_MAX_SERIES_PER_METRIC", description="The same per metric name.")
    max_attribute_values: int = Field(
        default=50_000,
        ge=0,
        alias="TAEL_MAX_ATTRIBUTE_VALUES",
        description="The same for the distinct values of one attribute of one metric.",
    )
    max_attribute_keys: int = Field(
        default=2_000,
        ge=0,
        alias="TAEL_MAX_ATTRIBUTE_KEYS",
        description="Distinct attribute keys per hour of a tenant's spans, or log records, above which it gets a warning. Nothing is refused.",
    )
    max_tracked_series: int = Field(
        default=2_000_000,
        ge=1,
        alias="TAEL_MAX_TRACKED_SERIES",
        description="Maximum number of series and attribute values tracked for these limits, over all tenants; about 100 bytes each.",
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one tenant may send; 0 means no limit."""

    bytes_per_second: int = 0
    items_per_second: int = 0
    burst_seconds: float = 10.0
    max_series: int = 0
    max_series_per_metric: int = 0
    max_attribute_values: int = 0
    max_attribute_keys: int = 0


def limits_of(settings: LimitSettings) -> Limits:
    """The limits of a tenant that the limits file does not name."""
    return Limits(
        settings.tenant_bytes_per_second,
        settings.tenant_items_per_second,
        settings.tenant_burst_seconds,
        settings.max_series,
        settings.max_series_per_metric,
        settings.max_attribute_values,
        settings.max_attribute_keys,
    )


def parse_limits(text: str, everybody: Limits) -> Mapping[str, Limits]:
    """Each named tenant's limits. Raises Rejected with the place of the first mistake."""
    return {tenant: _merged(everybody, entry) for tenant, entry in parse_entries(text).items()}


def parser(settings: LimitSettings) -> Any:
    """``parse_limits`` with the defaults of the settings."""
    return partial(parse_limits, everybody=limits_of(settings))


def _merged(everybody: Limits, entry: TenantEntry) -> Limits:
    return replace(everybody, **entry.model_dump(exclude_none=True, exclude={"retention_days"}))

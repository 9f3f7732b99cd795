"""The limits file, with limits of single tenants; each service reads the entries that concern it. Pure.

The file is JSON; for what it leaves out, the settings apply::

    {"shop": {"bytes_per_second": "20MiB", "retention_days": {"traces": 30}}, "bank": {"items_per_second": 0}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tael.errors import Rejected
from tael.model.retention import Retention
from tael.model.tenant import parse_tenant
from tael.runtime.config import Bytes


class RetentionDays(BaseModel):
    """Days that a tenant's signals are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    traces: float | None = Field(default=None, ge=0, le=36500)
    logs: float | None = Field(default=None, ge=0, le=36500)
    metrics: float | None = Field(default=None, ge=0, le=36500)


class TenantEntry(BaseModel):
    """One tenant's entry in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes_per_second: Bytes | None = Field(default=None, ge=0)
    items_per_second: int | None = Field(default=None, ge=0)
    burst_seconds: float | None = Field(default=None, ge=1, le=3600)
    max_series: int | None = Field(default=None, ge=0)
    max_series_per_metric: int | None = Field(default=None, ge=0)
    max_attribute_values: int | None = Field(default=None, ge=0)
    max_attribute_keys: int | None = Field(default=None, ge=0)
    retention_days: RetentionDays | None = None


def parse_entries(text: str) -> Mapping[str, TenantEntry]:
    """Each named tenant's entry. Raises Rejected with the place of the first mistake."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise Rejected(f"is not valid JSON: {error}") from None
    if not isinstance(entries, dict):
        raise Rejected("is not a JSON object", accepted='{"tenant": {"bytes_per_second": …}, …}')
    return {parse_tenant(tenant): _entry(tenant, entry) for tenant, entry in entries.items()}


def parse_retention(text: str, everybody: Mapping[str, float]) -> Retention:
    """The retention: the default, and that of tenants with their own in the file. Raises Rejected as ``parse_entries`` does."""
    own = {
        tenant: entry.retention_days.model_dump(exclude_none=True) for tenant, entry in parse_entries(text).items() if entry.retention_days
    }
    return Retention(everybody, own)


def _entry(tenant: str, entry: object) -> TenantEntry:
    try:
        return TenantEntry.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (tenant, *first["loc"])))
        known = RetentionDays if first["loc"][:1] == ("retention_days",) else TenantEntry
        raise Rejected(first["msg"], where=where, accepted=", ".join(known.model_fields)) from None

"""What the compactor reads from the environment."""

from __future__ import annotations

from pydantic import Field

from tael.runtime.settings import ClickHouseSettings, NatsSettings, NodeSettings, ObjectStoreSettings


class CompactorSettings(NodeSettings, NatsSettings, ClickHouseSettings, ObjectStoreSettings):
    """Settings of the compactor."""

    compact_interval_seconds: float = Field(
        default=3600,
        ge=1,
        le=86400,
        alias="TAEL_COMPACT_INTERVAL_SECS",
        description="How often retention is enforced; it is also at start.",
    )
    trace_retention_days: float = Field(
        default=365, ge=0, le=36500, alias="TAEL_TRACE_RETENTION_DAYS", description="Days that spans are kept; whole hours are dropped."
    )
    log_retention_days: float = Field(default=365, ge=0, le=36500, alias="TAEL_LOG_RETENTION_DAYS", description="The same for log records.")
    metric_retention_days: float = Field(
        default=365,
        ge=0,
        le=36500,
        alias="TAEL_METRIC_RETENTION_DAYS",
        description="The same for metrics, and for what is counted from spans, which goes by whole days.",
    )

    @property
    def retention_days(self) -> dict[str, float]:
        """Days by signal, as partitions name it."""
        return {"traces": self.trace_retention_days, "logs": self.log_retention_days, "metrics": self.metric_retention_days}

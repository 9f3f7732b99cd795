"""What the compactor reads from the environment."""

from __future__ import annotations

from pydantic import Field

from tael.runtime.settings import ClickHouseSettings, NatsSettings, NodeSettings, ObjectStoreSettings, RetentionSettings


class CompactorSettings(NodeSettings, NatsSettings, ClickHouseSettings, ObjectStoreSettings, RetentionSettings):
    """Settings of the compactor."""

    compact_interval_seconds: float = Field(
        default=3600,
        ge=1,
        le=86400,
        alias="TAEL_COMPACT_INTERVAL_SECS",
        description="Interval at which retention is enforced, besides at start.",
    )

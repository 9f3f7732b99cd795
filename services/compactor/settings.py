"""What the compactor reads from the environment."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tael.runtime.config import Bytes, Switch
from tael.runtime.settings import ClickHouseSettings, NatsSettings, NodeSettings, ObjectStoreSettings, PayloadSettings, RetentionSettings


class CompactorSettings(NodeSettings, NatsSettings, ClickHouseSettings, ObjectStoreSettings, PayloadSettings, RetentionSettings):
    """Settings of the compactor."""

    compact_interval_seconds: float = Field(
        default=3600,
        ge=1,
        le=86400,
        alias="TAEL_COMPACT_INTERVAL_SECS",
        description="Interval at which retention is enforced, besides at start.",
    )
    payload_grace_seconds: float = Field(
        default=86_400,
        ge=1,
        le=31_536_000,
        alias="TAEL_PAYLOAD_GRACE_SECS",
        description="How long a payload is kept that nothing refers to, such as one that was posted by hand; at least twice `TAEL_PAYLOADS_RELIED_ON_SECS`.",
    )
    cold_tier: Switch = Field(
        default=True,
        alias="TAEL_COLD_TIER",
        description="Whether hours leave the hot tier for Parquet files in the bucket. Existing files are read in any case, and hours on their way are finished after it is off.",
    )
    hot_tier_hours: float = Field(
        default=24,
        ge=0,
        le=876_000,
        alias="TAEL_HOT_TIER_HOURS",
        description="How long after its end an hour stays in the hot tier; 0 rolls every hour that is over.",
    )
    metric_raw_days: float = Field(
        default=30,
        ge=0,
        le=36500,
        alias="TAEL_METRIC_RAW_DAYS",
        description="How long samples and native histograms of metrics are kept as received; older hours of the cold tier become 5-minute rollups, which PromQL reads. 0 keeps all of them until their retention ends.",
    )
    roll_quiet_seconds: float = Field(
        default=600,
        ge=0,
        le=86_400,
        alias="TAEL_ROLL_QUIET_SECS",
        description="An hour is rolled once nothing has been added to it for this long; `tael cold roll` waits 15 seconds at most.",
    )
    roll_threads: int = Field(
        default=1, ge=1, le=64, alias="TAEL_ROLL_THREADS", description="Threads of a shard's ClickHouse that write and check one file."
    )
    roll_memory_bytes: Bytes = Field(
        default="1GiB",  # type: ignore[assignment]  # parsed by the validator
        ge=128 << 20,
        alias="TAEL_ROLL_MEMORY_BYTES",
        description="Memory that a shard's ClickHouse may use to write and check one file.",
    )
    roll_max_lag_seconds: float = Field(
        default=30,
        ge=0,
        le=3600,
        alias="TAEL_ROLL_MAX_LAG_SECS",
        description="Nothing is rolled while a shard's writer is further behind than this.",
    )
    roll_free_bytes: Bytes = Field(
        default="2GiB",  # type: ignore[assignment]  # parsed by the validator
        ge=0,
        alias="TAEL_ROLL_FREE_BYTES",
        description="While a shard's ClickHouse has less free space than this, every hour that is over is rolled, the oldest first; more than `TAEL_MIN_FREE_BYTES`, at which ingest refuses writes.",
    )
    roll_failpoint: Literal[
        "",
        "moving",
        "moved",
        "rolling",
        "exported",
        "committed",
        "dropped",
        "merged",
        "rolled up",
        "replaced",
        "rewritten",
        "forgotten",
        "deleted",
        "collected",
    ] = Field(default="", alias="TAEL_ROLL_FAILPOINT", description="For fault tests: the compactor kills itself at this place.")

    @model_validator(mode="after")
    def _raw_window(self) -> Self:
        # Only an explicit value must fit the other two settings. The default gives way to them: hours that are hot or gone are not rolled
        # up.
        if self.metric_raw_days and "metric_raw_days" in self.model_fields_set:
            if self.metric_raw_days * 24 < self.hot_tier_hours:
                raise ValueError(
                    f"TAEL_METRIC_RAW_DAYS={self.metric_raw_days:g} ends within TAEL_HOT_TIER_HOURS={self.hot_tier_hours:g}: "
                    "only hours of the cold tier are rolled up"
                )
            if self.limits_file is None and 0 < self.metric_retention_days < self.metric_raw_days:
                raise ValueError(
                    f"TAEL_METRIC_RAW_DAYS={self.metric_raw_days:g} is longer than TAEL_METRIC_RETENTION_DAYS={self.metric_retention_days:g}: "
                    "nothing would be rolled up"
                )
        return self

"""What LogQL's engine reads from the environment."""

from __future__ import annotations

from pydantic import Field

from services.query.logql.engine import LogqlOptions
from tael.runtime.config import Settings


class LogqlSettings(Settings):
    """Settings of LogQL's engine; a part of the query service's."""

    logql_max_entries: int = Field(
        default=5_000,
        ge=1,
        le=1_000_000,
        alias="TAEL_LOGQL_MAX_ENTRIES",
        description="The largest `limit` of lines that a LogQL query may ask for.",
    )
    logql_max_series: int = Field(
        default=5_000,
        ge=1,
        alias="TAEL_LOGQL_MAX_SERIES",
        description="Series that one LogQL metric query may have; a query beyond it fails alone.",
    )
    logql_max_samples: int = Field(
        default=10_000_000,
        ge=1000,
        alias="TAEL_LOGQL_MAX_SAMPLES",
        description="Lines that one LogQL metric query may read one by one; what the shards count by themselves is not limited by it.",
    )

    @property
    def logql_options(self) -> LogqlOptions:
        """These settings as the engine takes them."""
        return LogqlOptions(max_entries=self.logql_max_entries, max_series=self.logql_max_series, max_samples=self.logql_max_samples)

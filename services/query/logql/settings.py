"""Settings of the LogQL engine."""

from __future__ import annotations

from pydantic import Field

from services.query.logql.engine import LogqlOptions
from tael.runtime.config import Bytes, Settings


class LogqlSettings(Settings):
    """Settings of the LogQL engine, a group of the query service's."""

    logql_max_entries: int = Field(
        default=5_000,
        ge=1,
        le=1_000_000,
        alias="TAEL_LOGQL_MAX_ENTRIES",
        description="Maximum `limit` (lines) of a LogQL query.",
    )
    logql_max_series: int = Field(
        default=5_000,
        ge=1,
        alias="TAEL_LOGQL_MAX_SERIES",
        description="Maximum number of series of one LogQL metric query; a query over the limit fails.",
    )
    logql_max_samples: int = Field(
        default=10_000_000,
        ge=1000,
        alias="TAEL_LOGQL_MAX_SAMPLES",
        description="Maximum number of lines that one LogQL metric query may process row by row, where shards do not count them, and of the values (series by steps) that it may hold; a query over the limit fails.",
    )
    logql_page_bytes: Bytes = Field(
        default="64MiB",  # type: ignore[assignment]  # parsed by the validator
        ge=16 << 20,
        le=1 << 30,
        alias="TAEL_LOGQL_PAGE_BYTES",
        description="How much of the lines that a LogQL query evaluates row by row is read at once from each shard; a query holds up to two such pages, which take several times as much memory. Where lines are long, pages have fewer.",
    )

    @property
    def logql_options(self) -> LogqlOptions:
        """These settings as options of the engine."""
        return LogqlOptions(max_entries=self.logql_max_entries, max_series=self.logql_max_series, max_samples=self.logql_max_samples)

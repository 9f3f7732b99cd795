"""The settings of the writer."""

from __future__ import annotations

from pydantic import Field

from tael.runtime.config import Bytes, Settings


class WriterSettings(Settings):
    """How the writer batches."""

    batch_max_seconds: float = Field(
        default=1.0, gt=0, le=10, alias="TAEL_BATCH_MAX_SECS", description="Longest time that a WAL entry waits for a batch to fill."
    )
    batch_max_spans: int = Field(
        default=240_000,
        ge=1,
        le=1_000_000,
        alias="TAEL_BATCH_MAX_SPANS",
        description="Number of spans, log records or samples at which a batch is closed.",
    )
    insert_max_items: int = Field(
        default=120_000,
        ge=1,
        le=1_000_000,
        alias="TAEL_INSERT_MAX_ITEMS",
        description="Maximum number of items per insert; a larger batch is written in several inserts, two at a time.",
    )
    batch_max_bytes: Bytes = Field(
        default="64MB",
        ge=1,
        alias="TAEL_BATCH_MAX_BYTES",
        description="Bytes at which a batch is closed; the hot tier needs several times as much memory for it.",
    )  # type: ignore[assignment]
    delta_series: int = Field(
        default=500_000,
        ge=1,
        le=100_000_000,
        alias="TAEL_DELTA_SERIES",
        description="Series of delta temporality whose running totals a shard's writer caches; others are read from the hot tier.",
    )
    resend_digests: int = Field(
        default=1_000_000,
        ge=1,
        le=100_000_000,
        alias="TAEL_RESEND_DIGESTS",
        description="Requests that a shard's writer remembers for two minutes (about 150 bytes each) to recognise resends; when there are more, the oldest are forgotten sooner.",
    )

"""The hot node's settings."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tael.runtime.access import ALLOW_OPEN, OpenSettings
from tael.runtime.config import Bytes, Listen
from tael.runtime.origins import is_loopback
from tael.runtime.settings import ClickHouseSettings, HeaderSettings, NodeSettings, ObjectStoreSettings


class HotNodeSettings(NodeSettings, ClickHouseSettings, ObjectStoreSettings, OpenSettings, HeaderSettings):
    """Where the node listens and keeps its data, and how much of the machine it may use."""

    hotnode_addr: Listen = Field(
        default="127.0.0.1:8123",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_HOTNODE_ADDR",
        description="Listen address of the hot node's ClickHouse HTTP interface.",
    )
    hotnode_data_dir: str = Field(
        default="data/hotnode", alias="TAEL_HOTNODE_DATA_DIR", description="Data directory of the hot node; one process per directory."
    )
    hotnode_memory_bytes: Bytes = Field(
        default="4GiB",  # type: ignore[assignment]  # parsed by the validator
        ge=256 << 20,
        alias="TAEL_HOTNODE_MEMORY_BYTES",
        description="Memory limit of the engine; a statement that would exceed it fails. A sixteenth of it may hold decompressed blocks of the pages that were read last.",
    )
    hotnode_threads: int = Field(
        default=16,
        ge=1,
        le=256,
        alias="TAEL_HOTNODE_THREADS",
        description="Maximum number of statements that the hot node runs concurrently.",
    )
    hotnode_waiting: int = Field(
        default=100,
        ge=0,
        le=10_000,
        alias="TAEL_HOTNODE_WAITING",
        description="Maximum number of statements waiting for a thread; further ones are refused.",
    )
    hotnode_body_memory_bytes: Bytes = Field(
        default="256MiB",  # type: ignore[assignment]  # parsed by the validator
        ge=1 << 20,
        alias="TAEL_HOTNODE_BODY_MEMORY_BYTES",
        description="Memory for request bodies of all statements together; beyond it they spill to files in the data directory.",
    )
    hotnode_drain_seconds: float = Field(
        default=30.0, ge=0, le=600, alias="TAEL_HOTNODE_DRAIN_SECS", description="How long running statements may continue after SIGTERM."
    )

    @model_validator(mode="after")
    def _refuse_open(self) -> Self:
        if not self.clickhouse_password and not self.allow_open and not is_loopback(self.hotnode_addr.host):
            raise ValueError(
                f"TAEL_HOTNODE_ADDR={self.hotnode_addr} would let anybody run SQL: set TAEL_CLICKHOUSE_PASSWORD,"
                f" or {ALLOW_OPEN}=true where everybody who can reach it is trusted"
            )
        return self

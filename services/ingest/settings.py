"""The settings of ingest."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from services.ingest.pressure import PressureSettings
from services.ingest.receivers.settings import DD_AGENT_ADDR, OTLP_GRPC_ADDR, OTLP_HTTP_ADDR, ReceiverSettings
from services.ingest.writer.settings import WriterSettings
from tael.runtime.settings import ClickHouseSettings, NatsSettings, NodeSettings


class IngestSettings(NodeSettings, NatsSettings, ClickHouseSettings, ReceiverSettings, WriterSettings, PressureSettings):
    """Settings of ingest: those of the receivers and of the writer, and which of the two roles it has."""

    ingest_role: Literal["all", "receive", "write"] = Field(
        default="all",
        alias="TAEL_INGEST_ROLE",
        description="`receive` accepts requests, `write` moves the WAL to the hot tier, `all` does both.",
    )
    failpoint: Literal["", "before_insert", "between_tables", "after_insert"] = Field(
        default="", alias="TAEL_FAILPOINT", description="For fault tests: the point at which the writer kills its process."
    )

    @model_validator(mode="after")
    def _refuse_open(self) -> Self:
        if self.ingest_role != "write":
            self.refuse_open({OTLP_GRPC_ADDR: self.otlp_grpc_addr, OTLP_HTTP_ADDR: self.otlp_http_addr, DD_AGENT_ADDR: self.dd_agent_addr})
        return self

"""What ingest reads from the environment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.ingest.receivers.settings import ReceiverSettings
from services.ingest.writer import WriterSettings
from tael.runtime.settings import ClickHouseSettings, NatsSettings, NodeSettings


class IngestSettings(NodeSettings, NatsSettings, ClickHouseSettings, ReceiverSettings, WriterSettings):
    """Settings of ingest: the receivers', the writer's, and which of the two it is."""

    ingest_role: Literal["all", "receive", "write"] = Field(
        default="all",
        alias="TAEL_INGEST_ROLE",
        description="`receive` takes requests in, `write` moves the log to the hot tier, `all` does both.",
    )
    failpoint: Literal["", "before_insert", "between_tables", "after_insert"] = Field(
        default="", alias="TAEL_FAILPOINT", description="For fault tests: the writer kills itself at this place."
    )

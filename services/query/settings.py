"""Settings of the query service."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from services.query.logql.settings import LogqlSettings
from services.query.promql.settings import PromqlSettings
from services.query.turns import shard_timeout_seconds
from tael.errors import BadSettings, Rejected
from tael.otlp.prices import Prices, read_prices
from tael.runtime.access import AccessSettings
from tael.runtime.config import Bytes, Listen, OptionalListen, OptionalPath
from tael.runtime.settings import (
    ClickHouseSettings,
    GrpcConnectionSettings,
    NatsSettings,
    NodeSettings,
    ObjectStoreSettings,
    RetentionSettings,
)
from tael.storage.api import MAX_FIND_LIMIT

PRICES_FILE = "TAEL_LLM_PRICES_FILE"


class QuerySettings(
    NodeSettings,
    NatsSettings,
    ClickHouseSettings,
    ObjectStoreSettings,
    AccessSettings,
    GrpcConnectionSettings,
    RetentionSettings,
    PromqlSettings,
    LogqlSettings,
):
    """Settings of the query service."""

    rest_api_addr: Listen = Field(
        default="127.0.0.1:7701",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_REST_API_ADDR",
        description="Listen address for the native API and the APIs for Grafana.",
    )
    grpc_api_addr: OptionalListen = Field(
        default="127.0.0.1:7702",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_GRPC_API_ADDR",
        description="Listen address for Tempo's streaming API and Jaeger's query services over gRPC; `off` turns them off."
        " Connections that speak gRPC to `TAEL_REST_API_ADDR` are answered from here, too.",
    )
    otlp_http_addr: Listen = Field(
        default="127.0.0.1:4318",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_OTLP_HTTP_ADDR",
        description="Listen address for OTLP over HTTP (protobuf and JSON), whose port the page at `/` of the REST address names.",
    )
    query_timeout_seconds: float = Field(
        default=30.0,
        ge=0.1,
        le=3600,
        alias="TAEL_QUERY_TIMEOUT_SECS",
        description="How long a query may wait in the queue, and then how long it may run. A shard gets nine tenths of it, so that a slow shard makes the answer partial rather than late.",
    )
    query_concurrency: int = Field(
        default=8, ge=1, le=1024, alias="TAEL_QUERY_CONCURRENCY", description="Maximum number of queries that run at the same time."
    )
    query_queue: int = Field(
        default=64,
        ge=0,
        le=65536,
        alias="TAEL_QUERY_QUEUE",
        description="Maximum number of queued queries; further ones are refused with 429.",
    )
    max_query_limit: int = Field(
        default=10_000, ge=1, le=MAX_FIND_LIMIT, alias="TAEL_MAX_QUERY_LIMIT", description="Maximum `limit` of a query."
    )
    max_trace_spans: int = Field(
        default=1_000_000,
        ge=1,
        alias="TAEL_MAX_TRACE_SPANS",
        description="Maximum number of spans of one trace in an answer; a longer trace is truncated, and the answer says so.",
    )
    trace_block_bytes: Bytes = Field(
        default="8MiB",  # type: ignore[assignment]  # parsed by the validator
        ge=64 << 10,
        le=1 << 30,
        alias="TAEL_TRACE_BLOCK_BYTES",
        description="About how much of a trace of more than 2,000 spans is read, held and sent at once; memory for such a read is a few times this.",
    )
    max_inline_payload_bytes: Bytes = Field(
        default="64MiB",  # type: ignore[assignment]  # parsed by the validator
        ge=1,
        alias="TAEL_MAX_INLINE_PAYLOAD_BYTES",
        description="Bytes of payloads that one answer has in place, repetitions included; beyond it references stay, and the native API counts them.",
    )
    max_posted_payload_bytes: Bytes = Field(
        default="64MiB",  # type: ignore[assignment]  # parsed by the validator
        ge=1,
        le=1 << 30,
        alias="TAEL_MAX_POSTED_PAYLOAD_BYTES",
        description="Maximum size of a payload that `POST /api/v1/blobs` accepts.",
    )
    posted_payload_wait_seconds: float = Field(
        default=5.0,
        ge=0,
        le=60,
        alias="TAEL_POSTED_PAYLOAD_WAIT_SECS",
        description="How long `POST /api/v1/blobs` waits until the payload can be read before it answers 202 instead of 201; 0 answers as soon as it is durable.",
    )

    llm_prices_file: OptionalPath = Field(
        default=None,
        alias=PRICES_FILE,
        description="Prices of models as TOML, in the form of tael/otlp/prices.toml, before those that tael brings; `cost_usd` of an LLM call that reports no cost is computed from them.",
    )
    max_live_streams: int = Field(
        default=64, ge=1, le=4096, alias="TAEL_MAX_LIVE_STREAMS", description="Maximum number of open live streams per signal."
    )
    max_tenant_live_streams: int = Field(
        default=32,
        ge=1,
        le=4096,
        alias="TAEL_MAX_LIVE_STREAMS_PER_TENANT",
        description="Maximum number of open live streams per signal and tenant.",
    )
    live_waiting_bytes: Bytes = Field(
        default="32MiB",  # type: ignore[assignment]  # parsed by the validator
        ge=1 << 20,
        alias="TAEL_LIVE_BYTES",
        description="Bytes buffered for the clients of all live streams together, at most 1 MiB each; more is dropped, and the stream says how much.",
    )
    live_heartbeat_seconds: float = Field(
        default=10.0,
        ge=0.05,
        le=300,
        alias="TAEL_LIVE_HEARTBEAT_SECS",
        description="Interval of heartbeats on a silent live stream; its token is checked again as often.",
    )

    warn_lag_seconds: float = Field(
        default=10.0,
        gt=0,
        le=86400,
        alias="TAEL_WARN_LAG_SECS",
        description="Answers carry a warning (`lag_seconds` in the native API) while a shard's hot tier is further than this behind its WAL.",
    )

    @model_validator(mode="after")
    def _refuse_open(self) -> Self:
        self.refuse_open({"TAEL_REST_API_ADDR": self.rest_api_addr, "TAEL_GRPC_API_ADDR": self.grpc_api_addr})
        return self

    @property
    def shard_timeout_seconds(self) -> float:
        """A shard's share of a query's time."""
        return shard_timeout_seconds(self.query_timeout_seconds)

    def read_prices(self) -> Prices:
        """The prices of LLM calls. Raises BadSettings for a file that cannot be used."""
        try:
            return read_prices(self.llm_prices_file)
        except (OSError, Rejected) as error:
            raise BadSettings([f"{PRICES_FILE}={self.llm_prices_file} cannot be used: {error}"]) from error

"""The receivers' settings: where they listen, what they accept and how much they hold."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from services.ingest.limits.items import ItemLimitSettings
from services.ingest.limits.rules import LimitSettings
from services.ingest.metrics import MetricSettings
from tael.model.tenant import TENANT_PATTERN
from tael.otlp.census import MAX_REQUEST_MESSAGES, MOST_MESSAGES
from tael.runtime.access import AccessSettings
from tael.runtime.config import Bytes, CommaList, Listen, OptionalListen, Switch
from tael.runtime.settings import GrpcConnectionSettings, PayloadSettings, RetentionSettings

MAX_REQUEST_BYTES = "TAEL_MAX_REQUEST_BYTES"
OTLP_GRPC_ADDR, OTLP_HTTP_ADDR, DD_AGENT_ADDR = "TAEL_OTLP_GRPC_ADDR", "TAEL_OTLP_HTTP_ADDR", "TAEL_DD_AGENT_ADDR"


class ReceiverSettings(
    AccessSettings, GrpcConnectionSettings, LimitSettings, ItemLimitSettings, MetricSettings, PayloadSettings, RetentionSettings
):
    """The receivers' listeners and limits."""

    near_hours: int = Field(
        default=24,
        ge=1,
        le=2_000,
        alias="TAEL_NEAR_HOURS",
        description="Spans, log records and samples within this many hours of now share the main WAL; others go through a second WAL, so that they do not delay them.",
    )

    otlp_grpc_addr: Listen = Field(
        default="127.0.0.1:4317",  # type: ignore[assignment]  # parsed by the validator
        alias=OTLP_GRPC_ADDR,
        description="Listen address for OTLP over gRPC.",
    )
    otlp_http_addr: Listen = Field(
        default="127.0.0.1:4318",  # type: ignore[assignment]  # parsed by the validator
        alias=OTLP_HTTP_ADDR,
        description="Listen address for OTLP over HTTP (protobuf and JSON).",
    )
    dd_agent_addr: OptionalListen = Field(
        default="127.0.0.1:8126",  # type: ignore[assignment]  # parsed by the validator
        alias=DD_AGENT_ADDR,
        description="Listen address for Datadog tracers (the trace agent's API). A port that is already in use is only a warning; `off` disables it.",
    )
    dd_agent_tenant: str = Field(
        default="",
        pattern=TENANT_PATTERN,
        alias="TAEL_DD_AGENT_TENANT",
        description="Tenant of traces from Datadog tracers, which cannot send a token: with a tokens file they are refused unless this is set, which admits anyone who can reach that port.",
    )
    dd_agent_drop_rejected: Switch = Field(
        default=False,
        alias="TAEL_DD_AGENT_DROP_REJECTED",
        description="Drop traces that the Datadog tracer decided not to keep (sampling rate, rule, `manual.drop`), as Datadog's agent does.",
    )
    max_request_bytes: Bytes = Field(
        default="64MiB",  # type: ignore[assignment]  # parsed by the validator
        ge=1 << 10,
        le=1 << 30,
        alias=MAX_REQUEST_BYTES,
        description="Maximum size of a request, before and after decompression.",
    )
    max_request_messages: int = Field(
        default=MOST_MESSAGES,
        ge=1_000,
        le=100_000_000,
        alias=MAX_REQUEST_MESSAGES,
        description="Maximum number of resources, scopes, spans, log records, metrics, data points and series in one request, counting also the"
        " fields of those above 2 KiB; at most one per 16 bytes. Requests with more are refused.",
    )
    max_inflight_bytes: Bytes = Field(
        default="256MiB",  # type: ignore[assignment]  # parsed by the validator
        ge=1 << 10,
        alias="TAEL_MAX_INFLIGHT_BYTES",
        description="Maximum bytes of requests in flight (being read, checked or appended to the WAL); beyond it clients are asked to retry.",
    )
    inflight_wait_seconds: float = Field(
        default=0.5,
        ge=0,
        le=60,
        alias="TAEL_INFLIGHT_WAIT_SECS",
        description="How long a request waits for in-flight bytes to be freed before its client is asked to retry.",
    )
    remote_write_ahead_seconds: float = Field(
        default=600,
        ge=0,
        alias="TAEL_REMOTE_WRITE_AHEAD_SECS",
        description="How far in the future (by this machine's clock) a remote-write sample may be; samples further ahead are rejected.",
    )
    cors_origins: CommaList = Field(
        default=(),
        alias="TAEL_CORS_ORIGINS",
        description="Web origins that may send over HTTP (CORS), for example `https://shop.example`; `*` allows any.",
    )
    drain_seconds: float = Field(
        default=10.0,
        ge=0,
        le=300,
        alias="TAEL_DRAIN_SECS",
        description="How long accepted requests may take to finish on shutdown.",
    )

    @model_validator(mode="after")
    def _one_request_must_fit(self) -> Self:
        if self.max_inflight_bytes < self.max_request_bytes:
            raise ValueError(f"TAEL_MAX_INFLIGHT_BYTES={self.max_inflight_bytes} is less than {MAX_REQUEST_BYTES}={self.max_request_bytes}")
        return self

"""Settings of ``tael serve``: where the suite listens, where it keeps its files, and how many of each process it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from tael.errors import BadSettings
from tael.runtime.access import AccessSettings
from tael.runtime.config import Bytes, Listen, OptionalListen, Secret, Takes
from tael.runtime.settings import NodeSettings

# Variables that the supervisor sets for each process. A value from outside would silently have no effect, so it is refused.
WIRED = (
    "TAEL_CLICKHOUSE_URLS",
    "TAEL_HOTNODE_ADDR",
    "TAEL_HOTNODE_DATA_DIR",
    "TAEL_INTERNAL_ADDR",
    "TAEL_NATS_CREDS_FILE",
    "TAEL_NATS_MONITOR_URL",
    "TAEL_NATS_URL",
    "TAEL_NODE_ID",
    "TAEL_S3_URL",
)


def _quorum(nodes: int) -> int:
    if nodes not in {1, 3, 5}:
        raise ValueError("not a number of servers of which one or two may be missing")
    return nodes


class ServeSettings(NodeSettings, AccessSettings):
    """Settings of the supervisor; every other ``TAEL_`` variable is passed on to the processes."""

    data_dir: Path = Field(
        default=Path("~/.tael/data"),
        alias="TAEL_DATA_DIR",
        description="Directory in which `tael serve` keeps all its data; one instance per directory.",
    )
    shards: int = Field(
        default=1, ge=1, le=16, alias="TAEL_SHARDS", description="Hot nodes to run. Can be increased later, never decreased."
    )
    nats_nodes: Annotated[int, AfterValidator(_quorum), Takes("1, 3 or 5")] = Field(
        default=1,
        alias="TAEL_NATS_NODES",
        description="NATS servers to run; 3 or 5 form a cluster that replicates every stream and survives the loss of one or two servers.",
    )
    coordinators: int = Field(
        default=1, ge=1, le=5, alias="TAEL_COORDINATORS", description="Coordinators to run; one is the leader, the others are on standby."
    )
    otlp_grpc_addr: Listen = Field(
        default="127.0.0.1:4317",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_OTLP_GRPC_ADDR",
        description="Listen address for OTLP over gRPC.",
    )
    otlp_http_addr: Listen = Field(
        default="127.0.0.1:4318",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_OTLP_HTTP_ADDR",
        description="Listen address for OTLP over HTTP.",
    )
    dd_agent_addr: OptionalListen = Field(
        default="127.0.0.1:8126",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_DD_AGENT_ADDR",
        description="Listen address for Datadog tracers (the trace agent's API). A port that is already in use is only a warning; `off` disables it.",
    )
    rest_api_addr: Listen = Field(
        default="127.0.0.1:7701",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_REST_API_ADDR",
        description="Listen address for the native API and the APIs for Grafana.",
    )
    grpc_api_addr: OptionalListen = Field(
        default="127.0.0.1:7702",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_GRPC_API_ADDR",
        description="Listen address for Tempo's streaming API and Jaeger's query services over gRPC; `off` disables them.",
    )
    s3_access_key: str = Field(default="tael", alias="TAEL_S3_ACCESS_KEY", min_length=1, description="Access key.")
    s3_secret_key: Secret = Field(
        default="", alias="TAEL_S3_SECRET_KEY", description="Secret key; `tael serve` generates one when it is unset."
    )
    s3_memory_bytes: Bytes = Field(
        default="384MiB",  # type: ignore[assignment]  # parsed by the validator
        ge=64 << 20,
        alias="TAEL_S3_MEMORY_BYTES",
        description="Memory target of SeaweedFS's garbage collector; below about 256 MiB it runs constantly.",
    )
    stop_seconds: float = Field(
        default=40,
        gt=0,
        le=600,
        alias="TAEL_STOP_SECS",
        description="How long `tael serve` waits for each step of the drain before it kills the remaining processes.",
    )

    @model_validator(mode="after")
    def _refuse_open(self) -> Self:
        self.refuse_open(
            {
                "TAEL_OTLP_GRPC_ADDR": self.otlp_grpc_addr,
                "TAEL_OTLP_HTTP_ADDR": self.otlp_http_addr,
                "TAEL_DD_AGENT_ADDR": self.dd_agent_addr,
                "TAEL_REST_API_ADDR": self.rest_api_addr,
                "TAEL_GRPC_API_ADDR": self.grpc_api_addr,
            }
        )
        return self

    @property
    def directory(self) -> Path:
        """The data directory, absolute."""
        return self.data_dir.expanduser().absolute()


def refuse_wired(environ: Mapping[str, str]) -> None:
    """Raise BadSettings for variables that only separately started services may be given."""
    problems = [
        f"{name}={environ[name]!r} cannot be used: tael serve sets it for its own processes; unset it, or run the services one by one"
        for name in WIRED
        if environ.get(name, "") != ""
    ]
    if problems:
        raise BadSettings(problems)


def refuse_fewer_shards(settings: ServeSettings, existing: int) -> None:
    """Raise BadSettings when the data directory has more ``existing`` shards than are to run: their data could not be read."""
    if existing > settings.shards:
        raise BadSettings(
            [f"TAEL_SHARDS='{settings.shards}' cannot be used: {settings.directory} holds {existing} shards, and they never shrink"]
        )


def refuse_other_nats_nodes(settings: ServeSettings, existing: int) -> None:
    """Raise BadSettings when the data directory has files of another number of NATS servers, whose data would be lost."""
    if existing not in {0, settings.nats_nodes}:
        made = f"{settings.directory} was made with {existing}; keep that number, or take another TAEL_DATA_DIR"
        raise BadSettings([f"TAEL_NATS_NODES='{settings.nats_nodes}' cannot be used: {made}"])

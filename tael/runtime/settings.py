"""The groups of settings that several services share; each service's own model composes the groups it needs."""

from __future__ import annotations

import os
import socket
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from tael.model.time import NS_PER_SECOND
from tael.runtime.config import CA_FILE, Bytes, HttpUrl, HttpUrls, Listen, NatsUrls, OptionalHttpUrl, OptionalPath, Secret, Settings, Switch
from tael.runtime.origins import is_loopback


def _default_node_id() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class NodeSettings(Settings):
    """Identity of the process, its logging and its internal listener."""

    node_id: str = Field(
        default_factory=_default_node_id,
        alias="TAEL_NODE_ID",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Name of this process in leases, logs and `/internal/cluster`; host name and process id when unset.",
    )
    cluster_id: str = Field(
        default="tael",
        alias="TAEL_CLUSTER_ID",
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        description="Prefix of the streams, buckets and subjects, so that two clusters can share one NATS.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", alias="TAEL_LOG_LEVEL", description="Minimum level of log lines."
    )
    log_format: Literal["console", "json"] = Field(
        default="console", alias="TAEL_LOG_FORMAT", description="`console` for people, `json` for one JSON object per line."
    )
    internal_addr: Listen = Field(
        default="127.0.0.1:0",  # type: ignore[assignment]  # parsed by the validator
        alias="TAEL_INTERNAL_ADDR",
        description="Listen address for `/healthz`, `/readyz`, `/metrics` and `/internal/cluster` of this process; port 0 picks a free port.",
    )
    internal_open: Switch = Field(
        default=False,
        alias="TAEL_INTERNAL_OPEN",
        description="Allow `TAEL_INTERNAL_ADDR` to be a non-loopback address; its endpoints are not authenticated, so its network must be private.",
    )

    @model_validator(mode="after")
    def _internal_is_private(self) -> Self:
        if not (self.internal_open or is_loopback(self.internal_addr.host)):
            raise ValueError(
                f"TAEL_INTERNAL_ADDR={self.internal_addr} would answer anybody: set TAEL_INTERNAL_OPEN=true where the network is private"
            )
        return self


class TrustSettings(Settings):
    """TLS of the connections to NATS (`tls://`), ClickHouse and the object store (`https://`)."""

    ca_file: OptionalPath = Field(
        default=None,
        alias=CA_FILE,
        description="CA certificates (PEM), in addition to the system's, to verify NATS, ClickHouse and the object store with; for the `tael` command, the server.",
    )
    client_cert: OptionalPath = Field(
        default=None,
        alias="TAEL_CLIENT_CERT",
        description="Client certificate (PEM) for NATS, ClickHouse and the object store, if they ask for one; reloaded when it changes.",
    )
    client_key: OptionalPath = Field(default=None, alias="TAEL_CLIENT_KEY", description="That certificate's private key (PEM).")

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("TAEL_CLIENT_CERT and TAEL_CLIENT_KEY go together: set both or neither")
        return self


NATS_CREDS_FILE = "TAEL_NATS_CREDS_FILE"


class NatsSettings(TrustSettings):
    """The connection to NATS, which holds the WAL and the cluster's state."""

    nats_urls: NatsUrls = Field(
        default=("nats://127.0.0.1:4222",),
        min_length=1,
        alias="TAEL_NATS_URL",
        description="URLs of the NATS server, or of several servers of a cluster, of which any that answers is used. Put a user and password, or a token, into each URL.",
    )
    nats_creds_file: OptionalPath = Field(
        default=None,
        alias=NATS_CREDS_FILE,
        description="A NATS user's `.creds` file (JWT and seed), or a file with an nkey's seed; reloaded when it changes. The URLs must then contain no credentials.",
    )
    lease_ttl_seconds: float = Field(
        default=5.0,
        ge=0.5,
        le=300,
        alias="TAEL_LEASE_TTL_SECS",
        description="A member or leader that has not renewed its lease for this long is considered dead; heartbeats are sent three times as often.",
    )

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        if self.nats_creds_file is not None and any(urlsplit(url).username for url in self.nats_urls):
            raise ValueError(f"{NATS_CREDS_FILE} and credentials in TAEL_NATS_URL exclude each other: set one of them")
        return self


class ClickHouseSettings(TrustSettings):
    """The connection to the hot tier; the shards themselves are listed in the shard map."""

    clickhouse_database: str = Field(
        default="tael",
        alias="TAEL_CLICKHOUSE_DATABASE",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$",
        description="Database name on every shard.",
    )
    clickhouse_user: str = Field(default="default", alias="TAEL_CLICKHOUSE_USER", description="User name on every shard.")
    clickhouse_password: Secret = Field(default="", alias="TAEL_CLICKHOUSE_PASSWORD", description="That user's password.")
    clickhouse_engine: Literal["mergetree", "replicated"] = Field(
        default="mergetree",
        alias="TAEL_CLICKHOUSE_ENGINE",
        description="`mergetree` for shards of one server each, `replicated` for shards with several replicas and a Keeper.",
    )
    clickhouse_cluster: str = Field(
        default="",
        alias="TAEL_CLICKHOUSE_CLUSTER",
        pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        description="Name of the shards' cluster in ClickHouse's `remote_servers`. If it is set, the coordinator also creates `<table>_all` for each table, a Distributed"
        " table over all shards, for SQL of your own.",
    )


class ShardSettings(Settings):
    """The list of shards; read by the coordinator, which publishes the shard map."""

    clickhouse_urls: HttpUrls = Field(
        default=("http://127.0.0.1:8123",),
        min_length=1,
        alias="TAEL_CLICKHOUSE_URLS",
        description="ClickHouse HTTP URLs, one per shard, in shard order: append, never reorder.",
    )


class ObjectStoreSettings(TrustSettings):
    """The cold tier's bucket."""

    s3_url: HttpUrl = Field(
        default="http://127.0.0.1:8333",
        alias="TAEL_S3_URL",
        description="URL of MinIO, SeaweedFS or any S3-compatible store with conditional writes.",
    )
    s3_bucket: str = Field(
        default="tael",
        alias="TAEL_S3_BUCKET",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="Bucket; created when it is missing.",
    )
    s3_access_key: str = Field(default="tael", alias="TAEL_S3_ACCESS_KEY", description="Access key.")
    s3_secret_key: Secret = Field(
        default="", alias="TAEL_S3_SECRET_KEY", description="Secret key; `tael serve` generates one when it is unset."
    )
    s3_auth: Literal["keys", "role"] = Field(
        default="keys",
        alias="TAEL_S3_AUTH",
        description="`keys` signs with the two keys above; `role` gets temporary keys from AWS, as its SDKs do: by web identity (IRSA), from the container's"
        " endpoint (ECS, EKS Pod Identity) or from the machine's metadata (EC2).",
    )
    s3_sts_url: OptionalHttpUrl = Field(
        default=None, alias="TAEL_S3_STS_URL", description="Endpoint that issues a role's keys, instead of AWS's own."
    )
    s3_region: str = Field(default="us-east-1", alias="TAEL_S3_REGION", description="Region for request signing.")

    @property
    def bucket_url(self) -> str:
        """The common prefix of the URLs of the bucket's objects."""
        return f"{self.s3_url.rstrip('/')}/{self.s3_bucket}/"

    @model_validator(mode="after")
    def _keys_or_role(self) -> Self:
        if self.s3_auth == "role" and self.s3_secret_key:
            raise ValueError("TAEL_S3_AUTH=role takes no TAEL_S3_SECRET_KEY: unset one of them")
        return self


class ListenerTlsSettings(Settings):
    """TLS of the listeners for clients."""

    tls_cert: OptionalPath = Field(
        default=None,
        alias="TAEL_TLS_CERT",
        description="Certificate (PEM, with intermediates) of the listeners for telemetry and queries, which then only speak TLS; reloaded when it"
        " changes. Without it they speak plain HTTP and gRPC.",
    )
    tls_key: OptionalPath = Field(
        default=None, alias="TAEL_TLS_KEY", description="That certificate's private key (PEM), without a passphrase."
    )
    tls_client_ca: OptionalPath = Field(
        default=None,
        alias="TAEL_TLS_CLIENT_CA",
        description="Only accept clients with a certificate from one of these CAs (PEM); if there is a tokens file, tokens are required as well.",
    )

    @model_validator(mode="after")
    def _listener_certificate_and_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("TAEL_TLS_CERT and TAEL_TLS_KEY go together: set both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("TAEL_TLS_CLIENT_CA needs TAEL_TLS_CERT and TAEL_TLS_KEY")
        return self


class HeaderSettings(Settings):
    """How long clients may take to send a request's head."""

    header_seconds: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        alias="TAEL_HEADER_SECS",
        description="How long a client may take to send the request line and headers; for the first request from when it connects.",
    )


class ConnectionSettings(ListenerTlsSettings, HeaderSettings):
    """How long clients may keep a listener waiting."""

    max_connections: int = Field(
        default=8192,
        ge=8,
        le=1_000_000,
        alias="TAEL_MAX_CONNECTIONS",
        description="Maximum number of connections of one HTTP listener, at most three quarters of the open-file limit. Beyond it a new"
        " connection replaces the one that has been silent longest.",
    )
    idle_seconds: float = Field(
        default=620.0,
        gt=0,
        le=86_400,
        alias="TAEL_IDLE_SECS",
        description="Keep-alive time of an idle connection; should be longer than that of the load balancers in front.",
    )
    body_window_seconds: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        alias="TAEL_BODY_WINDOW_SECS",
        description="Window over which `TAEL_BODY_BYTES_PER_SEC` is measured; a client may leave an answer unread for six windows.",
    )
    body_bytes_per_second: Bytes = Field(
        default="1KiB",  # type: ignore[assignment]  # parsed by the validator
        ge=0,
        alias="TAEL_BODY_BYTES_PER_SEC",
        description="Minimum average rate at which a client must send a request body; slower connections are closed.",
    )


class GrpcConnectionSettings(ConnectionSettings):
    """How long connections to a gRPC listener live."""

    grpc_idle_seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        alias="TAEL_GRPC_IDLE_SECS",
        description="A gRPC connection without a call for this long is closed; clients reconnect by themselves.",
    )
    grpc_max_age_seconds: float = Field(
        default=1800.0,
        gt=0,
        le=86_400,
        alias="TAEL_GRPC_MAX_AGE_SECS",
        description="A gRPC connection accepts no new calls after about this long, so that clients reconnect and spread over replicas.",
    )
    grpc_age_grace_seconds: float = Field(
        default=30.0,
        gt=0,
        le=86_400,
        alias="TAEL_GRPC_AGE_GRACE_SECS",
        description="How long running calls may then continue before the connection is closed.",
    )
    grpc_min_ping_seconds: float = Field(
        default=5.0,
        ge=0.01,
        le=3600,
        alias="TAEL_GRPC_MIN_PING_SECS",
        description="Clients that ping more often, with or without calls, are disconnected (`ENHANCE_YOUR_CALM`, `too_many_pings`); a Collector pings every 10 s.",
    )


LIMITS_FILE = "TAEL_LIMITS_FILE"


class LimitsFileSettings(Settings):
    """The file of limits of single tenants."""

    limits_file: OptionalPath = Field(
        default=None,
        alias=LIMITS_FILE,
        description="JSON file of limits and retention per tenant (format: docs/operations.md); reloaded when it changes.",
    )


class PayloadSettings(Settings):
    """How long a receiver relies on payloads that it sent; used by both ingest and the compactor."""

    payloads_relied_on_seconds: float = Field(
        default=3600,
        ge=10,
        le=86_400,
        alias="TAEL_PAYLOADS_RELIED_ON_SECS",
        description="How long a receiver relies on a payload that it sent, and does not send it again. A payload that nothing refers to any more is deleted after twice this time at the earliest, so use the same value for ingest and the compactor. A request that takes more than half of it is refused retryably; values below ten minutes are for tests.",
    )

    @property
    def payloads_relied_on_ns(self) -> int:
        """``payloads_relied_on_seconds`` in nanoseconds."""
        return int(self.payloads_relied_on_seconds * NS_PER_SECOND)


class RetentionSettings(LimitsFileSettings):
    """How long each signal is kept; older items are deleted, and refused on arrival."""

    trace_retention_days: float = Field(
        default=365,
        ge=0,
        le=36500,
        alias="TAEL_TRACE_RETENTION_DAYS",
        description="Retention of spans in days, unless `TAEL_LIMITS_FILE` sets another for the tenant. Whole hours are deleted; spans that arrive older than this are rejected.",
    )
    log_retention_days: float = Field(default=365, ge=0, le=36500, alias="TAEL_LOG_RETENTION_DAYS", description="The same for log records.")
    metric_retention_days: float = Field(
        default=365,
        ge=0,
        le=36500,
        alias="TAEL_METRIC_RETENTION_DAYS",
        description="The same for metrics and span metrics; span metrics are deleted by whole days.",
    )

    @property
    def retention_days(self) -> dict[str, float]:
        """Days by signal, under the names used by partitions."""
        return {"traces": self.trace_retention_days, "logs": self.log_retention_days, "metrics": self.metric_retention_days}


class WalSettings(Settings):
    """The size and replicas of each shard's WAL; read by the coordinator, which creates the streams."""

    wal_replicas: int = Field(
        default=1, ge=1, le=5, alias="TAEL_WAL_REPLICAS", description="Replicas of each shard's stream; 3 in a NATS cluster of three."
    )
    wal_max_bytes: Bytes = Field(
        default="4GiB",
        alias="TAEL_WAL_MAX_BYTES",
        ge=1 << 20,
        description="Maximum size of a shard's WAL; beyond it appends are refused (retryably).",
    )  # type: ignore[assignment]
    nats_monitor_urls: HttpUrls = Field(
        default=("http://127.0.0.1:8222",),
        min_length=1,
        alias="TAEL_NATS_MONITOR_URL",
        description="Monitoring URL of NATS, or of each server of a cluster, from which `sync_interval` is read.",
    )


class StateSettings(NodeSettings, NatsSettings, WalSettings):
    """The settings of commands that connect to NATS themselves."""

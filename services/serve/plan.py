"""Plans the processes of the suite from settings and ports. Pure: nothing is started or written here.

What Compose and Helm wire with host names is wired here with loopback ports: the same entry points, the same variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from services.serve.configs import s3_identities, seaweedfs_security
from services.serve.credentials import NATS_USER, Credentials
from services.serve.nats import nats_files, nats_nodes, nats_port_names
from services.serve.settings import ServeSettings
from tael.runtime.config import PREFIX

HOST = "127.0.0.1"
SERVE = "serve"
# SeaweedFS's own worker derives its admin's gRPC port by this rule, regardless of the flag.
S3_GRPC_OFFSET = 10_000
# Routine output of the programs, which is kept out of the terminal.
# NATS warns of a password in its file, which nobody else can read.
_NATS_SMALL_TALK = r"^\[\d+\] \S+ \S+ \[(INF|DBG|TRC|WRN\] Plaintext passwords)"
_S3_SMALL_TALK = r"^(?![EF]\d{4} )"


class Drain(IntEnum):
    """The steps of the drain: intake first, then readers, coordinators and storage, and the WAL last."""

    INTAKE = 0
    READERS = 1
    COORDINATION = 2
    STORAGE = 3
    WAL = 4


@dataclass(frozen=True)
class Process:
    """One process: how to start it, how to check its readiness and health, and when to stop it.

    ``ready_url`` answers 200 while it is ready; ``live_url`` answers 200 unless a restart may help, and defaults to ``ready_url``.
    ``small_talk`` is a pattern of output lines that are not shown. ``ours`` says that exit code 2 means unusable settings. ``target`` is
    its kind; ``metrics`` is the ``host:port`` of its ``/metrics``, if it has any.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    ready_url: str
    drain: Drain
    small_talk: str = ""
    ours: bool = True
    live_url: str = ""
    target: str = ""
    metrics: str = ""


@dataclass(frozen=True)
class Plan:
    """The processes, and the files (mode 0600) to write before they start."""

    processes: tuple[Process, ...]
    files: Mapping[Path, str] = field(default_factory=dict)

    def steps(self) -> list[list[Process]]:
        """The processes grouped by the step they start in: the WAL, storage, then all others, which wait for each other by themselves."""
        first = [[p for p in self.processes if p.drain == drain] for drain in (Drain.WAL, Drain.STORAGE)]
        return [*first, [p for p in self.processes if p.drain not in (Drain.WAL, Drain.STORAGE)]]

    def drain_steps(self) -> list[list[Process]]:
        """The processes grouped by the step of the drain, first to stop first."""
        return [[p for p in self.processes if p.drain == step] for step in sorted({p.drain for p in self.processes})]


_S3_PORTS = (
    "s3",
    "s3-grpc",
    "s3-filer",
    "s3-filer-grpc",
    "s3-master",
    "s3-master-grpc",
    "s3-volume",
    "s3-volume-grpc",
    "s3-admin",
    "s3-metrics",
)


def port_names(settings: ServeSettings) -> list[str]:
    """The internal ports that a plan needs, by name."""
    hot = [f"hotnode-{n}" for n in range(settings.shards)]
    ours = [f"coordinator-{n}" for n in range(settings.coordinators)] + ["ingest", "query", "compactor"]
    return [*nats_port_names(settings), *_S3_PORTS, *hot, *(f"{name}-internal" for name in [SERVE, *hot, *ours])]


def plan(
    settings: ServeSettings,
    ports: Mapping[str, int],
    environ: Mapping[str, str],
    credentials: Credentials,
    *,
    python: str,
    nats_server: str,
    weed: str,
) -> Plan:
    """The plan of the whole suite. ``ports`` has a free port for each of ``port_names``; addresses in ``settings`` have their
    final ports.
    """
    directory, s3_secret = settings.directory, settings.s3_secret_key or credentials.s3
    nodes = nats_nodes(settings, ports, credentials.nats)
    outside = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value != ""}
    wiring = {
        **given,
        "TAEL_CLUSTER_ID": settings.cluster_id,
        "TAEL_CLICKHOUSE_PASSWORD": given.get("TAEL_CLICKHOUSE_PASSWORD", credentials.hotnode),
        "TAEL_NATS_URL": ",".join(f"nats://{NATS_USER}:{credentials.nats}@{node.client}" for node in nodes),
        "TAEL_NATS_MONITOR_URL": ",".join(node.monitor_url for node in nodes),
        "TAEL_WAL_REPLICAS": given.get("TAEL_WAL_REPLICAS", str(settings.nats_nodes)),
        "TAEL_S3_URL": f"http://{HOST}:{ports['s3']}",
        "TAEL_S3_ACCESS_KEY": settings.s3_access_key,
        "TAEL_S3_SECRET_KEY": s3_secret,
        "TAEL_CLICKHOUSE_URLS": ",".join(f"http://{HOST}:{ports[f'hotnode-{n}']}" for n in range(settings.shards)),
        "TAEL_OTLP_GRPC_ADDR": str(settings.otlp_grpc_addr),
        "TAEL_OTLP_HTTP_ADDR": str(settings.otlp_http_addr),
        "TAEL_DD_AGENT_ADDR": str(settings.dd_agent_addr or "off"),
        "TAEL_REST_API_ADDR": str(settings.rest_api_addr),
        "TAEL_GRPC_API_ADDR": str(settings.grpc_api_addr or "off"),
        "TAEL_WATCHED_DIRS": given.get("TAEL_WATCHED_DIRS", str(directory)),
    }

    def service(target: str, name: str, drain: Drain, extra: Mapping[str, str], ready_url: str = "") -> Process:
        internal = f"{HOST}:{ports[f'{name}-internal']}"
        env = {**outside, **wiring, **extra, "TAEL_NODE_ID": name, "TAEL_INTERNAL_ADDR": internal, "PYTHONUNBUFFERED": "1"}
        argv, ready_url = (python, "-m", "services", target), ready_url or f"http://{internal}/readyz"
        live_url = f"http://{internal}/healthz"
        return Process(name, argv, env, ready_url, drain, live_url=live_url, target=target, metrics=internal)

    s3_file = directory / "s3" / "identities.json"
    nats = [
        Process(
            node.name,
            (nats_server, "-c", str(node.config_file)),
            outside,
            node.ready_url,
            Drain.WAL,
            _NATS_SMALL_TALK,
            ours=False,
            live_url=node.live_url,
            target="nats",
        )
        for node in nodes
    ]
    hot_nodes = [
        service(
            "hotnode",
            f"hotnode-{n}",
            Drain.STORAGE,
            {"TAEL_HOTNODE_ADDR": f"{HOST}:{ports[f'hotnode-{n}']}", "TAEL_HOTNODE_DATA_DIR": str(directory / f"hotnode-{n}")},
            f"http://{HOST}:{ports[f'hotnode-{n}']}/ping",
        )
        for n in range(settings.shards)
    ]
    return Plan(
        (
            *nats,
            _seaweedfs(
                settings, ports, {**outside, **seaweedfs_security(*certificate_files(settings), credentials.s3_internal)}, weed, s3_file
            ),
            *hot_nodes,
            *(service("coordinator", f"coordinator-{n}", Drain.COORDINATION, {}) for n in range(settings.coordinators)),
            service("ingest", "ingest", Drain.INTAKE, {}),
            service("query", "query", Drain.READERS, {}),
            service("compactor", "compactor", Drain.READERS, {}),
        ),
        {
            **nats_files(nodes, credentials.nats),
            s3_file: s3_identities(settings.s3_access_key, s3_secret),
        },
    )


def certificate_files(settings: ServeSettings) -> tuple[Path, Path]:
    """The paths of the certificate and the key of SeaweedFS's parts."""
    return settings.directory / "s3" / "certificate.pem", settings.directory / "s3" / "key.pem"


def _seaweedfs(settings: ServeSettings, ports: Mapping[str, int], outside: Mapping[str, str], weed: str, identities: Path) -> Process:
    flags: Iterable[str] = (
        f"-dir={settings.directory / 's3' / 'objects'}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-s3.config={identities}",
        f"-s3.port={ports['s3']}",
        f"-s3.port.grpc={ports['s3-grpc']}",
        f"-filer.port={ports['s3-filer']}",
        f"-filer.port.grpc={ports['s3-filer-grpc']}",
        f"-master.port={ports['s3-master']}",
        f"-master.port.grpc={ports['s3-master-grpc']}",
        f"-volume.port={ports['s3-volume']}",
        f"-volume.port.grpc={ports['s3-volume-grpc']}",
        f"-admin.port={ports['s3-admin']}",
        f"-admin.port.grpc={ports['s3-admin'] + S3_GRPC_OFFSET}",
        f"-metricsPort={ports['s3-metrics']}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
    )
    # GOGC is 100 by default; a lower one makes Go collect garbage earlier, and so use less memory.
    env = {**outside, "GOMEMLIMIT": str(settings.s3_memory_bytes), "GOGC": "25"}
    url = f"http://{HOST}:{ports['s3']}/healthz"
    metrics = f"{HOST}:{ports['s3-metrics']}"
    return Process("s3", (weed, "mini", *flags), env, url, Drain.STORAGE, _S3_SMALL_TALK, ours=False, target="s3", metrics=metrics)
